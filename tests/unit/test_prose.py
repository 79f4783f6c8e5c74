"""No number in the report's prose is typed by hand: it comes from the results by one formatting path."""

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
    r"\b(F|R|L|Wasserstein-)[12]\b",
    r"\b[23]D\b",
    r"\bHD95\b",
    r"\bNODE21\b",
    r"\bSHA-256\b",
    r"\bBraTS 20\d\d( to 20\d\d)?\b",
    r"\bCLAIM(\b.?\d+|( \(CLAIM\):)? 2024)\b",
    r"\bRegulation \(EU\) 2024/1689\b",
    r"\bArticle 50\(2\)",
    r"\b0\.1 and 99\.9 percentiles\b",  # of the robust histogram
    r"\b256 bins\b|\b1e-8 added\b",  # of the published one
    r"\bat most 0\.693\b",  # ln 2
    r"(?<![.\d])[01](?!\.?\d)",  # ends of scales, and the ratio of equals
)
"""Digits that are part of a name or of a definition, not results."""
LAYOUT = {"numbers.py", "latex.py", "drawing.py"}
"""The formatting path, and modules whose numbers are places on a page."""


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
    skipped = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            skipped |= {id(part) for part in ast.walk(node) if part is not node}
            constants = [part.value for part in node.values if isinstance(part, ast.Constant)]
            yield node.lineno, "\0".join(map(str, constants))
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in skipped:
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
    "path",
    [path for path in MODULES if path.name not in LAYOUT],
    ids=lambda path: str(path.relative_to(REPORT)),
)
def test_one_module_formats_numbers(path: Path) -> None:
    """How many digits a number has is said in mirage.report.numbers alone."""
    assert formatted_in(path.read_text(encoding="utf-8")) == []


def test_templates_hold_no_results() -> None:
    """What a template says between its tags and in its markup has no number either."""
    code = r"(?s)(?<!:)//[^\n]*|{[%#{].*?[%#}]}|<style.*?</style>"
    for path in TEMPLATES:
        for line in re.sub(code, "", path.read_text(encoding="utf-8")).splitlines():
            said = re.findall(r"[A-Z][a-z]+(?: [a-z0-9.,]+){3,}", line)
            assert [found for text in said for found in typed_digits(text)] == [], f"{path.name}: {line}"


def test_typed_numbers_and_formats_are_found() -> None:
    """A result in a sentence or in an f-string is found; names, definitions, keys and docstrings are not."""
    assert typed_in('x = "the judge reaches 0.91 on them"')
    assert typed_in('x = f"in {n} of 12 images it is {y}"')
    assert not typed_in('"""It reaches 0.91 on them."""\nx = f"{a} of F1, 95 % intervals"\ny = "seed-12"')
    assert formatted_in('x = f"it is {y:.3f}"')
    assert not formatted_in('x = f"{name:>12} {y!r}"')
