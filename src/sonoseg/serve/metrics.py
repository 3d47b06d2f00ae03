"""Counts and times of requests, in the text form that Prometheus reads."""

from __future__ import annotations

import threading
import time
from collections import Counter, defaultdict

from starlette.types import ASGIApp, Message, Receive, Scope, Send

BUCKETS = (0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 2.0, 5.0, 10.0)
"""Upper bounds of the histogram, in seconds."""


class Metrics:
    """What was asked and how long it took; may be used from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: Counter[tuple[str, str, int]] = Counter()
        self._buckets: dict[str, list[int]] = {}
        self._sums: dict[str, float] = defaultdict(float)
        self._images = 0
        self._lesions = 0

    def add_request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Notes one request.

        Args:
            method: such as POST.
            route: the address with its variable parts as names, so that it holds nothing of a user.
            status: of the answer.
            seconds: that it took.
        """
        with self._lock:
            self._requests[method, route, status] += 1
            counts = self._buckets.setdefault(route, [0] * (len(BUCKETS) + 1))
            for place, bound in enumerate(BUCKETS):
                if seconds <= bound:
                    counts[place] += 1
            counts[-1] += 1
            self._sums[route] += seconds

    def add_image(self, lesions: int) -> None:
        """Notes one segmented image."""
        with self._lock:
            self._images += 1
            self._lesions += lesions

    def to_text(self, waiting: int) -> str:
        """All metrics.

        Args:
            waiting: requests that are worked on or wait for it.
        """
        lines = ["# TYPE sonoseg_requests_total counter"]
        with self._lock:
            for (method, route, status), count in sorted(self._requests.items()):
                labels = f'method="{method}",route="{route}",status="{status}"'
                lines.append(f"sonoseg_requests_total{{{labels}}} {count}")
            lines.append("# TYPE sonoseg_request_seconds histogram")
            for route in sorted(self._buckets):
                lines += self._histogram(route)
            lines.append("# TYPE sonoseg_images_total counter")
            lines.append(f"sonoseg_images_total {self._images}")
            lines.append("# TYPE sonoseg_lesions_total counter")
            lines.append(f"sonoseg_lesions_total {self._lesions}")
        lines.append("# TYPE sonoseg_requests_in_line gauge")
        lines.append(f"sonoseg_requests_in_line {waiting}")
        return "\n".join(lines) + "\n"

    def _histogram(self, route: str) -> list[str]:
        name, label = "sonoseg_request_seconds", f'route="{route}"'
        counts = self._buckets[route]
        lines = []
        bounds = [str(bound) for bound in BUCKETS]
        bounds.append("+Inf")
        for bound, count in zip(bounds, counts, strict=True):
            lines.append(f'{name}_bucket{{{label},le="{bound}"}} {count}')
        lines.append(f"{name}_sum{{{label}}} {self._sums[route]:.6f}")
        lines.append(f"{name}_count{{{label}}} {counts[-1]}")
        return lines


class Measured:
    """ASGI middleware: notes each request in `Metrics`."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.perf_counter(), 500

        async def send_noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, send_noted)
        finally:
            seconds = time.perf_counter() - began
            self._metrics.add_request(
                _method_of(scope), _route_of(scope), status, seconds
            )


def _method_of(scope: Scope) -> str:
    method: str = scope["method"]
    return method if method in ("GET", "HEAD", "POST", "PUT", "DELETE") else "other"


def _route_of(scope: Scope) -> str:
    """The address as the router knows it; "other" for one that does not exist."""
    route = scope.get("route")
    return str(getattr(route, "path", "other"))
