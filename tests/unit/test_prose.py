"""No number in the report's prose is typed by hand: each comes from the results through one formatting path."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import mirage.report

REPORT = Path(mirage.report.__file__).parent
MODULES = sorted(REPORT.rglob("*.py"))
TEMPLATES = sorted([*REPORT.rglob("*.html.j2"), *REPORT.rglob("*.typ"), *REPORT.rglob("*.yaml")])

DEFINITIONS = (
    r"\b95 %",  # the level of every interval
    r"\b[23]D\b",
    r"\bF1\b",
    r"\bR1\b",
    r"\bL1\b",
    r"\bL2\b",
    r"\bHD95\b",
    r"\bBraTS 20\d\d\b",
    r"\bFUTURE-AI( \w+ \d)?\b",
    r"\bCLAIM( \d+| 2024| \(CLAIM\): 2024)?\b",
    r"\bAI Act\b",
    r"Regulation \(EU\) 2024/1689",
    r"Article 50\(2\)",
    r"utf-8",
)
"""Digits that are part of a name or of a definition, not results."""
NUMBERS = REPORT / "numbers.py"
"""The formatting path: the only module that says how many digits a number has."""
QUOTED = {"sha256", "latin-1"}


def is_prose(text: str) -> bool:
    """Whether a string is for a reader: words with blanks between, rather than a key, a path or a pattern."""
    return bool(re.search(r"[A-Za-z]{2,} [a-z(]|[a-z,;:] [A-Za-z(]*[A-Za-z]{2,}", text))


def typed_digits(text: str) -> list[str]:
    """Numbers in a text that no definition explains."""
    for allowed in DEFINITIONS:
        text = re.sub(allowed, "", text)
    return re.findall(r"\S*\d\S*", text)


def literals(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Line and text of every string that is no docstring, those of f-strings without what is filled in."""
    documented = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    bare = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    inside: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            inside |= {id(part) for part in ast.walk(node) if part is not node}
            constants = [part.value for part in node.values if isinstance(part, ast.Constant)]
            yield node.lineno, "\0".join(map(str, constants))
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            if id(node) not in inside | documented | bare:
                yield node.lineno, node.value


def typed_in(source: str) -> list[str]:
    """``line: number`` of every number typed into the prose of a module."""
    return [
        f"{line}: {found} in {text[:70]!r}"
        for line, text in literals(ast.parse(source))
        if is_prose(text)
        for found in typed_digits(text)
    ]


def formatted_in(source: str) -> list[str]:
    """Lines of f-strings that say how many digits a number has."""
    return [
        f"{node.lineno}: {ast.unparse(node)}"
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FormattedValue)
        and node.format_spec is not None
        and re.search(r"[.\d]*[efg%]'?$", ast.unparse(node.format_spec))
    ]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(REPORT)))
def test_no_number_is_typed_into_prose(path: Path) -> None:
    """Digits in sentences are names and definitions; anything else comes from the results."""
    assert typed_in(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "path", [path for path in MODULES if path != NUMBERS], ids=lambda path: str(path.relative_to(REPORT))
)
def test_one_module_formats_numbers(path: Path) -> None:
    """How many digits a number has is said in mirage.report.numbers alone."""
    assert formatted_in(path.read_text(encoding="utf-8")) == []
