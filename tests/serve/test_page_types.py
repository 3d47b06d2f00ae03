"""The types in the page's scripts, which are comments (JSDoc), checked by TypeScript's compiler."""

import shutil
import subprocess
from importlib.resources import files
from pathlib import Path

import pytest

COMPILER = (
    Path(__file__).parents[2] / ".venv" / "typescript" / "package" / "bin" / "tsc"
)
OPTIONS = (
    "--allowJs",
    "--checkJs",
    "--noEmit",
    "--strict",
    "--noUnusedLocals",
    "--target",
    "es2022",
    "--module",
    "es2022",
    "--moduleResolution",
    "bundler",
    "--lib",
    "es2023,dom,dom.iterable",
)


def check_types(*paths: Path) -> subprocess.CompletedProcess[str]:
    node = shutil.which("node")
    if node is None or not COMPILER.is_file():
        pytest.skip("needs node, and TypeScript, which make test fetches with npm")
    command = [node, str(COMPILER), *OPTIONS, *map(str, paths)]
    return subprocess.run(command, capture_output=True, text=True, timeout=250)


def test_the_types_of_the_page_are_right():
    page = Path(str(files("sonoseg.serve") / "page"))
    done = check_types(*sorted(page.glob("*.js")))
    assert done.returncode == 0, done.stdout


def test_a_wrong_type_is_found(tmp_path):
    script = tmp_path / "wrong.js"
    script.write_text("// @ts-check\n/** @type {number} */ export const one = 'two';\n")
    done = check_types(script)
    assert done.returncode != 0
    assert "TS2322" in done.stdout
