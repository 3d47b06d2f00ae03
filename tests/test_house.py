"""The limits of the house: how long a module is, how much a line does, and what no module below the surface may do."""

from __future__ import annotations

import ast
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
PACKAGE = REPOSITORY / "src" / "sonoseg"
MODULES = sorted(PACKAGE.rglob("*.py"))

# Long modules are hard to read in one go. cli.py may be longer: it is a list of options.
LONGEST = 300
MAY_BE_LONGER = {"cli.py"}

# Both limits come from nanochat, TorchIO, segmentation_models_pytorch, torchtitan and nnU-Net, counted
# as benchmarks/density.py does: they have 2.9 to 4.7 expressions a line, and few of them a nested comprehension.
MOST_EXPRESSIONS = 4.7
MOST_NESTED = 0.5

# cli.py prints what commands return; progress.py writes bars and log messages to stderr; terminal.py is where the
# command line's output ends.
MAY_PRINT = {"cli.py", "progress.py", "terminal.py"}


def name_of(module: Path) -> str:
    return module.relative_to(PACKAGE).as_posix()


@pytest.fixture(scope="module")
def density() -> ModuleType:
    """The module benchmarks/density.py, which is no part of a package."""
    spec = importlib.util.spec_from_file_location(
        "density", REPOSITORY / "benchmarks/density.py"
    )
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["density"] = module  # its dataclass looks itself up there
    spec.loader.exec_module(module)
    return module


def test_no_module_is_too_long() -> None:
    lines = {
        name_of(module): len(module.read_text("utf-8").splitlines())
        for module in MODULES
    }
    too_long = {name: count for name, count in lines.items() if count > LONGEST}
    assert too_long.keys() <= MAY_BE_LONGER, too_long


def test_a_line_does_one_thing(density: ModuleType) -> None:
    found = density.measure(PACKAGE)
    assert found.lines > 5000  # all of it was measured
    assert found.expressions_a_line <= MOST_EXPRESSIONS
    assert found.nested_per_1000 <= MOST_NESTED, found.nested


def test_the_measure_counts_what_it_says(density: ModuleType) -> None:
    one = density.Density()
    one.add('"""A docstring\n\nof three lines."""\n\n# a comment\nx = a.b(1)\n')
    assert (one.lines, one.expressions, one.nested) == (
        1,
        5 + 1,
        0,
    )  # x, the call, a.b, a, 1; the docstring
    one.add(
        "y = [[z for z in w] for w in v]\nf(*y, **d)\n{k: v for m in n for k, v in m}\n"
    )
    assert (one.lines, one.comprehensions, one.nested, one.stars) == (4, 3, 2, 1)


def test_nothing_below_the_command_line_imports_it() -> None:
    importing = []
    for module in MODULES:
        for imported in imports_of(ast.parse(module.read_text("utf-8"))):
            if imported == "sonoseg.cli" or imported.startswith("sonoseg.cli."):
                importing.append(name_of(module))
    assert set(importing) == {"__main__.py"}  # python -m sonoseg is the command line


def imports_of(tree: ast.AST) -> Iterator[str]:
    """The names of all imported modules, also those that are imported for types or within functions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_the_library_does_not_print() -> None:
    printing = set()
    for module in MODULES:
        for node in ast.walk(ast.parse(module.read_text("utf-8"))):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
                continue
            if node.func.id == "print":
                printing.add(name_of(module))
    assert printing <= MAY_PRINT, printing - MAY_PRINT
