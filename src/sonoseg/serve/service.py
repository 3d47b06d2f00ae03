"""What all requests share: the network, the line of work, the limits, the metrics and the session."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Request

from sonoseg.errors import visible
from sonoseg.reader.segmenter import Segmenter
from sonoseg.serve.limits import Limits
from sonoseg.serve.metrics import Metrics
from sonoseg.serve.outbox import Outbox
from sonoseg.serve.pool import Pool
from sonoseg.serve.refusal import Refused
from sonoseg.serve.remote import Remote
from sonoseg.serve.session import Session


@dataclass(frozen=True)
class Archive:
    """A DICOMweb server whose images are annotated.

    Attributes:
        remote: lists and fetches studies.
        outbox: stores the results.
    """

    remote: Remote
    outbox: Outbox


@dataclass(frozen=True)
class Service:
    """The parts of a running server.

    Attributes:
        segmenter: the network.
        limits: on each request.
        pool: where images are decoded and segmented.
        metrics: counts of requests.
        token: that clients must know; None if they need none.
        session: the folder that is annotated; None if there is none.
        archive: the server that the images come from; None if they lie in the folder.
    """

    segmenter: Segmenter
    limits: Limits
    pool: Pool
    metrics: Metrics
    token: str | None
    session: Session | None
    archive: Archive | None


def service_of(request: Request) -> Service:
    """The service that a request came to."""
    service: Service = request.app.state.service
    return service


Here = Annotated[Service, Depends(service_of)]
"""A parameter of a request's function: the service."""


def only_fields(*names: str) -> Any:
    """A dependency that refuses other fields, such as misspelled ones, and a second image: neither would be used."""

    async def check(request: Request) -> None:
        form = await request.form()
        for name in form:
            if name not in names:
                problem = "is not a field of this address"
                hint = f"send {', '.join(names)}"
                raise Refused(422, visible(name)[:40], problem, hint)
            if len(form.getlist(name)) > 1:
                hint = "send one image, and each option once"
                raise Refused(422, name, "is sent more than once", hint)

    return Depends(check)
