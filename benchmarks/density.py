"""Measures how much Python code does in a line, for the house's limits and for comparing it with other projects.

    python benchmarks/density.py src/sonoseg other-project/src

For every folder it prints one line of JSON:

- `lines`: code lines, that is lines with at least one token that is neither a comment nor a docstring. A docstring is
  any string that stands alone as a statement. Blank lines do not count.
- `expressions`: nodes of the syntax tree of type `ast.expr`, docstrings included. Names, constants, attributes, calls,
  operators, subscripts and annotations are one each: `a.b(1)` has four.
- `comprehensions`: list, set and dict comprehensions, and generator expressions.
- `nested`: comprehensions with more than one `for`, and those with another comprehension inside.
- `stars`: `*x` in calls, literals and targets. `**x` does not count.
- `expressions_a_line`, and `nested_per_1000` and `stars_per_1000` code lines.

Files in a folder called tests, and files that are no valid Python, are left out.
"""

from __future__ import annotations

import ast
import io
import json
import sys
import tokenize
from dataclasses import dataclass
from pathlib import Path

NO_CODE = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
}
COMPREHENSION = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


@dataclass
class Density:
    """Counts over some files, see the module's docstring."""

    lines: int = 0
    expressions: int = 0
    comprehensions: int = 0
    nested: int = 0
    stars: int = 0

    @property
    def expressions_a_line(self) -> float:
        return self.expressions / max(self.lines, 1)

    @property
    def nested_per_1000(self) -> float:
        return 1000 * self.nested / max(self.lines, 1)

    @property
    def stars_per_1000(self) -> float:
        return 1000 * self.stars / max(self.lines, 1)

    def add(self, text: str) -> None:
        """Adds the text of one file.

        Raises:
            SyntaxError: it is no valid Python.
        """
        tree = ast.parse(text)
        self.lines += len(code_lines(text, tree))
        for node in ast.walk(tree):
            if isinstance(node, ast.expr):
                self.expressions += 1
            if isinstance(node, ast.Starred):
                self.stars += 1
            if isinstance(node, COMPREHENSION):
                self.comprehensions += 1
                self.nested += is_nested(node)


def code_lines(text: str, tree: ast.AST) -> set[int]:
    """Returns the numbers of the lines with code."""
    code: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in NO_CODE:
            code.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(tree):
        if not isinstance(node, ast.Expr) or not isinstance(node.value, ast.Constant):
            continue
        if isinstance(node.value.value, str):
            code.difference_update(
                range(node.lineno, (node.end_lineno or node.lineno) + 1)
            )
    return code


def is_nested(
    node: ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp,
) -> bool:
    """Whether a comprehension has more than one `for`, or another comprehension inside."""
    if len(node.generators) > 1:
        return True
    inside = [child for child in ast.walk(node) if child is not node]
    return any(isinstance(child, COMPREHENSION) for child in inside)


def measure(folder: Path) -> Density:
    """Returns the counts over all Python files of a folder."""
    density = Density()
    for file in sorted(folder.rglob("*.py")):
        if "tests" in file.relative_to(folder).parts:
            continue
        text = file.read_text(encoding="utf-8", errors="replace")
        try:
            density.add(text)
        except SyntaxError:
            print(f"{file}: is no valid Python, left out", file=sys.stderr)
    return density


def main() -> None:
    """Prints one line for each folder of the command line."""
    for name in sys.argv[1:]:
        density = measure(Path(name))
        counts = {
            "folder": name,
            "lines": density.lines,
            "expressions_a_line": round(density.expressions_a_line, 2),
            "comprehensions": density.comprehensions,
            "nested": density.nested,
            "nested_per_1000": round(density.nested_per_1000, 2),
            "stars_per_1000": round(density.stars_per_1000, 2),
        }
        print(json.dumps(counts))


if __name__ == "__main__":
    main()
