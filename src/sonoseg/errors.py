"""The one error that a user of sonoseg meets: what is wrong, where, and how to mend it."""

from __future__ import annotations


class InputError(Exception):
    """A fault in what the user gave, which the user can mend.

    ``str(error)`` is one line, ``subject: fault; mend`` (a mend may ask for a second line). The command line
    prints it without a traceback and exits with code 2.

    Args:
        subject: the file, folder, option or name at fault.
        fault: what is wrong with it.
        mend: what to do about it.
    """

    def __init__(self, subject: object, fault: str, mend: str) -> None:
        self.subject = str(subject)
        self.fault = fault
        self.mend = mend
        super().__init__(" ".join(f"{subject}: {fault}".split()) + f"; {mend}")


class MachineError(InputError):
    """A problem of the machine, such as a full disk: the same command may succeed later."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether `error` says that there is not enough memory, as Python, PyTorch and ONNX Runtime say it."""
    if isinstance(error, MemoryError):
        return True
    words = ("can't allocate memory", "not enough memory", "out of memory", "bad_alloc", "bad allocation")
    return isinstance(error, RuntimeError) and any(word in str(error).lower() for word in words)
