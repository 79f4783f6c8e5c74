"""The report in print, for LaTeX, and compared with another: from one record, whatever users wrote."""

from __future__ import annotations

import hashlib
import json
import math
import re
import subprocess
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import typst
import yaml
from matplotlib.figure import Figure
from typer.testing import CliRunner

from mirage.cli import app
from mirage.config import load_config, slices
from mirage.config.printing import PrintOptions
from mirage.errors import ConfigError, DataError, LedgerError
from mirage.publish import past
from mirage.publish.objects import Objects
from mirage.publish.past import FILES
from mirage.report import latex
from mirage.report.book import Book, Cell
from mirage.report.chapters.base import Block, Chapter
from mirage.report.diff import compare, told
from mirage.report.images import Tile
from mirage.report.printing import print_study
from mirage.report.printing.checklists import CHECKLISTS
from mirage.report.printing.study import write_source
from mirage.report.printing.tables import place_table
from mirage.report.printing.thesis import thesis
from mirage.report.printing.typeset import DEJAVU
from mirage.report.quotes import quotable, quoted, read_summary
from mirage.report.record import Record, as_data, read_record, write_record
from mirage.report.summary import COLUMNS
from mirage.report.verdicts import Verdict

NASTY = r"#1 $x$ *b* _i_ @ref <a> \\ [b] ~ ^ % & {c} `code` “q” Zoë Жук" " \u22121.5 \u00d7 10⁻⁴"
AUTHOR = ["-c", "user.name=A", "-c", "user.email=a@b"]
KEY = "seg/both/f1/difference"


def report(folder: Path, name: str = "tiny", estimate: float = 0.12, word: str = "pass") -> Path:
    """A small report in its folder: a table, a chart, a drawing and a plate, and what users may write."""
    book = Book(folder)
    figure = Figure(figsize=(4, 2))
    figure.subplots().plot([0, 1], [0, 1])
    rng = np.random.default_rng(0)
    tiles = [Tile(rng.integers(0, 255, (20, 24, 3), dtype=np.uint8), NASTY, "0.5") for _ in range(3)]
    svg = '<svg xmlns="http://www.w3.org/2000/svg" width="90" height="30"><text y="20">a</text></svg>'
    numbers = [[Cell(NASTY, note="note\n[0, 1]"), Cell("0.5 [0.4, 0.6]", True, True, KEY)]] * 40
    data = pd.DataFrame({"a": [1]})
    findings = Chapter("Findings", "findings")
    findings.blocks.append(Block("verdicts", items=[Verdict("Utility", word, ["It is 0.1."], "a rule")]))
    results = Chapter("Utility", "utility")
    results.text(NASTY)
    results.show(book.table("results/seg", ["arm", NASTY], numbers, caption=NASTY, data=data))
    results.show(book.chart("forest/seg", figure, data, caption=NASTY, alt=NASTY))
    results.show(
        book.plate(
            "predictions/seg", [tiles, [None, *tiles]], names=[NASTY, "b"], data=data, caption="Worst."
        )
    )
    design = Chapter("Pipeline", "pipeline")
    design.show(book.drawing("pipeline", svg, data, caption="Drawn.", alt="a drawing"))
    closing = Chapter("Provenance", "provenance")
    closing.fold("Options", [("seed-0", '{"a": 1}'), ("seed-1", '{"a": 1}'), ("data", '{"b": 2}')])
    links = [[Cell("Figure 1", links=[("Figure 1", f"#{book.exhibits[1].anchor}")])]]
    closing.show(book.table("exhibits", ["exhibit"], links, caption="All.", data=data))
    record = Record(
        study=name,
        title=NASTY,
        question=NASTY,
        reference="Someone, 2017",
        scale="full",
        commit="abc",
        configuration=f"hash of {estimate}",
        version="0.1.0",
        fingerprints={"dataset d": f"fingerprint of {estimate}"},
        **as_data([findings, design, results, closing]),
    )
    write_record(record, folder)
    rows = [
        {"evaluation": "seg", "arm": "both", "metric": "f1", "kind": "difference", "estimate": estimate,
         "low": estimate - 0.05, "high": estimate + 0.05, "n_subjects": 1234, "p": 0.02},
        {"evaluation": "fid", "arm": "synthetic", "metric": "js", "kind": "ratio", "label": "a #1 & b",
         "protocol": "halves", "estimate": 4.2e-5},
    ]  # fmt: skip
    pd.DataFrame(rows).reindex(columns=list(COLUMNS)).to_csv(folder / "summary.csv", index=False)
    return folder


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One small report."""
    return report(tmp_path_factory.mktemp("tiny"))


def asked(tiny: Path, template: Any, folder: Path, selector: str, **options: Any) -> list[dict[str, Any]]:
    """What typst finds in the document for a selector."""
    write_source(read_record(tiny), tiny, template, PrintOptions(**options), folder)
    source = folder / f"{template}.typ"
    found = typst.query(source, selector, root=folder, font_paths=[DEJAVU], ignore_system_fonts=True)
    return list(json.loads(found))


def plain(content: Any) -> str:
    """The text of a typst content."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "".join(map(plain, content))
    if not isinstance(content, dict):
        return ""
    if content.get("func") == "space":
        return " "
    return "".join(plain(content[key]) for key in ("text", "body", "children", "child") if key in content)


@pytest.mark.parametrize("template", ["thesis", "deliverable"])
def test_print_is_the_same_bytes_again(tiny: Path, tmp_path: Path, template: Any) -> None:
    """A PDF of any text, without a date and without a font of the machine."""
    for name in ("a", "b"):
        print_study(tiny, template, PrintOptions(authors=[NASTY], grant=NASTY), tmp_path / f"{name}.pdf")
    first = (tmp_path / "a.pdf").read_bytes()
    assert first.startswith(b"%PDF")
    assert first == (tmp_path / "b.pdf").read_bytes()
    assert b"CreationDate" not in first


@pytest.mark.parametrize("template", ["thesis", "deliverable"])
def test_every_chapter_and_exhibit_is_printed_once(tiny: Path, tmp_path: Path, template: Any) -> None:
    """Nothing of the page is lost, text is printed as it was written, and figures carry their words."""
    figures = asked(tiny, template, tmp_path, "figure")
    anchors = [figure["label"].strip("<>") for figure in figures]
    expected = [exhibit["anchor"] for exhibit in read_record(tiny).exhibits.values()]
    assert sorted(anchors) == sorted(set(anchors))
    assert set(expected) <= set(anchors)
    captions = {figure["label"].strip("<>"): plain(figure["caption"]) for figure in figures}
    assert captions["fig-forest-seg"] == NASTY.replace("`", "")
    headings = [plain(heading["body"]) for heading in asked(tiny, template, tmp_path, "heading")]
    for title in ("Pipeline", "Utility", "Failures", "Privacy", "Provenance"):
        assert headings.count(title) == 1, title


def test_a_thesis_runs_from_data_to_limits(tiny: Path, tmp_path: Path) -> None:
    """Chapters stand in the order of a results chapter, and what was not measured says so."""
    titles = [plain(heading["body"]) for heading in asked(tiny, "thesis", tmp_path, "heading")]
    wanted = ["Pipeline", "Fidelity", "Diversity", "Novelty", "Privacy", "Utility", "Failures", "Provenance"]
    assert [title for title in titles if title in wanted] == wanted
    content = json.loads((tmp_path / "content.json").read_text())
    told = {section["title"]: section["blocks"] for section in content["sections"]}
    assert "No evaluation of this study measures privacy" in told["Privacy"][0]["text"]
    failures = told["Failures"]
    assert "{ref:fig-predictions-seg}" in failures[1]["items"][0]
    options = content["annexes"][0]["blocks"][0]["items"]
    assert options == [["seed-0; seed-1", '{"a": 1}'], ["data", '{"b": 2}']]


def test_a_deliverable_fills_its_forms(tiny: Path, tmp_path: Path) -> None:
    """Cover, versions, acronyms, summary from the verdicts, evidence, and checklists with what is open."""
    versions = [{"version": "1.0", "date": "1 May 2026", "changes": "GAN added"}]
    given = {"grant": "101", "versions": versions, "checklists": {"CLAIM 5": "Retrospective."}}
    options = PrintOptions.model_validate({**given, "acronyms": {"XYZ": "not used", "AI": "own words"}})
    write_source(read_record(tiny), tiny, "deliverable", options, tmp_path)
    content = json.loads((tmp_path / "content.json").read_text())
    assert ["Grant agreement", "101"] in content["cover"]
    assert ["Date", "1 May 2026"] in content["cover"]
    assert ["AI", "own words"] in content["acronyms"]
    assert "XYZ" not in dict(content["acronyms"])
    summary = content["sections"][0]
    assert summary["blocks"][-1]["items"] == ["Utility: pass. It is 0.1."]
    evidence = content["exhibits"]["print/evidence"]["rows"]
    assert [cell["text"] for cell in evidence[0]] == ["Utility", "pass", "It is 0.1.", "a rule"]
    claim = content["exhibits"]["print/claim"]["rows"]
    answers = {row[0]["text"].replace("\u00a0", " "): row[2]["text"] for row in claim}
    assert len(answers) == 44
    assert answers["CLAIM 5"] == "Retrospective."
    assert answers["CLAIM 34"] == "OPEN"
    assert answers["CLAIM 38"] == "See {ref:section-utility}."
    open_items = sum(answer == "OPEN" for answer in answers.values())
    assert f"{open_items} are open" in content["annexes"][0]["blocks"][0]["text"]
    assert len(CHECKLISTS[1].items) == 30


def test_an_axis_measured_in_another_chapter_is_not_called_untested(tiny: Path) -> None:
    """Diversity is decided beside fidelity: its section has the verdict and says where the numbers are."""
    record = read_record(tiny)
    verdicts = [asdict(Verdict("Diversity", "fail", ["It varies less."], "a rule"))]
    block = {"kind": "verdicts", "text": "", "items": verdicts}
    fidelity = {"title": "Fidelity", "part": "fidelity", "page": "report.html", "blocks": [block]}
    outline = thesis(replace(record, chapters=[fidelity]), PrintOptions())
    told = {section.title: section.blocks for section in outline.sections}
    assert "{ref:section-fidelity}" in told["Diversity"][0]["text"]
    assert told["Diversity"][1]["items"] == verdicts
    assert "nothing is claimed" in told["Privacy"][0]["text"]


def test_chapters_of_other_pages_stand_below(tiny: Path, tmp_path: Path) -> None:
    """What is shown of a generator on a page of its own is a section of the chapter that leads to it."""
    record = read_record(tiny)
    trained = {"title": "Generators", "part": "training", "page": "report.html", "blocks": []}
    own = {"title": "gan: training", "part": "training", "page": "models/gan.html", "blocks": []}
    outline = thesis(replace(record, chapters=[*record.chapters, trained, own]), PrintOptions())
    [section] = [one for one in outline.sections if one.title == "Generators"]
    assert [one.title for one in section.sections] == ["gan: training"]


def test_words_quote_the_summary(tiny: Path, tmp_path: Path) -> None:
    """A key becomes the number as the report prints it; an unknown one is an error with the nearest."""
    numbers = quotable(read_summary(tiny))
    assert quoted(rf"By \res{{{KEY}}} \res{{{KEY}:ci}}, n = \res{{{KEY}:n_subjects}}.", numbers) == (
        "By 0.120 [0.0700, 0.170], n = 1\u202f234."
    )
    assert numbers["fid/synthetic/js/ratio/a #1 & b/halves"] == "4.20 \u00d7 10⁻⁵"
    options = PrintOptions(abstract=[r"It is \res{seg/both/f1/diference}."])
    with pytest.raises(ConfigError, match="did you mean 'seg/both/f1/difference'"):
        print_study(tiny, "thesis", options, tmp_path / "a.pdf")
    with pytest.raises(ConfigError, match="'CLAIM 55' is no item"):
        print_study(tiny, "deliverable", PrintOptions(checklists={"CLAIM 55": ""}), tmp_path / "a.pdf")


def test_letters_without_a_font_are_told(
    tiny: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The print is made, and the log says which letters are missing and how to mend it."""
    print_study(tiny, "thesis", PrintOptions(authors=["山田 Ж"]), tmp_path / "a.pdf")
    assert "山 田" in caplog.text or "田 山" in caplog.text
    assert "print.fonts" in caplog.text
    assert "Ж" not in caplog.text


def test_tables_fit_their_page() -> None:
    """Narrow tables take what they need; wide ones share the line, and letters shrink before words break."""

    def placed(words: list[str]) -> dict[str, Any]:
        row = [asdict(Cell(text)) for text in words]
        return place_table({"head": ["a"] * len(words), "rows": [row]}, 459.0)

    assert placed(["short", "words"])["widths"] == [0.0, 0.0]
    wide = placed(["many words in a cell " * 5, "0.5", "more of them " * 9])
    assert math.isclose(sum(wide["widths"]), 459.0)
    assert min(wide["widths"]) > 10
    assert placed(["unbreakableword"] * 7)["size"] < wide["size"]


def test_a_report_that_is_not_whole_is_refused(tiny: Path, tmp_path: Path) -> None:
    """Errors name the file and say how to mend it."""
    with pytest.raises(DataError, match=r"report\.json: no readable record .* make the report again"):
        read_record(tmp_path)
    (tmp_path / "report.json").write_text('{"format": 0}')
    with pytest.raises(DataError, match="format 0, expected 1"):
        read_record(tmp_path)
    record = replace(read_record(tiny), exhibits={})
    write_record(record, tmp_path)
    assert read_record(tmp_path) == record


# ---- LaTeX ----


def tokens(text: str) -> list[str]:
    """LaTeX tokens of a text without comments: commands, and letters."""
    return re.findall(r"\\[A-Za-z@]+|\\.|.|\n", re.sub(r"(?m)(?<!\\)%.*$", "", text))


def check_groups(text: str) -> None:
    """Braces are balanced, and no special character stands outside a command or a table."""
    depth = 0
    for token in tokens(text):
        depth += (token == "{") - (token == "}")
        assert depth >= 0
    assert depth == 0
    outside = re.sub(r"\\.", "", re.sub(r"(?m)(?<!\\)%.*$", "", text))
    assert text.count("$") % 2 == text.count(r"\$") % 2
    assert "#" not in outside
    assert "\u2212" not in outside
    assert "⁻" not in outside


def test_latex_tables_can_be_read(tiny: Path, tmp_path: Path) -> None:
    """Every row has as many cells as the table has columns, whatever stands in them; long ones break."""
    latex.export_latex(tiny, tmp_path / "latex")
    text = (tmp_path / "latex/tables/results_seg.tex").read_text()
    check_groups(text)
    assert r"\begin{longtable}" in text
    assert text.count(r"\toprule") == 1
    assert text.count(r"\bottomrule") == 1
    rows = [line for line in text.splitlines() if line.endswith(r" \\")]
    assert len(rows) == 1 + 2 * 40
    assert {len(re.findall(r"(?<!\\)&", row)) for row in rows} == {1}
    assert not any(row.startswith("[") for row in rows)
    assert r"\#1 \$x\$ *b* \_i\_" in rows[1]
    assert r"$\times$ 10$^{-4}$" in rows[1]
    assert r"\textbf{0.5 [0.4, 0.6]}" in rows[1]


def test_latex_macros_have_every_number(tiny: Path, tmp_path: Path) -> None:
    """One definition a key, each balanced; keys have no character that LaTeX would read as a command."""
    latex.export_latex(tiny, tmp_path / "latex")
    text = (tmp_path / "latex/results.tex").read_text()
    found = dict(re.findall(r"^\\mirage@set\{([^}]*)\}\{(.*)\}$", text, flags=re.M))
    assert len(found) == len(quotable(read_summary(tiny)))
    assert found[KEY] == "0.120"
    assert found[f"{KEY}:n_subjects"] == r"1\,234"
    assert found["fid/synthetic/js/ratio/a-1-b/halves"] == r"4.20 $\times$ 10$^{-5}$"
    assert all(re.fullmatch(r"[\w/.:+-]+", key) for key in found)
    with pytest.raises(DataError, match="would both be 'a-b'"):
        latex.macros({"a b": "1", "a#b": "2"})


def test_latex_figures_are_there(tiny: Path) -> None:
    """Every included file exists below the report, drawings as PDF; a second export replaces the first."""
    (tiny / "latex").mkdir()
    (tiny / "latex/old.tex").write_text("")
    latex.export_latex(tiny, tiny / "latex")
    assert not (tiny / "latex/old.tex").exists()
    for snippet in (tiny / "latex/figures").glob("*.tex"):
        check_groups(snippet.read_text())
        path = re.search(r"\\includegraphics\[[^]]*\]\{\\mirageroot/([^}]*)\}", snippet.read_text())
        assert path
        assert (tiny / path[1]).read_bytes()[:4] in (b"%PDF", b"\x89PNG")
    shown = re.findall(r"latex/(\w+/\w+)", (tiny / "latex/all.tex").read_text())
    assert len(shown) == 5
    assert all((tiny / f"latex/{name}.tex").is_file() for name in shown)


# ---- comparison ----


def test_reports_are_compared(tiny: Path, tmp_path: Path) -> None:
    """Verdicts, numbers beyond and within their intervals, exhibits, fingerprints and configuration."""
    near = report(tmp_path / "near", estimate=0.13)
    far = report(tmp_path / "far", estimate=0.32, word="inconclusive")
    assert compare(tiny, tiny).same
    assert list(told(compare(tiny, tiny))) == ["Both reports say the same."]
    close = compare(tiny, near)
    assert [change.what for change in close.shifted] == [KEY]
    assert not close.moved
    assert not close.verdicts
    found = compare(tiny, far)
    assert [(c.what, c.before, c.after) for c in found.verdicts] == [("Utility", "pass", "inconclusive")]
    assert [c.after for c in found.moved] == ["0.320 [0.270, 0.370]"]
    assert [c.what for c in found.fingerprints] == ["dataset d"]
    assert [c.what for c in found.run] == ["configuration"]
    record = read_record(far)
    write_record(replace(record, exhibits=dict(list(record.exhibits.items())[:-1])), far)
    assert compare(tiny, far).vanished == ["table exhibits"]
    assert compare(far, tiny).appeared == ["table exhibits"]


def test_the_command_compares_folders(tiny: Path, tmp_path: Path) -> None:
    """Text for people, JSON for machines; what is no folder needs the study's name."""
    other = str(report(tmp_path / "other", estimate=0.32, word="fail"))
    run = CliRunner().invoke
    text = run(app, ["report", "diff", str(tiny), other])
    assert "Utility: pass -> fail" in text.stdout
    assert text.exit_code == 0
    found = json.loads(run(app, ["report", "diff", str(tiny), other, "--json"]).stdout)
    assert found["moved"][0]["what"] == KEY
    assert found["verdicts"][0]["after"] == "fail"
    refused = run(app, ["report", "diff", "HEAD~1", other])
    assert refused.exit_code == 1
    assert "--study results/studies/<name>" in refused.stderr


def test_a_commit_is_compared_as_it_was_published(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ledger of the commit names the folder's list in DVC's cache, and the list its files."""
    monkeypatch.chdir(tmp_path)
    objects = Objects(tmp_path / "cache")
    listed = []
    for name in FILES:
        hashed = hashlib.md5((tiny / name).read_bytes()).hexdigest()
        listed.append({"md5": hashed, "relpath": name})
        objects.path(hashed).parent.mkdir(parents=True, exist_ok=True)
        objects.path(hashed).write_bytes((tiny / name).read_bytes())
    names = json.dumps(listed).encode()
    folder = f"{hashlib.md5(names).hexdigest()}.dir"
    objects.path(folder).parent.mkdir(parents=True, exist_ok=True)
    objects.path(folder).write_bytes(names)
    lock = {"stages": {"study-tiny": {"outs": [{"path": "results/studies/tiny", "md5": folder}]}}}
    Path("dvc.lock").write_text(yaml.safe_dump(lock))
    for command in (["init", "-q"], ["add", "dvc.lock"], [*AUTHOR, "commit", "-qm", "published"]):
        subprocess.run(["git", *command], check=True)
    monkeypatch.setattr(past, "Dvc", lambda: SimpleNamespace(cache_folder=lambda: tmp_path / "cache"))
    (tmp_path / "out").mkdir()
    found = past.published_report("HEAD", "results/studies/tiny", tmp_path / "out")
    assert compare(found, tiny).same
    with pytest.raises(LedgerError, match="results/studies/other: not published at HEAD"):
        past.published_report("HEAD", "results/studies/other", tmp_path / "out")
    objects.path(listed[0]["md5"]).unlink()
    with pytest.raises(LedgerError, match="dvc fetch study-tiny"):
        past.published_report("HEAD", "results/studies/tiny", tmp_path / "out")


@pytest.mark.parametrize(("key", "value"), [("grant", "101"), ("authors", ["A. Author"])])
def test_a_cover_block_remakes_the_print_alone(key: str, value: Any) -> None:
    """It enters neither what the report is made from nor the digest of the results."""
    folder = Path(__file__).parents[2] / "config"
    study = {"studies": {"quickstart": {"print": {key: value}}}}
    before, after = (load_config({"run": ["quickstart"], **own}, folder) for own in ({}, study))
    assert slices.print_slice(before, "quickstart") != slices.print_slice(after, "quickstart")
    for unchanged in (slices.report_slice, slices.study_digest):
        assert unchanged(before, "quickstart") == unchanged(after, "quickstart")
