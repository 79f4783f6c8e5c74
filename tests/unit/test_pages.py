"""Pages for everyone: landmarks, words for pictures, contrast; the overview and the catalogue."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from pages import Outline, problems

from mirage.config import load_config
from mirage.config.model import Config
from mirage.config.publications import Publication, PublishedItem
from mirage.errors import ConfigError, DataError
from mirage.files import write_json
from mirage.report import build_overview, verdicts
from mirage.report.book import Book, Cell
from mirage.report.chapters.base import Block, Chapter
from mirage.report.evaluators import term
from mirage.report.html import MARKS, Page, render
from mirage.report.images import Tile
from mirage.report.record import FILE, FORMAT
from mirage.report.summary import COLUMNS
from mirage.report.verdicts import Verdict, merged

CONFIG = Path(__file__).parents[2] / "config"


def everything(out: Path) -> str:
    """A page with every kind of block and exhibit."""
    book, table = Book(out), pd.DataFrame({"a": [1]})
    chapter, second = Chapter("Findings"), Chapter("More")
    verdict = Verdict("Utility", "fail", ["Worse."], "first rule\nsecond rule")
    chapter.blocks.append(Block("verdicts", items=[verdict, Verdict("Privacy", "untested", ["Nothing."])]))
    chapter.text("text")
    chapter.remark("remark")
    chapter.warning("warning", "why", ["one", "two"])
    chapter.heading("heading")
    chapter.points(["point"])
    chapter.facts([("term", "value")])
    chapter.fold("fold", [("term", "value")])
    chapter.links("links:", [("word", "report.html")])
    figure = Figure()
    figure.subplots().plot([1, 2])
    second.show(book.chart("chart", figure, table, caption="Chart.", alt="a line that rises"))
    tile = Tile(np.zeros((8, 8, 3), np.uint8), "black", "note", np.eye(8, dtype=bool))
    second.show(
        book.plate("plate", [[tile, None]], data=table, caption="Plate.", legend=[("key", "#ffffff")])
    )
    cells = [
        Cell("row", anchor="row"),
        Cell("pass", tone="pass"),
        Cell("1", number=True, strong=True, note="n"),
    ]
    second.show(book.table("table", ["name", "state", "number"], [cells], data=table, caption="Table."))
    return render(
        Page("kind", "title", "lead", ["fact"], up=[("up", "../x.html")], demo=True), [chapter, second]
    )


def test_every_block_can_be_heard_and_reached(tmp_path: Path) -> None:
    """No rule is broken, the rules of a verdict stand apart, and a mark repeats what colour says."""
    page = everything(tmp_path)
    assert problems(page) == []
    assert page.count('<details class="rule"><summary>Rule</summary><p>') == 1
    assert page.split("<summary>Rule</summary>")[1].split("</details>")[0].count("<p>") == 2
    for word in ("fail", "pass"):
        assert f'<span aria-hidden="true">{MARKS[word]}</span> {word}' in page


@pytest.mark.parametrize(
    ("good", "bad", "told"),
    [
        ('scope="row"', "", "th without scope"),
        ('alt="black"', 'alt=""', "img without words"),
        ('<h2 id="findings-title"', '<h4 id="findings-title"', "heading of level 4"),
        ('role="img" ', "", "svg without words"),
        ('id="more"', 'id="findings"', "not unique"),
        ('href="#findings"', 'href="#found"', "leads nowhere"),
        ("<caption", "<p", "without a caption"),
        ("<footer>", "<footer><script></script>", "loads or runs"),
        ('class="skip" href="#main"', 'class="skip" href="#more"', "skip"),
    ],
)
def test_checker_finds_what_is_broken(tmp_path: Path, good: str, bad: str, told: str) -> None:
    """Each rule would notice its own breach."""
    page = everything(tmp_path)
    assert good in page
    assert any(told in line for line in problems(page.replace(good, bad, 1)))


def luminance(colour: str) -> float:
    """Relative luminance of ``#rrggbb`` (WCAG 2.2)."""
    parts = np.frombuffer(bytes.fromhex(colour[1:]), np.uint8) / 255
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def test_text_has_contrast_in_both_themes(tmp_path: Path) -> None:
    """At least 4.5 to 1 (WCAG AA) for every colour of text on both grounds, light, dark and in print."""
    style = re.search(r"<style>(.*?)</style>", everything(tmp_path), re.S)
    assert style is not None
    themes = [
        dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", block))
        for block in re.findall(r"\{[^{}]*--paper: #[^{}]*\}", style[1].replace("#fff;", "#ffffff;"))
    ]
    assert len(themes) >= 3
    for theme in themes:
        for ground in ("paper", "panel"):
            for ink in {"ink", "soft", "accent", "pass", "fail", "open"} & theme.keys():
                bright, dim = sorted((luminance(theme[ink]), luminance(theme[ground])), reverse=True)
                assert (bright + 0.05) / (dim + 0.05) >= 4.5, (ink, ground, theme)


def summary_row(**given: Any) -> dict[str, Any]:
    """A row of a summary."""
    return dict.fromkeys(COLUMNS) | {"evaluation": "seg", "arm": "made", "metric": "f1", **given}


def report(folder: Path, study: str, verdicts: list[dict[str, Any]], exhibits: dict[str, Any]) -> Path:
    """What the overview reads of a study."""
    facts = dict.fromkeys(
        ("title", "question", "reference", "commit", "configuration", "version"), f"{study}?"
    )
    blocks = [{"kind": "verdicts", "text": "", "items": verdicts}]
    chapters = [{"title": "Findings", "part": "findings", "blocks": blocks}]
    fields = {"study": study, "scale": "full", "chapters": chapters, "exhibits": exhibits, **facts}
    fields["fingerprints"] = {"dataset real": "1", "dataset made": "2", "model gan seed-0": "2"}
    write_json(folder / study / FILE, {"format": FORMAT, **fields})
    row = summary_row(kind="difference", estimate=-0.25, low=-0.5, high=-0.125, verdict="worse")
    pd.DataFrame([row]).to_csv(folder / study / "summary.csv", index=False)
    return folder / study


SHOWN = {"kind": "Figure", "number": 7, "page": "models/gan.html", "anchor": "fig-training-gan"}
ITEMS = {
    "Figure 1": {"shows": "curves", "by": {"one": "training/gan"}},
    "Figure 2": {"shows": "pictures", "by": {"one": "gallery/made"}},
    "Figure 3": {"shows": "scores", "by": {"elsewhere": "results/seg"}},
    "Table 1": {"shows": "readers", "state": "not_yet", "note": "no observer study is here"},
}


@pytest.fixture
def overview(tmp_path: Path) -> Path:
    """An overview of two studies, and a publication that one of them follows."""
    decided = {"axis": "Utility", "word": "fail", "sentences": ["Worse."], "rule": "r"}
    told = [{**decided, "decided_by": ["seg/made/f1/difference"]}]
    reports = [
        report(tmp_path / "studies", "one", told, {"training/gan": SHOWN}),
        report(
            tmp_path / "studies", "two", [{"axis": "Utility", "word": "pass", "sentences": ["Good."]}], {}
        ),
    ]
    published = {"anon": Publication.model_validate({"reference": "Anon 2020", "items": ITEMS})}
    build_overview(reports, published, tmp_path / "overview", scale="full", commit="0123456789abcdef")
    return tmp_path / "overview"


def test_overview_sets_studies_side_by_side(overview: Path) -> None:
    """A word an axis and study, the numbers behind it with their intervals, and links to the reports."""
    text = (overview / "index.html").read_text()
    assert problems(text) == []
    verdicts = pd.read_csv(next((overview / "tables").glob("*verdicts.csv"))).set_index(["study", "axis"])
    assert verdicts.loc[("one", "Utility"), "verdict"] == "fail"
    assert verdicts.loc[("two", "Utility"), "verdict"] == "pass"
    assert verdicts.loc[("two", "Privacy"), "verdict"] == "untested"
    links = {attributes["href"] for _, attributes, _, _ in Outline(text).of("a")}
    assert {"../studies/one/report.html", "../studies/two/report.html", "catalogue.html"} <= links
    studies = pd.read_csv(next((overview / "tables").glob("*studies.csv")))
    assert studies["datasets"].tolist() == [2, 2]
    assert "\u22120.250 [\u22120.500, \u22120.125]" in text
    assert "Good." in text
    assert "F1, difference" in text


@pytest.mark.parametrize(
    ("metric", "title"),
    [
        ("dice/WT", "Dice of WT"),
        ("kid", "kernel distance (KID)"),
        ("auc", "membership attack (AUC)"),
        ("new_one", "new one"),
    ],
)
def test_numbers_side_by_side_have_the_names_of_the_field(metric: str, title: str) -> None:
    """Whichever evaluator measured them; one that none names is told by its own name."""
    assert term(metric) == title


def test_catalogue_page_tells_what_became_of_each_item(overview: Path) -> None:
    """Links lead to the page that shows the exhibit; one that a study lacks is called missing."""
    text = (overview / "catalogue.html").read_text()
    assert problems(text) == []
    table = pd.read_csv(next((overview / "tables").glob("*coverage_anon.csv")))
    assert table["state"].tolist() == ["regenerated", "missing", "not run here", "not yet"]
    assert '<a href="../studies/one/models/gan.html#fig-training-gan">Figure 7 (one)</a>' in text
    assert "Figure 2: gallery/made" in text
    counted = pd.read_csv(next((overview / "tables").glob("*states.csv"))).iloc[0]
    assert (counted["regenerated"], counted["missing"]) == (1, 1)


def test_overview_names_the_report_that_is_missing(tmp_path: Path) -> None:
    """A study that was not reported is an error that names it."""
    with pytest.raises(DataError, match="gone"):
        build_overview([tmp_path / "gone"], {}, tmp_path / "overview", scale="full", commit="")


@pytest.mark.parametrize(
    ("words", "word"),
    [
        (["pass", "fail"], "fail"),
        (["pass", "inconclusive"], "inconclusive"),
        (["pass", "untested"], "pass"),
        (["untested", "untested"], "untested"),
    ],
)
def test_evaluators_of_one_axis_share_its_verdict(words: list[Any], word: str) -> None:
    """The worst answer stands, an untested one decides nothing; all sentences, rules and numbers are kept."""
    found = merged([Verdict("Novelty", one, [one], f"rule of {one}", [one]) for one in words])
    assert found.word == word
    assert found.sentences == found.decided_by == words
    assert found.rule.splitlines() == [f"rule of {one}" for one in dict.fromkeys(words)]
    assert verdicts.worst(words) == word


@pytest.fixture(scope="module")
def shipped() -> Config:
    """The configuration that ships."""
    return load_config({"run": ["quickstart"]}, CONFIG)


def test_catalogue_lists_every_figure_and_table_of_the_five_publications(shipped: Config) -> None:
    """Numbered items without a gap; unnumbered ones by count."""
    numbered = {
        "eucanimage-d44": {"Figure": 5, "Table": 2},
        "richter-2022": {"Figure": 28, "Table": 3},
        "guibas-2017": {"Figure": 8},
        "doncenco-2022": {"Figure": 11, "Table": 1},
    }
    for name, counts in numbered.items():
        wanted = {f"{kind} {number}" for kind, last in counts.items() for number in range(1, last + 1)}
        assert wanted <= shipped.publications[name].items.keys()
    assert len(shipped.publications["alyafi-2019"].items) == 18
    assert shipped.publications.keys() == {*numbered, "alyafi-2019"}


def test_studies_follow_what_they_regenerate(shipped: Config) -> None:
    """A study that an item names lists the publication, so that its own report shows the coverage."""
    for name, publication in shipped.publications.items():
        for item in publication.items.values():
            assert all(name in shipped.studies[study].follows for study in item.by)


@pytest.mark.parametrize(
    ("item", "told"),
    [
        ({"shows": "x"}, "names no exhibit"),
        ({"shows": "x", "state": "not_yet"}, "needs a `note`"),
        ({"shows": "x", "state": "not_yet", "note": "n", "by": {"retina": "examples"}}, "not_yet, but"),
        ({"shows": "x", "by": {"retin": "examples"}}, "did you mean 'retina'"),
        ({"shows": "x", "by": {"retina": "intensity/retina_fidelty"}}, "did you mean 'retina_fidelity'"),
    ],
)
def test_claims_without_ground_are_refused(item: dict[str, Any], told: str) -> None:
    """A state needs its exhibit or its reason, and names must be those of the study."""
    added = {"publications": {"other": {"reference": "r", "items": {"Figure 1": item}}}}
    with pytest.raises(ConfigError, match=re.escape(told)):
        load_config({"run": ["quickstart"], **added}, CONFIG)


def test_items_default_to_regenerated() -> None:
    """The common case needs no state."""
    assert PublishedItem(shows="x", by={"s": "e"}).state == "regenerated"
