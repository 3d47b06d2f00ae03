"""Opens a bundle's network in ONNX Runtime, with limits on time and memory.

A correct checksum shows only that a file is undamaged. A bundle from a stranger may hold a network that never ends or
that fills the memory.
"""

from __future__ import annotations

import contextlib
import functools
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from sonoseg.cores import asked_threads
from sonoseg.errors import InputError

LOAD_SECONDS = 60.0
"""The longest time to open a network. The bundled model needs a fifth of a second."""
_FUNCTIONS = 25  # the number of the field `functions` of ONNX's ModelProto


def open_session(path: Path, content: bytes, threads: int) -> Any:
    """An onnxruntime.InferenceSession on the CPU.

    Args:
        path: of the bundle, for errors.
        content: an ONNX file.
        threads: processor threads; 0 takes as many as `OMP_NUM_THREADS` says, or one for each core.

    Raises:
        InputError: no network that ONNX Runtime can load, or not within `LOAD_SECONDS`.
    """
    # A few functions that call each other can stand for any number of operations, which fill the memory at loading.
    if _has_field(content, _FUNCTIONS):
        problem = "has a network with ONNX functions, which are not supported"
        raise InputError(path, problem, "export it again with this version")
    import onnxruntime  # which takes a quarter of a second: errors above need not wait for it

    onnxruntime.set_default_logger_severity(
        4
    )  # our own errors report problems, in one line
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or asked_threads()
    options.log_severity_level = 4
    if _limit_memory():
        options.add_session_config_entry("session.use_env_allocators", "1")

    def stop() -> None:
        if hasattr(
            options, "set_load_cancellation_flag"
        ):  # older versions cannot be stopped
            options.set_load_cancellation_flag(True)

    with time_limit(LOAD_SECONDS, stop) as late:
        try:
            # Without fallback: trying again on the same processor would only print the problem.
            return onnxruntime.InferenceSession(
                content, options, providers=["CPUExecutionProvider"], enable_fallback=0
            )
        except Exception as error:  # onnxruntime's errors share no other base
            problem = "holds no network that onnxruntime can load"
            hint = "upgrade onnxruntime"
            if late.is_set():
                problem = (
                    f"holds a network that cannot be opened within {LOAD_SECONDS:g} s"
                )
                hint = "give another bundle or use a faster computer"
            raise InputError(path, problem, hint) from error


@contextlib.contextmanager
def time_limit(seconds: float, stop: Callable[[], object]) -> Iterator[threading.Event]:
    """Calls `stop` from another thread if the block takes longer than `seconds`; the event is then set."""
    late = threading.Event()

    def ring() -> None:
        late.set()
        stop()

    timer = threading.Timer(seconds, ring)
    timer.daemon = True
    timer.start()
    try:
        yield late
    finally:
        timer.cancel()


@functools.cache
def _limit_memory() -> bool:
    """Limits all networks of this process to half of the machine's memory; done once. False where that cannot be set.

    Without the limit, a network that asks for more and more memory ends only when the system kills the process.
    """
    import onnxruntime

    try:
        half = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
        kind = onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR
        memory = onnxruntime.OrtMemoryInfo(
            "Cpu", kind, 0, onnxruntime.OrtMemType.DEFAULT
        )
        onnxruntime.create_and_register_allocator(
            memory, onnxruntime.OrtArenaCfg({"max_mem": half})
        )
    except (
        Exception
    ):  # no sysconf on Windows; another part of the process has set a limit
        return False
    return True


def _has_field(content: bytes, wanted: int) -> bool:
    """Whether a protobuf message has the field with this number, at its top level.

    False for bytes that are no protobuf message: ONNX Runtime will refuse them.
    """
    at = 0
    while at < len(content):
        tag, at = _varint(content, at)
        if tag >> 3 == wanted:
            return True
        kind = tag & 7
        if kind == 0:
            _, at = _varint(content, at)
        elif kind == 2:
            length, at = _varint(content, at)
            at += length
        else:
            at += {1: 8, 5: 4}.get(kind, len(content))
    return False


def _varint(content: bytes, at: int) -> tuple[int, int]:
    """A number of up to 64 bits, seven to a byte, and the place behind it."""
    value = 0
    for shift in range(0, 70, 7):
        byte = content[at] if at < len(content) else 0
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            break
    return value, at
