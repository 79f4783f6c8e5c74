"""What is wrong with a page for those who hear it, use the keyboard or are offline: rules as axe has them."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from html.parser import HTMLParser

VOID = {"meta", "img", "input", "br", "link", "hr", "path", "use", "rect", "image"}
HEADINGS = ("h1", "h2", "h3", "h4")
Attributes = dict[str, str | None]


class Outline(HTMLParser):
    """Every element with its attributes, its ancestors and the text inside it."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, Attributes, list[str], list[str]]] = []
        self._open: list[tuple[str, Attributes, list[str], list[str]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = (tag, dict(attrs), [one[0] for one in self._open], list[str]())
        self.elements.append(element)
        if tag not in VOID:
            self._open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs), [one[0] for one in self._open], []))

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop()[0] != tag:
            pass

    def handle_data(self, data: str) -> None:
        for element in self._open:
            element[3].append(data)

    def of(self, *tags: str) -> list[tuple[str, Attributes, list[str], str]]:
        """(tag, attributes, ancestors, text) of the elements with these tags."""
        return [(t, a, up, "".join(text).strip()) for t, a, up, text in self.elements if t in tags]


def problems(html: str) -> list[str]:
    """One line for every rule that a page breaks; none for a good page."""
    outline = Outline(html)
    return [
        *_frame(outline),
        *_headings(outline),
        *_references(outline),
        *_pictures(outline),
        *_tables(outline),
        *_controls(outline),
        *(f"loads or runs something: {found}" for found in re.findall(_OUTSIDE, html)),
    ]


_OUTSIDE = (
    r"<script|<link|<iframe|@import|\bon\w+=\"|(?:src|href)=\"(?:https?:)?//[^\"]*|url\((?!#|data:)[^)]*"
)


def _frame(page: Outline) -> list[str]:
    found = [
        f"{tag}: {len(page.of(tag))}" for tag in ("h1", "main", "footer", "title") if len(page.of(tag)) != 1
    ]
    if not page.of("html")[0][1].get("lang"):
        found.append("no language")
    found += [f"nav without a name: {a}" for _, a, _, _ in page.of("nav") if not a.get("aria-label")]
    first = page.of("a")[0][1]
    if first.get("href") != f"#{page.of('main')[0][1].get('id')}":
        found.append("the first link does not skip to the contents")
    outside = [tag for tag, _, up, _ in page.of("section", "figure", "table") if "main" not in up]
    return found + [f"{tag} outside the landmarks" for tag in outside]


def _headings(page: Outline) -> list[str]:
    levels = [HEADINGS.index(tag) for tag, _, _, _ in page.of(*HEADINGS)]
    skipped = [here for before, here in itertools.pairwise(levels) if here > before + 1]
    empty = [tag for tag, _, _, text in page.of(*HEADINGS) if not text]
    return [f"heading of level {level + 1} without one above" for level in skipped] + [
        f"{t} empty" for t in empty
    ]


def _references(page: Outline) -> list[str]:
    ids = Counter(str(a["id"]) for _, a, _, _ in page.elements if "id" in a)
    found = [f"id {name} is not unique" for name, count in ids.items() if count > 1]
    for _, attributes, _, _ in page.elements:
        for key in ("aria-labelledby", "for"):
            found += [
                f"{key} {name} leads nowhere"
                for name in str(attributes.get(key) or "").split()
                if name not in ids
            ]
    for _, attributes, _, text in page.of("a"):
        href = str(attributes.get("href") or "")
        if href.startswith("#") and href[1:] not in ids:
            found.append(f"link {href} leads nowhere")
        if not text and not attributes.get("aria-label"):
            found.append(f"link {href} says nothing")
    return found


def _pictures(page: Outline) -> list[str]:
    found = [f"img without alt: {a}" for _, a, _, _ in page.of("img") if "alt" not in a]
    found += [
        f"img from outside: {a['src']}" for _, a, _, _ in page.of("img") if not a["src"].startswith("data:")
    ]
    found += [
        f"img without words: {a.get('class')}"
        for _, a, _, _ in page.of("img")
        if not a.get("alt") and a.get("class") != "layer"
    ]
    return found + [
        f"svg without words: {a}"
        for _, a, up, _ in page.of("svg")
        if "svg" not in up and not (a.get("role") == "img" and a.get("aria-label"))
    ]


def _tables(page: Outline) -> list[str]:
    tables, captions = page.of("table"), [text for _, _, up, text in page.of("caption") if "table" in up]
    found = [] if len(captions) == len(tables) and all(captions) else ["a table without a caption"]
    found += [
        f"th without scope: {text}" for _, a, _, text in page.of("th") if a.get("scope") not in ("col", "row")
    ]
    return found + [
        f"region without a name: {a}"
        for _, a, _, _ in page.elements
        if a.get("role") == "region" and not (a.get("aria-labelledby") or a.get("aria-label"))
    ]


def _controls(page: Outline) -> list[str]:
    found = [f"{a.get('type')} without a label" for _, a, up, _ in page.of("input") if "label" not in up]
    found += ["a label that says nothing" for _, _, _, text in page.of("label") if not text]
    if len(page.of("legend")) != len(page.of("fieldset")):
        found.append("a fieldset without a legend")
    return found + [
        f"order of the keyboard is changed: {a}"
        for _, a, _, _ in page.elements
        if int(a.get("tabindex") or 0) > 0
    ]
