"""A deliverable of an EU project: summary, design, experiments, evidence, privacy, conclusions, annexes."""

from __future__ import annotations

from mirage.config.printing import PrintOptions
from mirage.report.chapters.base import listing
from mirage.report.printing.checklists import CHECKLISTS, Checklist, answered
from mirage.report.printing.outline import (
    Blocks,
    Outline,
    Section,
    chapters_of,
    failures,
    label_of,
    measured,
    places,
    points,
    reference,
    show,
    table,
    text,
)
from mirage.report.record import Record
from mirage.report.verdicts import COMBINED

DESIGN = ("pipeline", "data", "preprocessing")
EXPERIMENTS = ("training", "synthesis")
RESULTS = ("fidelity", "diversity", "novelty", "utility")
NO_BREAK = "\u00a0"
WORDS = {"untested": "not tested"}
AI_ACT = "Regulation (EU) 2024/1689 of the European Parliament and of the Council (AI Act)."
MARKING = [
    "Article 50(2) of Regulation (EU) 2024/1689 (AI Act) asks providers of systems that generate images to "
    "mark them, in a machine-readable way, as artificially generated. In the datasets of this study the "
    "manifest says of every item whether its image is real, simulated or synthetic (column `origin`), whence "
    "its label comes (`mask_origin`), and which subjects lent parts to it (`donor_subject_ids`). Volumes "
    "exported as NIfTI files say the same in their header (`descrip`).",
    "Images that leave these datasets in another form carry no mark of their own. Whoever passes them on "
    "has to add one to each file, and to say beside them what they were made from, with what, and that they "
    "are not evidence about any patient.",
]


def deliverable(record: Record, options: PrintOptions) -> Outline:
    """Sections of the deliverable."""
    lists = [(checklist, answered(checklist, record, options)) for checklist in CHECKLISTS]
    evidence = _evidence(record)
    tables = {
        "print/evidence": evidence,
        **{f"print/{checklist.id}": _checklist_table(checklist, answers) for checklist, answers in lists},
    }
    privacy = [*measured(record, "privacy"), Section("Marking of synthetic images", "marking", _marking())]
    sections = [
        Section("Executive summary", label_of("Findings"), _summary(record)),
        Section("Introduction", "introduction", _introduction(record, options)),
        Section("Technical design", "design", [], chapters_of(record, *DESIGN)),
        Section("Experiments", "experiments", [], chapters_of(record, *EXPERIMENTS)),
        Section(
            "Results",
            "results",
            [show("print/evidence")],
            [*measured(record, *RESULTS), *chapters_of(record, "further"), failures(record)],
        ),
        Section("Privacy and marking", "privacy", [], privacy),
        Section("Conclusions", "conclusions", _conclusions(record, options), chapters_of(record, "limits")),
        Section("References", "references", [_references(record, options)]),
    ]
    annexes = [
        *(
            Section(checklist.title, checklist.id, _checklist(checklist, answers))
            for checklist, answers in lists
        ),
        *chapters_of(record, "provenance", "exhibits"),
    ]
    return Outline(sections, annexes, tables)


def cover(options: PrintOptions) -> list[tuple[str, str]]:
    """The cover block, name and value; what is not configured is empty."""
    return [
        ("Grant agreement", options.grant),
        ("Programme or call", options.call),
        ("Project", options.project),
        ("Work package", options.work_package),
        ("Deliverable", options.deliverable),
        ("Lead beneficiary", options.lead),
        ("Authors", ", ".join(options.authors)),
        ("Institution", options.institution),
        ("Dissemination level", options.dissemination),
        ("Due date", options.due),
        ("Date", options.date or (options.versions[-1].date if options.versions else "")),
    ]


def _summary(record: Record) -> Blocks:
    told = [
        f"{verdict.axis}: {WORDS.get(verdict.word, verdict.word)}. {' '.join(verdict.sentences[:1])}"
        for verdict in record.verdicts
    ]
    remarks = [
        block
        for chapter in record.chapters
        if chapter["part"] == "findings"
        for block in chapter["blocks"]
        if block["kind"] not in ("verdicts", "links")
    ]
    return [
        text(f"This deliverable reports the study “{record.title}”. It asks: {record.question}"),
        *remarks,
        text(f"The answers, with all of the evidence and the rules in {_at('evidence')}:"),
        points(told),
    ]


def _at(table: str) -> str:
    return reference(f"print-{table}")


def _introduction(record: Record, options: PrintOptions) -> Blocks:
    follows = [f"The study follows {record.reference}."] if record.reference else []
    how = (
        "What was measured is defined by one configuration, from which every dataset, model and evaluation "
        f"was made; {places(record, ['provenance'])} gives its digest, the versions of the software and the "
        "fingerprints of all data. Every number in this document is printed from the table of results, and "
        "none was typed by hand."
    )
    return [text(words) for words in [*options.background, *follows, how]]


def _evidence(record: Record) -> dict[str, object]:
    rows = [
        [verdict.axis, WORDS.get(verdict.word, verdict.word), "\n".join(verdict.sentences), verdict.rule]
        for verdict in record.verdicts
    ]
    caption = "Evidence on every axis: the verdict, the measurements behind it, and the rule that gave it. "
    caption += COMBINED
    return table("evidence", ["axis", "verdict", "evidence", "rule"], rows, caption)


def _marking() -> Blocks:
    return [text(words) for words in MARKING]


def _conclusions(record: Record, options: PrintOptions) -> Blocks:
    told = []
    for word, claim in (
        ("pass", "The evidence supports the synthetic data in"),
        ("fail", "The evidence speaks against the synthetic data in"),
        ("inconclusive", "The evidence does not decide"),
        ("untested", "Not tested, and not claimed:"),
    ):
        axes = [verdict.axis.lower() for verdict in record.verdicts if verdict.word == word]
        if axes:
            told.append(f"{claim} {listing(axes)}.")
    return [points(told), *(text(words) for words in options.conclusions)]


def _references(record: Record, options: PrintOptions) -> dict[str, object]:
    own = [record.reference] if record.reference else []
    cited = [checklist.reference for checklist in CHECKLISTS]
    return {"kind": "references", "text": "", "items": [*own, *options.references, *cited, AI_ACT]}


def _checklist(checklist: Checklist, answers: list[str]) -> Blocks:
    done = sum(map(bool, answers))
    told = (
        f"{done} of {len(answers)} items are answered from the configuration, the results or the study's own "
        f"words; {len(answers) - done} are open. {checklist.remark}"
    )
    return [text(told), show(f"print/{checklist.id}")]


def _checklist_table(checklist: Checklist, answers: list[str]) -> dict[str, object]:
    rows = [
        [item.id.replace(" ", NO_BREAK), item.asks, answer or "OPEN"]
        for item, answer in zip(checklist.items, answers, strict=True)
    ]
    return table(checklist.id, ["item", "asks for", "answer"], rows, f"{checklist.title}.")
