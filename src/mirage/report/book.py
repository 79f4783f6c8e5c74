"""Numbered figures and tables: each is written in full beside the page and in small into it."""

from __future__ import annotations

import io
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd
from markupsafe import Markup
from matplotlib.figure import Figure

from mirage.files import atomic_path
from mirage.report.figures import INK
from mirage.report.images import Key, Place, Sheet, Tile, outline_layer, thumbnail
from mirage.report.sources import Source, joint

THUMBNAIL = 168
MAIN_PAGE = "report.html"
ALIKE = re.compile(
    r'(?P<group><g clip-path="[^"]*")>'
    r'(?P<points>\s*<use [^>]*? style="(?P<style>[^"]*)"/>(?:\s*<use [^>]*? style="(?P=style)"/>)+)\s*</g>'
)
"""A group of marks of one style in Matplotlib's SVG."""


@dataclass(frozen=True)
class Picture:
    """A tile as the page shows it: data URIs and words."""

    source: str
    alt: str
    note: str
    layer: str = ""


@dataclass(frozen=True)
class Cell:
    """One cell of a table.

    Attributes:
        text: as printed.
        number: align right.
        strong: printed bold; only for a difference whose interval excludes zero.
        key: where the number stands in the summary (``evaluation/arm/metric/kind``), or empty.
        note: second, smaller line.
        links: (text, where it leads) in place of the text; ``#anchor`` leads to an exhibit.
        tone: a verdict or state that the cell tells: pass, fail, inconclusive ...; a mark repeats it.
        anchor: id of its row on the page.
    """

    text: str
    number: bool = False
    strong: bool = False
    key: str = ""
    note: str = ""
    links: Sequence[tuple[str, str]] = ()
    tone: str = ""
    anchor: str = ""


@dataclass(frozen=True)
class Exhibit:
    """A figure or table, ready for the template.

    ``places`` are left, top, width and height of the pictures on the full-size sheet, in its pixels;
    ``page`` is the file that shows it, relative to the report, and ``source`` what made its numbers.
    """

    id: str
    kind: str
    number: int
    caption: str
    form: str
    alt: str = ""
    svg: Markup = field(default_factory=Markup)
    columns: Sequence[str] = ()
    names: Sequence[str] = ()
    pictures: Sequence[Sequence[Picture | None]] = ()
    places: Sequence[Sequence[Place | None]] = ()
    head: Sequence[str] = ()
    rows: Sequence[Sequence[Cell]] = ()
    outlines: bool = False
    side: int = THUMBNAIL
    links: Sequence[tuple[str, str]] = ()
    legend: Sequence[Key] = ()
    page: str = MAIN_PAGE
    source: Source | None = None

    @property
    def label(self) -> str:
        """``Figure 3`` or ``Table 1``."""
        return f"{self.kind} {self.number}"

    @property
    def anchor(self) -> str:
        """Id of the element on the page."""
        return "fig-" + re.sub(r"[^a-z0-9]+", "-", self.id.lower()).strip("-")


class Book:
    """Numbers exhibits in the order they are made and writes their files into a folder below ``out``.

    Args:
        out: folder of the report.
        scale: pixels of a thumbnail for each pixel of the page; below 1 saves bytes.
        drawn_by: what draws the exhibits, and the source of those that no entry stands behind.
        folder: name of the folder below ``out`` that their files go to.
    """

    def __init__(
        self, out: Path, scale: float = 1.0, drawn_by: Source | None = None, folder: str = "figures"
    ) -> None:
        self.drawn_by = drawn_by
        self.folder = out / folder
        self.folder.mkdir(parents=True, exist_ok=True)
        self.scale = scale
        self.exhibits: list[Exhibit] = []
        self._page, self._sources = MAIN_PAGE, dict[str, Source]()
        self._figures, self._tables = itertools.count(1), itertools.count(1)
        self._charts = dict[str, str]()

    def smaller(self, scale: float) -> Book:
        """An empty book in place of this one, for the same exhibits with smaller thumbnails.

        What does not depend on them, the charts, is not drawn again.
        """
        book = Book(self.folder.parent, scale, self.drawn_by, self.folder.name)
        book._charts = self._charts
        return book

    @contextmanager
    def showing(self, sources: Mapping[str, Source], page: str = MAIN_PAGE) -> Iterator[None]:
        """Within the block exhibits are of a page, and those of an entry (``what/entry``) of its source.

        What is of no single entry is of all sources, where these are one rule's.
        """
        before = self._page, self._sources
        self._page, self._sources = page, dict(sources)
        yield
        self._page, self._sources = before

    def chart(self, id: str, figure: Figure, data: pd.DataFrame, *, caption: str, alt: str) -> Exhibit:
        """A matplotlib figure: SVG, PDF and the CSV behind it."""
        number = next(self._figures)
        stem = self._stem("figure", number, id)
        drawn = self._charts.get(stem) or self._draw(stem, figure)
        self._csv(stem, data)
        return self._add(
            Exhibit(
                id,
                "Figure",
                number,
                caption,
                "chart",
                alt,
                svg=inline_svg(drawn, f"f{number}", alt),
                links=self._links(stem, "csv", "svg", "pdf"),
            )
        )

    def _draw(self, stem: str, figure: Figure) -> str:
        """Write the files of a chart; its SVG."""
        drawn = self._charts[stem] = _svg(figure)
        figure.set_layout_engine("none")  # laid out once; the PDF keeps the places
        self._write(f"{stem}.svg", drawn.encode())
        self._write(f"{stem}.pdf", _pdf(figure))
        return drawn

    def drawing(self, id: str, svg: str, data: pd.DataFrame, *, caption: str, alt: str) -> Exhibit:
        """A ready SVG drawing and the CSV behind it."""
        number = next(self._figures)
        stem = self._stem("figure", number, id)
        self._write(f"{stem}.svg", svg.encode())
        self._csv(stem, data)
        return self._add(
            Exhibit(
                id,
                "Figure",
                number,
                caption,
                "chart",
                alt,
                svg=inline_svg(svg, f"f{number}", alt),
                links=self._links(stem, "csv", "svg"),
            )
        )

    def plate(
        self,
        id: str,
        rows: Sequence[Sequence[Tile | None]],
        *,
        columns: Sequence[str] = (),
        names: Sequence[str] = (),
        data: pd.DataFrame,
        caption: str,
        side: int = THUMBNAIL,
        legend: Sequence[Key] = (),
    ) -> Exhibit:
        """A sheet of pictures: small ones on the page, the whole at full size beside it."""
        number = next(self._figures)
        stem = self._stem("figure", number, id)
        tiles = [tile for row in rows for tile in row if tile is not None]
        outlines = any(tile.outline is not None for tile in tiles)
        full = max((max(tile.rgb.shape[:2]) for tile in tiles), default=side)
        files = {f"{stem}.png": False} | ({f"{stem}_outlines.png": True} if outlines else {})
        sheet = Sheet(rows, columns, names, side=min(max(full, 160), 512), legend=legend)
        for name, drawn in files.items():
            with atomic_path(self.folder / name) as path:
                sheet.draw(outlines=drawn).save(path, "PNG")
        self._csv(stem, data)
        pixels = round(side * self.scale)
        links = [*self._links(stem, "csv"), ("full size", f"{self.folder.name}/{stem}.png")]
        if outlines:
            links.append(("with outlines", f"{self.folder.name}/{stem}_outlines.png"))
        return self._add(
            Exhibit(
                id,
                "Figure",
                number,
                caption,
                "plate",
                caption,
                columns=columns,
                names=names,
                outlines=outlines,
                side=side,
                links=links,
                legend=legend,
                pictures=[[None if tile is None else _picture(tile, pixels) for tile in row] for row in rows],
                places=sheet.places(),
            )
        )

    def table(
        self,
        id: str,
        head: Sequence[str],
        rows: Sequence[Sequence[Cell]],
        *,
        caption: str,
        data: pd.DataFrame,
    ) -> Exhibit:
        """A table and the CSV behind it."""
        number = next(self._tables)
        stem = self._stem("table", number, id)
        self._csv(stem, data)
        return self._add(
            Exhibit(
                id, "Table", number, caption, "table", head=head, rows=rows, links=self._links(stem, "csv")
            )
        )

    def _add(self, exhibit: Exhibit) -> Exhibit:
        own = [self._sources[part] for part in exhibit.id.split("/") if part in self._sources]
        source = own[0] if own else joint(list(self._sources.values())) or self.drawn_by
        exhibit = replace(exhibit, page=self._page, source=source)
        self.exhibits.append(exhibit)
        return exhibit

    def _stem(self, kind: str, number: int, id: str) -> str:
        return f"{kind}-{number:02d}_{_slug(id)}"

    def _links(self, stem: str, *suffixes: str) -> list[tuple[str, str]]:
        return [(suffix.upper(), f"{self.folder.name}/{stem}.{suffix}") for suffix in suffixes]

    def _write(self, name: str, content: bytes) -> None:
        with atomic_path(self.folder / name) as path:
            path.write_bytes(content)

    def _csv(self, stem: str, data: pd.DataFrame) -> None:
        with atomic_path(self.folder / f"{stem}.csv") as path:
            data.to_csv(path, index=False)


def _slug(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "_", text).strip("_")


def _picture(tile: Tile, side: int) -> Picture:
    layer = "" if tile.outline is None else outline_layer(tile.outline, side)
    return Picture(thumbnail(tile.rgb, side), tile.alt, tile.note, layer)


def _svg(figure: Figure) -> str:
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return ALIKE.sub(_said_once, buffer.getvalue())


def _said_once(marks: re.Match[str]) -> str:
    """Marks of one style, which Matplotlib writes at each, as a group of it, to hundredths of a point."""
    group, style = marks["group"], marks["style"]
    points = marks["points"].replace(f' style="{style}"', "")
    points = re.sub(r"\s*(<use )", r"\n\1", re.sub(r'="(-?\d+\.\d\d)\d+"', r'="\1"', points))
    return f'{group} style="{style}">{points}\n</g>'


def _pdf(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="pdf", metadata={"CreationDate": None, "Creator": None, "Producer": None})
    return buffer.getvalue()


def inline_svg(svg: str, prefix: str, alt: str) -> Markup:
    """An SVG file made fit to stand in a page.

    Prolog, metadata and namespaces go, ids get a prefix so that charts do not share them, ``INK`` becomes the
    page's text colour, and fonts the page's. The picture carries its description for those who hear the page.
    """
    body = svg[svg.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>\s*", "", body, flags=re.S)
    body = re.sub(r'\s+xmlns(:\w+)?="[^"]*"', "", body)
    body = re.sub(r'\bid="([^"]+)"', rf'id="{prefix}-\1"', body)
    body = re.sub(r'href="#([^"]+)"', rf'href="#{prefix}-\1"', body)
    body = re.sub(r"url\(#([^)]+)\)", rf"url(#{prefix}-\1)", body)
    body = re.sub(r"'DejaVu Sans'[^;\"]*", "var(--sans)", body)
    body = body.replace(INK, "currentColor")
    return _described(body, alt)


def _described(body: str, alt: str) -> Markup:
    opening, rest = body.split(">", 1)
    opening = re.sub(r'\s(role|aria-label|color)="[^"]*"', "", opening)
    return Markup(opening) + Markup(' role="img" aria-label="{}">').format(alt) + Markup(rest)
