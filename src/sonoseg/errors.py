"""The one error that a user of sonoseg meets: where the problem is, what it is, and what to do about it."""

from __future__ import annotations

import re

_HIDDEN = re.compile(
    "[\x00-\x1f\x7f-\x9f"  # control characters: line ends, tabs, and ESC, which begins a terminal's commands
    "\u2028\u2029"  # line ends of Unicode
    "\u200e\u200f\u202a-\u202e\u2066-\u2069"  # change the direction of the text that follows
    "\ud800-\udfff]"  # bytes of a file name that are not UTF-8
)


class InputError(Exception):
    """A problem with what the user gave, which the user can solve.

    ``str(error)`` is one line, ``subject: problem; hint``. The command line prints it without a traceback and
    exits with code 2. Control characters in it, such as a file's name may have, are written as escapes.

    Args:
        subject: the file, folder, option or name that has the problem.
        problem: what is wrong.
        hint: what the user can do.
    """

    def __init__(self, subject: object, problem: str, hint: str) -> None:
        self.subject = str(subject)
        self.problem = problem
        self.hint = hint
        one_line = " ".join(problem.split())
        super().__init__(
            f"{visible(self.subject)}: {visible(one_line)}; {visible(hint)}"
        )


def visible(text: str, keep: str = "") -> str:
    r"""`text` with an escape for each character that would control a terminal or cannot be written, such as \x1b.

    Args:
        text: such as a file's name.
        keep: control characters that stay as they are, such as the line ends of a text of several lines.
    """
    return _HIDDEN.sub(
        lambda found: found[0] if found[0] in keep else _escape(found[0]), text
    )


def counted(number: int, noun: str) -> str:
    """Such as 1 frame, or 12 frames."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


class MachineError(InputError):
    """A problem of the machine, such as a full disk: the same command may succeed later."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether `error` says that there is not enough memory, as Python, PyTorch and ONNX Runtime say it."""
    if isinstance(error, MemoryError):
        return True
    words = (
        "can't allocate memory",
        "not enough memory",
        "out of memory",
        "bad_alloc",
        "bad allocation",
    )
    return isinstance(error, RuntimeError) and any(
        word in str(error).lower() for word in words
    )
