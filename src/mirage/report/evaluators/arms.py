"""What the report says of every evaluation of arms, whatever its judges do: tables, forest plot, verdict."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mirage.config.evaluations import OBSERVER_ARM, Arm, ArmsEvaluation, TrainingSet
from mirage.evaluate.statistics import compare_arms, mean_interval
from mirage.files import read_json
from mirage.report import figures
from mirage.report.book import Book, Cell, Exhibit
from mirage.report.chapters.base import count, listing, words
from mirage.report.inputs import Finished
from mirage.report.numbers import DASH, estimate, interval, number
from mirage.report.summary import COLUMNS, pick, row_key
from mirage.report.verdicts import Verdict, Word, worst

CLAIMS = {
    "better": ("scores better than", "score better than"),
    "worse": ("scores worse than", "score worse than"),
    "inconclusive": ("cannot be told apart from", "cannot be told apart from"),
}
"""Verdict -> what one arm and what several do."""
MANY_ARMS = 4
"""Arms of an evaluation up to which each has a sentence of its own among the findings."""
FEW_SUBJECTS = 20
FEW_SEEDS = 3
OBSERVER_TITLE = "second observer"


@dataclass(frozen=True)
class Scores:
    """What an evaluator's metrics are.

    Attributes:
        headline: the metric that decides.
        titles: metric -> how it is printed.
        shares: metrics that lie in [0, 1], whose widened intervals are cut there.
        lower_is_better: metrics of which a smaller value is the better one.
        distances: metrics that cannot lie below 0, whose widened intervals are cut there.
        remarks: metric -> sentence under a table that shows it.
    """

    headline: str
    titles: Mapping[str, str]
    shares: Collection[str] = ()
    lower_is_better: Collection[str] = ()
    distances: Collection[str] = ()
    remarks: Mapping[str, str] = field(default_factory=dict)

    def title(self, metric: str) -> str:
        """A metric's printed name."""
        return self.titles.get(metric, words(metric))

    @property
    def headline_title(self) -> str:
        """Printed name of the metric that decides."""
        return self.title(self.headline)


def summarise(name: str, config: ArmsEvaluation, rows: pd.DataFrame, scores: Scores) -> pd.DataFrame:
    """Arms, and their differences and ratios to the baseline, for every metric.

    Args:
        name: the evaluation's name.
        config: its configuration.
        rows: its metric rows, from :func:`mirage.report.summary.read_metrics`. Rows under another arm than
            the configured ones (the second observer) are averaged and compared with nothing.
        scores: the evaluator's metrics.
    """
    configured = rows["arm"].isin(list(config.arms))
    judged, others = rows[configured], rows[~configured]
    records: list[dict[str, Any]] = []
    for metric in dict.fromkeys(judged["metric"]):
        better = metric not in scores.lower_is_better
        found = _compared(judged, metric, config.baseline, better)
        records += found
        for like, names in likes(config).items() if found else ():
            pairs = judged[judged["arm"].isin([like, *names])]
            records += added(_compared(pairs, metric, like, better))
    for (arm, metric), part in others.groupby(["arm", "metric"], sort=False):
        if part["value"].notna().any():
            records.append(_unpaired_record(str(arm), str(metric), part))
    table = pd.DataFrame(records).assign(evaluation=name).reindex(columns=list(COLUMNS))
    cut = (table["kind"] == "absolute") & table["metric"].isin(scores.shares)
    table.loc[cut, ["low", "high"]] = table.loc[cut, ["low", "high"]].clip(0, 1)
    cut = (table["kind"] == "absolute") & table["metric"].isin(scores.distances)
    table.loc[cut, "low"] = table.loc[cut, "low"].clip(lower=0)
    return table


def _compared(rows: pd.DataFrame, metric: str, baseline: str, better: bool) -> list[dict[str, Any]]:
    """Records of every arm and its comparison with one of them; none where that one has no values."""
    base = rows.loc[(rows["metric"] == metric) & (rows["arm"] == baseline), "value"]
    if not base.notna().any():
        return []
    compared = compare_arms(rows, metric, baseline, higher_is_better=better)
    return [record for row in compared.to_dict("records") for record in _arm_records(row, metric)]


def likes(config: ArmsEvaluation) -> dict[str, list[str]]:
    """Arm that is no baseline -> arms of which it is the like (:meth:`ArmsEvaluation.like`)."""
    found: dict[str, list[str]] = {}
    for arm in config.arms:
        like = config.like(arm)
        if like not in (arm, config.baseline):
            found.setdefault(like, []).append(arm)
    return found


def added(records: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The differences among records, as differences to a like arm."""
    return [{**record, "kind": "added"} for record in records if record["kind"] == "difference"]


def _arm_records(row: dict[str, Any], metric: str) -> list[dict[str, Any]]:
    shared = {"arm": row["arm"], "metric": metric, "n_subjects": row["subjects"], "n_seeds": row["seeds"]}
    records = []
    for kind, column in (("absolute", ""), ("difference", "difference"), ("ratio", "ratio")):
        value = row[column or "estimate"]
        if kind == "absolute" or not np.isnan(value):
            ends = {end: row[f"{column}_{end}" if column else end] for end in ("low", "high")}
            tests = {key: row[key] for key in ("p", "p_holm", "verdict")} if kind == "difference" else {}
            records.append({**shared, "kind": kind, "estimate": value, **ends, **tests})
    return records


def _unpaired_record(arm: str, metric: str, rows: pd.DataFrame) -> dict[str, Any]:
    found = mean_interval(rows)
    return {
        "arm": arm,
        "metric": metric,
        "kind": "absolute",
        "estimate": found.estimate,
        "low": found.low,
        "high": found.high,
        "n_subjects": found.subjects,
        "n_seeds": found.seeds if rows["seed"].notna().any() else 0,
    }


def own_rows(summary: pd.DataFrame, name: str, config: ArmsEvaluation) -> pd.DataFrame:
    """Rows of the summary of an evaluation's arms and of its second observer."""
    return summary[(summary["evaluation"] == name) & summary["arm"].isin([*config.arms, OBSERVER_ARM])]


def verdict(
    own: Mapping[str, Finished], synthetic: set[str], summary: pd.DataFrame, scores: Mapping[str, Scores]
) -> Verdict:
    """Verdict on utility over all evaluations of one evaluator.

    Args:
        own: name -> evaluation.
        synthetic: names of synthetic datasets; an arm trained on one is judged, other arms are context.
        summary: from :func:`mirage.report.summary.summarise`.
        scores: metrics of each evaluation.
    """
    sentences, answers, keys = [], list[Word](), []
    for name, (config, _) in own.items():
        rows = _judged(config, synthetic, summary, name, scores[name].headline)
        answers.append(of_arms([row.verdict for row in rows]))
        keys += [row_key(row) for row in rows]
        title = scores[name].headline_title
        if len(rows) <= MANY_ARMS:
            sentences += [_sentence(name, row, _other(row, config), title) for row in rows]
            continue
        for other in dict.fromkeys(_other(row, config) for row in rows):
            sentences += _counted(name, [row for row in rows if _other(row, config) == other], other, title)
    titles = listing(list(dict.fromkeys(scores[name].headline_title for name in own)))
    rule = (
        f"each arm with synthetic data is compared on {titles} with the arm that differs from it only in "
        "lacking that data, or with the baseline where there is none, paired over test subjects and seeds. "
        "Pass: at least one is better and none worse. Fail: all are worse. "
        "“Better” and “worse” need a 95 % interval of the difference that excludes zero. Otherwise "
        "inconclusive."
    )
    untested = ["No arm of this study is trained on synthetic data."]
    return Verdict("Utility", worst(answers), sentences or untested, rule, keys)


def _judged(
    config: ArmsEvaluation, synthetic: set[str], summary: pd.DataFrame, name: str, metric: str
) -> list[Any]:
    """Rows of the summary that tell of each arm with synthetic data what that data do."""
    kinds = {
        kind: {row.arm: row for row in pick(summary, name, metric=metric, kind=kind).itertuples()}
        for kind in ("difference", "added")
    }
    rows = []
    for arm, training in config.arms.items():
        if not uses(training, synthetic):
            continue
        like = config.arms[config.like(arm)].sets()
        rest = {part.data for key, part in training.sets() if (key, part) not in like}
        kind = "added" if arm in kinds["added"] and rest <= synthetic else "difference"
        if arm in kinds[kind]:
            rows.append(kinds[kind][arm])
    return rows


def _other(row: Any, config: ArmsEvaluation) -> str:
    """Arm that a row of the summary compares with."""
    return config.like(row.arm) if row.kind == "added" else config.baseline


def of_arms(found: Collection[str]) -> Word:
    """The answer of one evaluation, whose arms are ways to use synthetic data of which one may do."""
    if not found:
        return "untested"
    if "better" in found and "worse" not in found:
        return "pass"
    return "fail" if set(found) == {"worse"} else "inconclusive"


def uses(arm: Arm, names: set[str]) -> bool:
    """Whether an arm is trained on any of the datasets."""
    return any(part.data in names for _, part in arm.sets())


def _counted(evaluation: str, rows: Sequence[Any], baseline: str, metric: str) -> list[str]:
    """Many arms' comparisons in words, a sentence a verdict; their numbers stand in the table."""
    sentences = []
    for word in ("better", "worse", "inconclusive"):
        named = [f"“{words(row.arm)}”" for row in rows if row.verdict == word]
        if named:
            sentences.append(
                f"{words(evaluation)}: {len(named)} of {len(rows)} arms {CLAIMS[word][len(named) > 1]} "
                f"“{words(baseline)}” on {metric}: {listing(named)}."
            )
    row = rows[0]
    told = f"{count(int(row.n_subjects), 'test subject')}, {count(int(row.n_seeds), 'seed')}"
    return [*sentences[:-1], f"{sentences[-1].removesuffix('.')} ({told})."]


def _sentence(evaluation: str, row: Any, baseline: str, metric: str) -> str:
    """One arm's comparison in words, with its interval."""
    claim = CLAIMS[row.verdict][0]
    numbers = estimate(row.estimate, row.low, row.high, sign=True)
    return (
        f"{words(evaluation)}: “{words(row.arm)}” {claim} “{words(baseline)}”: {metric} difference "
        f"{numbers}, {count(int(row.n_subjects), 'test subject')}, {count(int(row.n_seeds), 'seed')}."
    )


def limits(own: Mapping[str, Finished], summary: pd.DataFrame) -> list[str]:
    """Few subjects, few seeds, many arms, other sites, no second observer."""
    points = [point for name, done in own.items() for point in _small(name, done.config, summary)]
    for name, (config, _) in own.items():
        points.append(_external(name, config))
        if OBSERVER_ARM not in set(summary.loc[summary["evaluation"] == name, "arm"]):
            points.append(
                f"{words(name)}: no second human observer is available for the test images, so how far two "
                "people would agree is unknown."
            )
    return points


def _small(name: str, config: ArmsEvaluation, summary: pd.DataFrame) -> list[str]:
    subjects, seeds = _numbers(own_rows(summary, name, config))
    points = []
    if subjects < FEW_SUBJECTS:
        points.append(
            f"{words(name)}: {count(subjects, 'test subject')}. With so few, intervals rest on roughly "
            "normal subject means, and effects smaller than the intervals cannot be seen."
        )
    if len(config.arms) > 2:
        points.append(
            f"{words(name)}: {len(config.arms) - 1} arms are compared with “{words(config.baseline)}”; "
            "intervals are not adjusted for making several comparisons, p values are (Holm)."
        )
    if seeds < FEW_SEEDS:
        points.append(
            f"{words(name)}: {count(seeds, 'training seed')} an arm, so the variation from training to "
            f"training is {'not in the intervals' if seeds == 1 else 'poorly known'}."
        )
    return points


def _external(name: str, config: ArmsEvaluation) -> str:
    trained = {part.data for arm in config.arms.values() for _, part in arm.sets()}
    if config.test in trained:
        return (
            f"{words(name)}: test subjects come from {words(config.test)}, which some arms also learn from; "
            "other cameras, clinics and populations were not tested."
        )
    return f"{words(name)}: one external test dataset, {words(config.test)}; other sites were not tested."


def describe_arm(arm: Arm, images: Mapping[str, int]) -> str:
    """What an arm is trained on, in words; ``images`` are the numbers of each dataset, where known."""

    def sets(parts: Sequence[TrainingSet]) -> str:
        return " + ".join(_training_set(part, images.get(part.data, part.images)) for part in parts)

    text = f"{sets(arm.pretrain)}, then {sets(arm.train)}" if arm.pretrain else sets(arm.train)
    return f"{text}, augmented" if arm.augment else text


def _training_set(part: TrainingSet, images: int | None) -> str:
    return words(part.data) + (f" ({count(images, 'image')})" if images else "")


def training_images(arm: str, folders: Sequence[Path]) -> dict[str, int]:
    """Training images an arm had of each dataset, as its first judge recorded them."""
    folder = first_seed(arm, folders)
    if folder is None or not (folder / "details/arm.json").is_file():
        return {}
    facts = read_json(folder / "details/arm.json")
    return {part["data"]: part["images"] for kind in ("train", "pretrain") for part in facts.get(kind, [])}


def first_seed(arm: str, folders: Sequence[Path]) -> Path | None:
    """The arm's folder of the smallest seed (``<arm>/seed-<n>``)."""
    own = [folder for folder in folders if folder.parent.name == arm and folder.name.startswith("seed-")]
    return min(own, key=lambda folder: int(folder.name.removeprefix("seed-")), default=None)


def stored_predictions(config: ArmsEvaluation, folders: Sequence[Path]) -> dict[str, Path]:
    """Arm -> folder of its first seed, of the arms whose predictions were kept."""
    found = {arm: first_seed(arm, folders) for arm in config.arms}
    return {
        arm: folder
        for arm, folder in found.items()
        if folder is not None and (folder / "details/predictions.arrow").is_file()
    }


def spread_by_score(scores: pd.Series, number_of_items: int) -> list[str]:
    """Items at evenly spaced ranks of their scores, the worst first."""
    ordered = list(scores.sort_values(kind="stable").index)
    places = np.linspace(0, len(ordered) - 1, min(number_of_items, len(ordered)))
    return [str(ordered[place]) for place in sorted({round(float(p)) for p in places})]


def _cell(row: Any, *, sign: bool = False, strong: bool = False) -> Cell:
    return Cell(
        estimate(row.estimate, row.low, row.high, sign=sign), number=True, strong=strong, key=row_key(row)
    )


def lookup(own: pd.DataFrame) -> dict[tuple[str, str, str], Any]:
    """Rows of the summary by arm, metric and kind."""
    return {(row.arm, row.metric, row.kind): row for row in own.itertuples()}


def _arm_names(own: pd.DataFrame) -> list[str]:
    return list(dict.fromkeys(own["arm"]))


def _arm_title(arm: str) -> str:
    return OBSERVER_TITLE if arm == OBSERVER_ARM else words(arm)


def headline_table(
    name: str, done: Finished, own: pd.DataFrame, scores: Scores, scored: str, book: Book
) -> Exhibit:
    """Every arm on the metric that decides, and its comparison with the baseline.

    Args:
        name: the evaluation's name.
        done: its configuration and folders.
        own: from :func:`own_rows`.
        scores: the evaluator's metrics.
        scored: what is scored, in words: ``vessels on the test images``.
        book: gets the table.
    """
    config, folders = done
    found = lookup(own)
    rows = [_headline_row(arm, config, folders, found, scores.headline) for arm in _arm_names(own)]
    head = [
        "arm",
        scores.headline_title,
        f"difference to {words(config.baseline)}",
        "ratio",
        "p (Holm)",
        "verdict",
    ]
    caption = (
        f"{words(name).capitalize()}: {scores.headline_title} of {scored}, {sizes(own)}. In brackets 95 % "
        "intervals; p is of a sign-flip test over subjects, adjusted for the number of arms, and decides "
        "nothing. Bold: the interval of the difference excludes zero; otherwise the comparison is "
        "inconclusive."
    )
    return book.table(f"results/{name}", head, rows, caption=caption, data=own)


def _headline_row(
    arm: str,
    config: ArmsEvaluation,
    folders: Sequence[Path],
    found: Mapping[tuple[str, str, str], Any],
    metric: str,
) -> list[Cell]:
    value, difference, ratio = (
        found.get((arm, metric, kind)) for kind in ("absolute", "difference", "ratio")
    )
    if arm == OBSERVER_ARM:
        trained = "a second human, against the first"
    else:
        trained = describe_arm(config.arms[arm], training_images(arm, folders))
    word = "baseline" if arm == config.baseline else difference.verdict if difference else DASH
    decided = difference is not None and difference.verdict in ("better", "worse")
    return [
        Cell(_arm_title(arm), note=trained),
        _cell(value) if value else Cell(DASH, number=True),
        _cell(difference, sign=True, strong=decided) if difference else Cell(DASH, number=True),
        _cell(ratio) if ratio else Cell(DASH, number=True),
        Cell(number(difference.p_holm) if difference else DASH, number=True),
        Cell(str(word), strong=decided),
    ]


def _numbers(own: pd.DataFrame) -> tuple[int, int]:
    """Test subjects and seeds behind one evaluation."""
    judged = own[(own["kind"] == "absolute") & (own["arm"] != OBSERVER_ARM)]
    return int(judged["n_subjects"].max()), int(judged["n_seeds"].max())


def sizes(own: pd.DataFrame) -> str:
    """Numbers of subjects and seeds in words."""
    subjects, seeds = _numbers(own)
    return f"n = {count(subjects, 'subject')}, {count(seeds, 'seed')} an arm"


def forest(name: str, config: ArmsEvaluation, own: pd.DataFrame, scores: Scores, book: Book) -> Exhibit:
    """The same numbers as a forest plot."""
    chosen = own[own["metric"] == scores.headline]
    human = chosen["arm"] == OBSERVER_ARM
    absolute = chosen[(chosen["kind"] == "absolute") & ~human]
    difference = chosen[chosen["kind"] == "difference"]
    observer = float(chosen.loc[human, "estimate"].iat[0]) if human.any() else None
    line = "" if observer is None else " The broken line is a second human observer scored against the first."
    caption = (
        f"{scores.headline_title} of every arm of {words(name)} (left) and its difference to "
        f"“{words(config.baseline)}” on the same subjects and seeds (right), {sizes(own)}. Bars are 95 % "
        f"intervals; filled circles at the right have an interval that excludes zero.{line}"
    )
    alt = "; ".join(
        f"{words(row.arm)} {estimate(row.estimate, row.low, row.high)}" for row in absolute.itertuples()
    )
    figure = figures.headline(absolute, difference, scores.headline_title, config.baseline, observer)
    return book.chart(
        f"forest/{name}", figure, chosen, caption=caption, alt=f"{scores.headline_title} by arm: {alt}"
    )


def others_table(
    name: str, config: ArmsEvaluation, own: pd.DataFrame, scores: Scores, book: Book
) -> Exhibit | None:
    """All other metrics, a row each; None without any."""
    metrics = [metric for metric in dict.fromkeys(own["metric"]) if metric != scores.headline]
    if not metrics:
        return None
    rows, found = [], lookup(own)
    for metric in metrics:
        row = [Cell(scores.title(metric))]
        for arm in _arm_names(own):
            value, difference = (found.get((arm, metric, kind)) for kind in ("absolute", "difference"))
            if value is None:
                row.append(Cell(DASH, number=True))
                continue
            decided = difference is not None and difference.verdict in ("better", "worse")
            row.append(_stacked(value, decided))
        rows.append(row)
    head = ["metric", *map(_arm_title, _arm_names(own))]
    remarks = "".join(f" {text}" for metric, text in scores.remarks.items() if metric in metrics)
    caption = (
        f"Other metrics of {words(name)}, {sizes(own)}; 95 % intervals below. Bold: the difference to "
        f"“{words(config.baseline)}” has an interval that excludes zero.{remarks}"
    )
    data = own[own["metric"] != scores.headline]
    return book.table(f"metrics/{name}", head, rows, caption=caption, data=data)


def grid(
    id: str,
    config: ArmsEvaluation,
    own: pd.DataFrame,
    columns: Mapping[str, str],
    caption: str,
    book: Book,
    kind: str = "absolute",
) -> Exhibit:
    """A table arms x metrics, bold where the difference to the baseline is decided.

    Args:
        id: of the exhibit.
        config: the evaluation.
        own: from :func:`own_rows`.
        columns: metric -> heading.
        caption: what is shown; a sentence on the intervals is added.
        book: gets the table.
        kind: ``absolute``, or ``difference``, which leaves the baseline out.
    """
    found, rows = lookup(own), []
    for arm in _arm_names(own):
        row = [Cell(_arm_title(arm))]
        for metric in columns:
            value, difference = (found.get((arm, metric, wanted)) for wanted in (kind, "difference"))
            decided = difference is not None and difference.verdict in ("better", "worse")
            signed = kind == "difference"
            row.append(_stacked(value, decided, sign=signed) if value else Cell(DASH, number=True))
        if kind == "absolute" or arm not in (config.baseline, OBSERVER_ARM):
            rows.append(row)
    told = (
        f" {sizes(own)}; 95 % intervals below. Bold: the difference to “{words(config.baseline)}” has an "
        "interval that excludes zero."
    )
    data = own[own["metric"].isin(list(columns)) & (own["kind"] == kind)]
    return book.table(id, ["arm", *columns.values()], rows, caption=f"{caption}{told}", data=data)


def _stacked(row: Any, strong: bool, *, sign: bool = False) -> Cell:
    """A number over its interval, with one decimal from ten on."""
    digits = 1 if abs(row.estimate) >= 10 else 3
    return Cell(
        number(row.estimate, digits, sign=sign),
        True,
        strong,
        row_key(row),
        interval(row.low, row.high, digits, sign=sign),
    )


def subjects(name: str, rows: pd.DataFrame, scores: Scores, book: Book) -> Exhibit:
    """Every test subject in every arm.

    Args:
        name: the evaluation's name.
        rows: its metric rows, those of its arms and its second observer.
        scores: the evaluator's metrics.
        book: gets the figure.
    """
    title = scores.headline_title
    chosen = rows[(rows["metric"] == scores.headline) & rows["value"].notna()]
    table = chosen.pivot_table(index="subject_id", columns="arm", values="value", aggfunc="mean")
    table = table[list(dict.fromkeys(chosen["arm"]))].rename(columns={OBSERVER_ARM: OBSERVER_TITLE})
    caption = (
        f"{title} of every test subject of {words(name)} in every arm, averaged over images and seeds, "
        f"n = {count(len(table), 'subject')}. A thin line joins one subject; look for subjects on which all "
        "arms fail."
    )
    alt = f"{title} by subject and arm, from {number(table.min().min())} to {number(table.max().max())}"
    figure = figures.per_subject(table, title)
    return book.chart(f"subjects/{name}", figure, table.reset_index(), caption=caption, alt=alt)
