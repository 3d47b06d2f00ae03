"""The start of the command."""

from __future__ import annotations

import builtins
from typing import Any

import pytest

from sonoseg.__main__ import main


def test_ctrl_c_while_the_command_starts_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    own = builtins.__import__

    def interrupted(name: str, *rest: Any) -> Any:
        if name == "sonoseg.cli":
            raise KeyboardInterrupt
        return own(name, *rest)

    monkeypatch.setattr(builtins, "__import__", interrupted)
    code = main()
    monkeypatch.undo()
    assert code == 130
    assert capsys.readouterr().err == "sonoseg: stopped\n"
