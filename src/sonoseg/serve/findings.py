"""What a reader says of an image: what is known and shown of it, and whether it makes sense."""

from __future__ import annotations

from sonoseg.core.image import parse_spacing
from sonoseg.core.measure import Spacing
from sonoseg.errors import InputError
from sonoseg.serve.calipers import spacing_text
from sonoseg.serve.journal import Journal
from sonoseg.serve.lexicon import BIRADS, LABELS
from sonoseg.serve.patch import Mask
from sonoseg.serve.records import Finding
from sonoseg.serve.refusal import SEE_AGAIN, Refused
from sonoseg.serve.scenes import Shot


def known_findings(
    journal: Journal, shot: Shot, reader: str, spacing: Spacing | None
) -> tuple[Finding, Finding]:
    """What the reader wrote about an image, and what is shown: words of the loop, and the file's spacing."""
    known = journal.findings(reader, shot.key)
    own = shown = known.get(shot.key, Finding())
    if own == Finding() and shot.scene.frames > 1:
        begin = f"{shot.scene.key}/"
        for key, finding in journal.findings(reader).items():
            if key.startswith(begin):
                shown = finding
    if shown == Finding() and spacing is not None:
        shown = Finding(spacing=spacing_text(spacing))
    return own, shown


def check_words(finding: Finding) -> None:
    """Refuses what the lexicon does not have.

    Raises:
        InputError: an unknown label or category, or a spacing that is no pixel size.
    """
    if finding.label and finding.label not in LABELS:
        hint = f"choose one of {', '.join(LABELS)}"
        raise InputError("label", "is not known", hint)
    if finding.birads not in BIRADS:
        raise InputError("BI-RADS", "is not a category", "choose 0 to 6")
    if finding.spacing:
        parse_spacing(finding.spacing)


def check_words_seen(seen: str | None, shown: Finding) -> None:
    """Refuses a client that has not seen what is shown.

    Args:
        seen: digits of the finding that it has seen; None: it need not have seen any.
        shown: what is shown of the image.

    Raises:
        Refused: status 409, it has seen another finding.
    """
    if seen not in (None, shown.digits):
        problem = "has other words now, from another window"
        raise Refused(409, "image", problem, SEE_AGAIN)


def check_label(label: str, mask: Mask) -> None:
    """Refuses a label that the mask contradicts.

    Raises:
        InputError: it is missing, or does not fit the mask.
    """
    if not label:
        hint = "choose benign, malignant, normal or uncertain"
        raise InputError("label", "is missing", hint)
    if label == "normal" and mask.any():
        raise InputError(
            "label", "is normal, but a lesion is drawn", "clear the mask first"
        )
    if label in ("benign", "malignant") and not mask.any():
        raise InputError(
            "label",
            f"is {label}, but no lesion is drawn",
            "draw the lesion, or choose normal",
        )
