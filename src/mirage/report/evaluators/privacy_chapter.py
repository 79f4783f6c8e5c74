"""Privacy: the threat model, the attacks that were run, what the condition discloses, and the release
gate."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from mirage.config.evaluations import PrivacyEvaluation
from mirage.data import Dataset
from mirage.evaluate.privacy.gate import ALPHA
from mirage.files import read_json
from mirage.report.book import Book, Cell, Exhibit
from mirage.report.chapters.base import Chapter, count, words
from mirage.report.evaluators.novelty_chapter import searched
from mirage.report.evaluators.privacy_tables import Column, cell, table_of
from mirage.report.inputs import Finished
from mirage.report.numbers import DASH, interval, number, setting
from mirage.report.roc import attack_rocs

ARMS: list[Column] = [("synthetic", "synthetic", "absolute"), ("held-out real", "reference", "absolute")]
ATTACKS = {
    "distance": "distance to the nearest synthetic item",
    "calibrated": "the same, less the distance to a reference set",
    "domias": "density ratio to a reference set (DOMIAS)",
    "discriminator": "score by the discriminator, which is not released",
    "canary": "canaries: planted ones against those left out",
    "members_only": "control: two halves of the members",
    "no_synthetic": "control: without the synthetic set",
}
CANARIES = ("exposure", "guessed", "epsilon_lower")
REASONS = {
    "exact_copy": "exact copy of a training item",
    "near_copy": "near copy of a training item",
    "flagged_copy": "flagged by the copy detector; some new items are, look at them",
    "reidentified_mask": "has a training patient's mask",
    "exact_duplicate": "repeats an earlier synthetic item exactly",
    "near_duplicate": "nearly repeats an earlier synthetic item",
}
NOT_TESTED = (
    "attacks on the generator's weights: reconstruction of records by inversion, likelihood of records",
    "attacks with shadow models, and attackers who know the seeds or ask the generator for more items",
    "inference of attributes, and linkage with other data",
    "records outside the search: the nearest training item is sought by what a small picture or an encoder "
    "shows, so that a detail of a patient in an otherwise new image can be missed",
)


def privacy_chapter(
    own: Mapping[str, Finished], data: Mapping[str, Dataset], summary: pd.DataFrame, book: Book
) -> Chapter:
    """Attacks, leakage through the condition and the gate of every privacy evaluation."""
    chapter = Chapter("Privacy", "privacy")
    chapter.text(
        "Threat model: the synthetic items are released, the generator is not. The attacker has all of "
        "them, an image of a person, and for some attacks other images of the same kind; only the attack by "
        "the discriminator has the training's networks too, so it shows what releasing those would tell and "
        "has no say in the gate. A breach is to "
        "learn that the person was among the training patients (membership), to find an image or a shape of "
        "the person in the set (singling out), or to link an item to its patient. Members are training "
        "patients, non-members held-out ones; a patient is accused by the most telling of all images."
    )
    for name, (config, (folder,)) in own.items():
        chapter.heading(words(name))
        rows = summary[summary["evaluation"] == name]
        chapter.show(_gate(name, folder, book))
        facts = read_json(folder / "details/privacy.json")
        chapter.remark(residual_risk(config, facts["gate"]))
        curves = pd.read_parquet(folder / "details/roc.parquet")
        if len(curves):
            chapter.show(_attacks(name, rows, book))
            chapter.show(_roc(name, curves, book))
        canaries = rows[rows["metric"].isin(CANARIES)]
        if len(canaries):
            chapter.show(_canaries(name, config, canaries, book))
        condition = rows[rows["protocol"] == "condition"]
        if len(condition):
            chapter.show(_condition(name, config, condition, facts["spaces"], book))
        chapter.show(_filtered(name, config, folder, facts["spaces"], book))
    chapter.heading("What was not tested")
    chapter.points(
        [
            *(
                point
                for name, (config, (folder,)) in own.items()
                for point in _untested(name, config, folder)
            ),
            *NOT_TESTED,
            "no differential privacy was used, so there is no formal guarantee (no finite epsilon)",
        ]
    )
    return chapter


def _untested(name: str, config: PrivacyEvaluation, folder: Path) -> list[str]:
    """What this evaluation could not measure, each with its reason."""
    facts = read_json(folder / "details/privacy.json")
    found = [
        f"{words(name)}: scores by the discriminator of {words(generator)}, because {reason}"
        for generator, reason in facts["discriminators"].items()
        if reason is not None
    ]
    if not facts["discriminators"]:
        made = words(config.synthetic)
        found.append(
            f"{words(name)}: scores by a discriminator, because no generator of this study made {made}"
        )
    if not facts["canaries"]:
        found.append(f"{words(name)}: canaries, because none were planted in {words(config.real)}")
    return found


def residual_risk(config: PrivacyEvaluation, word: str) -> str:
    """One sentence for those who answer for a release."""
    found = {
        "fail": "at least one limit of the gate is broken: as it is, the set discloses training patients or "
        "cannot be told from one that does, and should not be released",
        "inconclusive": "the attacks that were run do not settle whether training patients can be singled "
        "out "
        "or recognised as members, so treat the set as personal data",
        "pass": "the attacks that were run neither singled out training patients nor recognised them as "
        "members beyond the gate's limits; stronger attacks may, and attributes were not tested, so a "
        "residual risk "
        "of singling out, linkage and inference remains and has to be weighed",
    }[word]
    return f"Residual risk of releasing {words(config.synthetic)}: {found}."


def _gate(name: str, folder: Path, book: Book) -> Exhibit:
    limits = pd.read_parquet(folder / "details/gate.parquet")
    word = read_json(folder / "details/privacy.json")["gate"]
    rows = [
        [
            Cell(row.limit, note=words(row.space) if isinstance(row.space, str) else ""),
            Cell(
                DASH if pd.isna(row.value) else number(row.value), number=True, note=_ends(row.low, row.high)
            ),
            Cell(number(row.bound, 2), number=True),
            Cell(number(row.p), number=True),
            Cell("no objection" if row.word == "silent" else row.word, strong=row.word == "fail"),
            Cell(row.reason),
        ]
        for row in limits.itertuples()
    ]
    caption = (
        f"Release gate: {word}. The gate fails if one limit fails and passes if all pass. A limit passes "
        "where the whole 95 % interval lies within it. It fails by a one-sided test at "
        f"{setting(100 * ALPHA)} %; {count(int(limits['p'].notna().sum()), 'test was', 'tests were')} made, "
        "and the p values are adjusted for all of them by Holm. Passing needs all limits, and so no "
        "adjustment. Copies flagged and near copies are limited by how far their share exceeds that of "
        "held-out items. Distances to training items may fail a release and never pass it."
    )
    head = ["limit", "found", "bound", "p", "word", "rule"]
    return book.table(f"gate/{name}", head, rows, caption=caption, data=limits)


def _ends(low: float, high: float) -> str:
    return "" if pd.isna(low) else interval(low, high)


def _attacks(name: str, own: pd.DataFrame, book: Book) -> Exhibit:
    found = own[own["metric"].isin(("auc", "tpr_at_fpr_1"))]
    by_key = {(row.protocol, row.label, row.metric): row for row in found.itertuples()}
    rows = []
    for protocol, title in ATTACKS.items():
        for space in dict.fromkeys(found.loc[found["protocol"] == protocol, "label"]):
            values = [by_key.get((protocol, space, metric)) for metric in ("auc", "tpr_at_fpr_1")]
            rows.append([Cell(title, note=words(space)), *(cell(value) for value in values)])
    unseen = found.loc[found["metric"] == "tpr_at_fpr_1", "estimate"].isna().any()
    caption = (
        "Membership attacks. AUC: how often a training patient is more suspect than a held-out one, one "
        "half by guessing, with DeLong's 95 % interval. Second column: training patients accused when 1 % of "
        "held-out ones are, with the exact binomial "
        f"interval{'; a dash: fewer than 100 held-out patients cannot show such a rate' if unseen else ''}. "
        "Without the synthetic set an AUC above one half is a bias of the split, and attacks that do not "
        f"exceed it show no leak. n = {int(found['n_subjects'].max())} patients at most."
    )
    head = ["attack", "AUC", "found at 1 % false accusations"]
    return book.table(f"attacks/{name}", head, rows, caption=caption, data=found)


def _roc(name: str, curves: pd.DataFrame, book: Book) -> Exhibit:
    panels = {
        words(str(space)): {
            str(attack): (line["fpr"].to_numpy(), line["tpr"].to_numpy())
            for attack, line in own.groupby("attack", sort=False)
        }
        for space, own in curves.groupby("space", sort=False)
    }
    caption = (
        "Operating points of the attacks, both axes logarithmic. Look at the left: an attack that names a "
        "few members and almost nobody else is a leak, whatever its AUC. The line is guessing; steps near "
        "the left end are single patients."
    )
    alt = f"Attack ROC curves on logarithmic axes in the spaces {', '.join(panels)}"
    return book.chart(f"roc/{name}", attack_rocs(panels), curves, caption=caption, alt=alt)


def _canaries(name: str, config: PrivacyEvaluation, own: pd.DataFrame, book: Book) -> Exhibit:
    caption = (
        f"Audit by canaries: marked records of {words(config.real)}, of which a coin planted each in the "
        "training data or left it out. Exposure: how high planted ones rank among those left out by their "
        "distance to the nearest synthetic item; 1 bit by chance. The share of right guesses, one half by "
        "chance, has the exact binomial 95 % interval, and its lower end bounds epsilon of any (pure) "
        "differential privacy of the training from below. It bounds nothing from above: 0 means that this "
        "audit found nothing."
    )
    return table_of(f"canaries/{name}", own, [("value", "canaries", "absolute")], caption, book, own)


def _condition(
    name: str, config: PrivacyEvaluation, own: pd.DataFrame, spaces: Mapping[str, Any], book: Book
) -> Exhibit:
    caption = (
        f"Leakage through the condition: masks of {words(config.synthetic)} whose Dice with a training "
        f"patient's, in some orientation, exceeds {setting(config.same_mask)}, beside held-out masks. Such "
        f"an item discloses the patient's shape, however new its image is. {searched(spaces, own['label'])}. "
        "In brackets 95 % intervals, of "
        "shares exact binomial."
    )
    return table_of(f"condition/{name}", own, ARMS, caption, book, own)


def _filtered(
    name: str, config: PrivacyEvaluation, folder: Path, spaces: Mapping[str, Any], book: Book
) -> Exhibit:
    listed = pd.read_parquet(folder / "details/filtered.parquet")
    counts = listed.groupby(["reason", "space"]).size() if len(listed) else {}
    rows = [
        [Cell(REASONS[reason], note=words(space)), Cell(str(counts[reason, space]), number=True)]
        for reason in REASONS
        for space in dict.fromkeys(listed["space"])
        if (reason, space) in counts
    ]
    rows.append([Cell("any of these"), Cell(str(listed["item_id"].nunique()), number=True)])
    caption = (
        f"Items of {words(config.synthetic)} that should be looked at or left out before a release; the CSV "
        f"names each with its reason, its neighbour and the score. {searched(spaces, spaces)}; exact copies "
        "and exact duplicates are of all items."
    )
    return book.table(f"filtered/{name}", ["reason", "items"], rows, caption=caption, data=listed)
