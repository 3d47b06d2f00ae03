"""What libtiff writes is caught, what others write in the meantime is not lost."""

from __future__ import annotations

import os

import pytest

from sonoseg.core.libtiff import caught


def test_only_the_lines_of_libtiff_are_caught(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with caught() as lines:
        os.write(
            2,
            b"Fax4Decode: Bad code word at line 57 of strip 0 (x 59).\nsonoseg: a.png: is empty; copy it\n12/40",
        )
        assert lines == []
    assert lines == ["Fax4Decode: Bad code word at line 57 of strip 0 (x 59)"]
    assert capfd.readouterr().err == "sonoseg: a.png: is empty; copy it\n12/40"


def test_stderr_is_itself_again_after_an_error(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(ValueError, match="lost"), caught():
        raise ValueError("lost")
    os.write(2, b"here")
    assert capfd.readouterr().err == "here"
