"""What a command prints, on terminals and pipes of every kind; run as a process of its own, as users do."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from sonoseg.data.phantom import make_phantom, write_phantoms
from sonoseg.terminal import Screen

COMMAND = [sys.executable, "-m", "sonoseg"]


def _run(
    *words: str, encoding: str = "utf-8", **more: object
) -> subprocess.CompletedProcess[bytes]:
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **more}
    return subprocess.run([*COMMAND, *words], env=environment, **pipes)  # type: ignore[call-overload]


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "latin-1", "utf-8:strict"])
def test_signs_that_the_output_cannot_hold_become_plain_ones(
    encoding: str, tmp_path: Path
) -> None:
    out = str(tmp_path / "demo")
    done = _run("demo", "--count", "1", "--out", out, encoding=encoding)
    assert done.returncode == 0
    assert b"report.html" in done.stderr  # where to look is no data
    rule = done.stdout.splitlines()[1]
    assert rule.startswith("─────".encode() if "utf" in encoding else b"-----")


def test_help_is_written_in_ascii() -> None:
    done = _run("train", "--help", encoding="ascii")
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"SIZE x SIZE pixels" in done.stdout


@pytest.fixture(scope="module")
def check(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """A command that prints a few lines and takes little time."""
    folder = tmp_path_factory.mktemp("data")
    write_phantoms(folder, 2, size=(128, 160))
    return ["data", "check", str(folder)]


@pytest.mark.parametrize("is_help", [False, True])
def test_a_full_disk_behind_the_output_is_one_line(
    check: list[str], is_help: bool
) -> None:
    words = ["--help"] if is_help else check
    with Path("/dev/full").open("w") as full:
        done = _run(*words, stdout=full)
        assert _run(*words, stderr=full).returncode == 0
    assert done.returncode == 1
    line = b"sonoseg: standard output: cannot be written (No space left on device); print to another file or disk\n"
    assert done.stderr == line


def test_results_are_written_though_nothing_can_be_printed(tmp_path: Path) -> None:
    Image.fromarray(make_phantom(0, size=(128, 128))[0]).save(tmp_path / "a.png")
    with Path("/dev/full").open("w") as full:
        done = _run(
            "segment",
            str(tmp_path / "a.png"),
            "--out",
            str(tmp_path / "out"),
            stdout=full,
        )
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "a_mask.png",
        "a_overlay.png",
        "results.json",
    }


def test_a_reader_that_has_gone_is_told_by_the_exit_code_alone(
    check: list[str],
) -> None:
    read, write = os.pipe()
    os.close(read)
    done = _run(*check, stdout=write)
    os.close(write)
    assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_do_no_harm(closed: str, check: list[str]) -> None:
    code = f'"$0" -m sonoseg "$@" {closed}'
    words = ["sh", "-c", code, sys.executable, *check]
    assert subprocess.run(words, capture_output=True).returncode == 0


class _Terminal(io.StringIO):
    """A stream that fails once it has taken some text."""

    def write(self, text: str) -> int:
        if self.tell() > 3:
            raise OSError(28, "No space left on device")
        return super().write(text)


def test_a_screen_escapes_what_a_terminal_would_obey() -> None:
    for keep, shown in (
        ("\n\t", "a\\x1b[2J\\x1b[A\\rb\n\t"),
        ("\n\t\r", "a\\x1b[2J\x1b[A\rb\n\t"),
    ):
        stream = io.StringIO()
        screen = Screen(stream, keep)
        screen.write("\x1b[1m")  # the parser's colours
        screen.escapes = True
        assert screen.write("a\x1b[2J\x1b[A\rb\n\t") == 12
        assert stream.getvalue() == "\x1b[1m" + shown


def test_a_screen_that_fails_goes_quiet_and_remembers_why() -> None:
    stream = _Terminal()
    screen = Screen(stream, "\n")
    screen.writelines(["abcd", "efgh", "ijkl"])
    screen.flush()
    assert stream.getvalue() == "abcd"
    assert screen.failure is not None
    assert screen.failure.errno == 28
    closed = Screen(io.StringIO(), "")
    closed.close()
    closed.write("x")
    assert str(closed.failure) == "it is closed"
