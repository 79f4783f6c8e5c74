"""A report for LaTeX: every table with booktabs, every figure, and every number of the summary as a macro."""

from __future__ import annotations

import re
import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

from mirage.errors import DataError
from mirage.report.printing.pictures import drawing_as_pdf
from mirage.report.printing.tables import place_table
from mirage.report.quotes import quotable, read_summary
from mirage.report.record import Record, read_record

LINE = 459.0
"""Width of a line of text, points, by which columns that hold text get their shares."""
SMALL = 8.5
"""Size of the letters in print, points, below which LaTeX takes its smaller ones."""
LONG = 30
"""Rows above which a table may break over pages."""
SPECIAL = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "#": r"\#",
    "$": r"\$",
    "%": r"\%",
    "&": r"\&",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "\u00a0": "~",
    "\u202f": r"\,",
    "\u200b": "",
    "\u2013": "--",
    "\u2014": "---",
    "\u2026": r"\ldots{}",
    "\u2018": "`",
    "\u2019": "'",
    "\u201c": "``",
    "\u201d": "''",
    "\u2212": "$-$",
    "\u00d7": r"$\times$",
    "\u00b1": r"$\pm$",
    "\u2264": r"$\leq$",
    "\u2265": r"$\geq$",
    "\u221e": r"$\infty$",
    "\u2192": r"$\rightarrow$",
    "\u00bd": r"$\frac{1}{2}$",
}
RAISED = str.maketrans("\u207b\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079", "-0123456789")
LOWERED = str.maketrans("\u2080\u2081\u2082\u2083\u2084\u2085\u2086\u2087\u2088\u2089", "0123456789")
PREAMBLE = files("mirage.report") / "templates" / "results.tex"
"""What defines the macros; the numbers follow."""


def export_latex(report: Path, out: Path) -> None:
    r"""Write a folder for LaTeX; what it held before is replaced.

    ``results.tex`` defines ``\res{key}`` for every number of the summary, ``tables/`` and ``figures/`` have a
    file an exhibit, and ``all.tex`` inputs them all in their order.

    Args:
        report: folder of the report: ``report.json``, ``summary.csv`` and ``figures/``.
        out: the folder to write, below the report; figures are included from the report by ``\mirageroot``.

    Raises:
        DataError: the report is not whole, or two numbers would have one key.
    """
    record = read_record(report)
    with _replaced(out) as folder:
        (folder / "results.tex").write_text(macros(quotable(read_summary(report))), encoding="utf-8")
        for id, exhibit in record.exhibits.items():
            _write(folder / f"{exhibit_file(id, exhibit)}.tex", exhibit_text(exhibit, folder, report))
        (folder / "all.tex").write_text(_all(record), encoding="utf-8")


def escape(text: str) -> str:
    """Text for LaTeX: nothing in it is a command, and typographic characters are as LaTeX writes them."""
    text = "".join(SPECIAL.get(letter, letter) for letter in text)
    raised, lowered = "[\u207b\u2070\u00b9\u00b2\u00b3\u2074-\u2079]+", "[\u2080-\u2089]+"
    text = re.sub(raised, lambda found: f"$^{{{found[0].translate(RAISED)}}}$", text)
    return re.sub(lowered, lambda found: f"$_{{{found[0].translate(LOWERED)}}}$", text)


def prose(text: str) -> str:
    """Escaped text in which `code` between backticks is set as such."""
    parts = re.split(r"`([^`]+)`", text)
    return "".join(rf"\texttt{{{escape(part)}}}" if n % 2 else escape(part) for n, part in enumerate(parts))


def key_of(name: str) -> str:
    """A key of the summary with what LaTeX cannot have in a name as ``-``."""
    return re.sub(r"[^A-Za-z0-9_/.:+-]+", "-", name)


def macros(numbers: Mapping[str, str]) -> str:
    """``results.tex``.

    Raises:
        DataError: two numbers would have one key.
    """
    named: dict[str, str] = {}
    for name in numbers:
        if key_of(name) in named:
            raise DataError(
                f"LaTeX: {name!r} and {named[key_of(name)]!r} would both be {key_of(name)!r}; rename an "
                "entry, a label or an arm"
            )
        named[key_of(name)] = name
    lines = [rf"\mirage@set{{{key}}}{{{escape(numbers[name])}}}" for key, name in named.items()]
    return PREAMBLE.read_text(encoding="utf-8") + "\n".join([*lines, r"\makeatother"]) + "\n"


def exhibit_file(id: str, exhibit: Mapping[str, Any]) -> str:
    """Where an exhibit goes in the folder, without suffix."""
    name = re.sub(r"[^A-Za-z0-9]+", "_", id).strip("_")
    return f"{'tables' if exhibit['form'] == 'table' else 'figures'}/{name}"


def exhibit_text(exhibit: Mapping[str, Any], folder: Path, report: Path) -> str:
    """The file of an exhibit; of a drawing without a PDF one is made in ``folder/figures``."""
    if exhibit["form"] == "table":
        return table(exhibit)
    path = exhibit["files"].get("pdf") or exhibit["files"].get("png")
    if path is None:
        path = _drawn(report / exhibit["files"]["svg"], folder)
    lines = [
        r"\begin{figure}[htbp]",
        r"  \centering",
        rf"  \includegraphics[width=\linewidth]{{\mirageroot/{path}}}",
        rf"  \caption{{{prose(exhibit['caption'])}}}",
        rf"  \label{{{exhibit['anchor']}}}",
        r"\end{figure}",
    ]
    return "\n".join(lines) + "\n"


def _drawn(svg: Path, folder: Path) -> str:
    """The PDF of a drawing, relative to the report."""
    _write(folder / "figures" / f"{svg.stem}.pdf", drawing_as_pdf(svg))
    return f"latex/figures/{svg.stem}.pdf"


def table(exhibit: Mapping[str, Any]) -> str:
    """A table with booktabs; second lines of cells are rows of their own in small letters."""
    placed = place_table(exhibit, LINE)
    columns = [
        _column(number, share / LINE)
        for number, share in zip(placed["numbers"], placed["widths"], strict=True)
    ]
    small = r"\small" if placed["size"] >= SMALL else r"\footnotesize"
    head = _row([rf"\textbf{{{escape(title)}}}" for title in exhibit["head"]])
    body = [line for row in exhibit["rows"] for line in _lines(row)]
    caption = [rf"\caption{{{prose(exhibit['caption'])}}}", rf"\label{{{exhibit['anchor']}}}"]
    rules = [r"\toprule", head, r"\midrule"]
    if len(exhibit["rows"]) > LONG:
        lines = [
            rf"{{{small}\begin{{longtable}}{{{''.join(columns)}}}",
            rf"{''.join(caption)}\\",
            *rules,
            r"\endhead",
            *body,
            r"\bottomrule",
            r"\end{longtable}}",
        ]
    else:
        lines = [
            r"\begin{table}[htbp]",
            rf"\centering{small}",
            *caption,
            rf"\begin{{tabular}}{{{''.join(columns)}}}",
            *rules,
            *body,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
        ]
    return "\n".join(lines) + "\n"


def _column(number: bool, share: float) -> str:
    """A column of a table; one without a share of the line takes what it needs."""
    if not share:
        return "r" if number else "l"
    side = r"\raggedleft" if number else r"\raggedright"
    return rf">{{{side}\arraybackslash}}p{{\dimexpr {share:.3f}\linewidth-2\tabcolsep}}"


def _lines(row: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    yield _row([_cell(cell) for cell in row])
    notes = [cell["note"].replace("\n", " ") for cell in row]
    if any(notes):
        yield _row([rf"\footnotesize {escape(note)}" if note else "" for note in notes])


def _cell(cell: Mapping[str, Any]) -> str:
    text = escape(" ".join(title for title, _ in cell["links"]) or cell["text"].replace("\n", " "))
    return rf"\textbf{{{text}}}" if cell["strong"] else text


def _row(cells: Sequence[str]) -> str:
    """A row; an opening bracket would else be read as an argument of the line break above."""
    guarded = [f"{{}}{cell}" if cell.startswith(("[", "*")) else cell for cell in cells]
    return rf"{' & '.join(guarded)} \\"


def _all(record: Record) -> str:
    return "".join(
        rf"\input{{\mirageroot/latex/{exhibit_file(id, exhibit)}}}" + "\n"
        for id, exhibit in record.exhibits.items()
    )


def _write(path: Path, content: str | bytes) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)


@contextmanager
def _replaced(folder: Path) -> Iterator[Path]:
    """Yield a new folder that takes the place of ``folder`` when the block ends well."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}")
    temporary.mkdir()
    try:
        yield temporary
        shutil.rmtree(folder, ignore_errors=True)
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
