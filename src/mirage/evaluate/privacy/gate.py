"""The release gate: every limit with what was found, and the word that follows.

``fail``: what was found lies surely beyond the limit. ``pass``: surely within. Else ``inconclusive``, as is
what could not be measured. The gate fails if one limit fails, and passes only if all pass that can pass: the
share of items nearer to training than to held-out items may fail a release, but never pass it (Yao 2025), and
so may members that an attack is sure of at 1 % false positives, a leak of a few that no AUC shows.
``silent`` is what has no say. A detector has one only where it found the copies that were injected to test
it, an attack only where members cannot be told without the synthetic set.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import pandas as pd

from mirage.config.privacy import Gate
from mirage.evaluate.privacy.attacks import CONTROLS, FPR

Word = Literal["pass", "fail", "inconclusive", "silent"]
COLUMNS = ("limit", "space", "value", "low", "high", "bound", "word", "reason")


def gate(rows: Sequence[dict[str, Any]], limits: Gate) -> pd.DataFrame:
    """The limits, a row each; ``silent`` is a limit that can only fail and did not.

    Args:
        rows: of all metrics.
        limits: the configured ones.
    """
    table = pd.DataFrame(rows)
    found = [
        *_exact(table),
        *_copies(table, limits),
        *_attacks(table, limits),
        *_sure_members(table),
        *_nearer(table, limits),
        *_duplicates(table, limits),
        *_masks(table, limits),
    ]
    return pd.DataFrame(found, columns=list(COLUMNS))


def verdict(limits: pd.DataFrame) -> str:
    """The gate's word."""
    words = set(limits["word"]) - {"silent"}
    if "fail" in words:
        return "fail"
    return "pass" if words == {"pass"} else "inconclusive"


def _pick(table: pd.DataFrame, metric: str, arm: str = "synthetic") -> pd.DataFrame:
    return table[(table["metric"] == metric) & (table["arm"] == arm) & (table["kind"] == "absolute")]


def _line(limit: str, own: Any, bound: float, word: Word, reason: str) -> tuple[Any, ...]:
    return (limit, own.label, own.value, own.low, own.high, bound, word, reason)


def _unmeasured(limit: str, bound: float, reason: str) -> tuple[Any, ...]:
    nan = float("nan")
    return (limit, None, nan, nan, nan, bound, "inconclusive", reason)


def _between(low: float, high: float, fails_above: float, passes_below: float) -> Word:
    return "fail" if low > fails_above else "pass" if high <= passes_below else "inconclusive"


def _exact(table: pd.DataFrame) -> Iterator[tuple[Any, ...]]:
    for own in _pick(table, "exact_copies").itertuples():
        if own.label == "image":  # equal masks count as reidentified
            word: Word = "fail" if own.value > 0 else "pass"
            yield _line("exact copies", own, 0.0, word, "none is allowed")


def _copies(table: pd.DataFrame, limits: Gate) -> Iterator[tuple[Any, ...]]:
    recall = _pick(table, "recall", "control").groupby("label")["value"].last()
    surely = _pick(table, "rate_bound", "reference").set_index("label")["value"]
    judged = 0
    for own in _pick(table, "flagged").itertuples():
        if recall.get(own.label, 0.0) >= limits.recall:
            judged += 1
            bound = max(limits.copies, surely[own.label])
            word = _between(own.low, own.high, bound, limits.copies)
            reason = f"fails above {bound:.2g}, as many as new items may be flagged"
            yield _line("copies flagged", own, limits.copies, word, reason)
    if not judged:
        best = f"at best {recall.max():.2f}" if len(recall) else "no copies could be injected"
        yield _unmeasured(
            "copies flagged",
            limits.copies,
            f"no detector found {limits.recall:g} of the injected copies ({best})",
        )


def _attacks(table: pd.DataFrame, limits: Gate) -> Iterator[tuple[Any, ...]]:
    """Where the split, or an encoder that has seen the members, tells members without the synthetic set, an
    attack is silent unless it tells surely more."""
    reference = _pick(table, "auc", "reference")
    control = {own.label: own for own in reference[reference["protocol"] == CONTROLS[1]].itertuples()}
    heard = 0
    for own in _pick(table, "auc").itertuples():
        word = _between(own.low, own.high, limits.attack_auc, limits.attack_auc_pass)
        reason = f"fails above {limits.attack_auc:g}, passes below {limits.attack_auc_pass:g}"
        bias = control.get(own.label)
        if bias and (bias.low > limits.attack_auc or bias.high < 1 - limits.attack_auc):
            reason = f"members are told without the synthetic set (AUC {bias.value:.2f})"
            word = "fail" if own.low > max(limits.attack_auc, bias.high) else "silent"
        heard += word != "silent"
        yield _line(f"membership attack: {own.protocol}", own, limits.attack_auc, word, reason)
    if not heard:
        why = "no held-out subjects: no attack could be measured"
        reason = "no attack that the split does not spoil" if control else why
        yield _unmeasured("membership attack", limits.attack_auc, reason)


def _sure_members(table: pd.DataFrame) -> Iterator[tuple[Any, ...]]:
    """More members are told at 1 % false positives than without the synthetic set."""
    control = _pick(table, "tpr_at_fpr_1", "reference").groupby("label")["high"].max()
    for own in _pick(table, "tpr_at_fpr_1").dropna(subset=["low"]).itertuples():
        bound = max(FPR, control.get(own.label, 1.0))
        word: Word = "fail" if own.low > bound else "silent"
        yield _line(f"members told surely: {own.protocol}", own, bound, word, "can only fail")


def _nearer(table: pd.DataFrame, limits: Gate) -> Iterator[tuple[Any, ...]]:
    for own in _pick(table, "dcr_share").itertuples():
        bound = 0.5 + limits.dcr_margin
        word: Word = "fail" if own.low > bound else "silent"
        yield _line("nearer to training", own, bound, word, "can only fail")


def _duplicates(table: pd.DataFrame, limits: Gate) -> Iterator[tuple[Any, ...]]:
    for own in _pick(table, "exact_duplicates").itertuples():
        if own.label == "image":
            word = _between(own.low, own.high, limits.duplicates, limits.duplicates)
            yield _line("duplicates", own, limits.duplicates, word, "share of synthetic items")


def _masks(table: pd.DataFrame, limits: Gate) -> Iterator[tuple[Any, ...]]:
    """Shapes that are alike by nature match held-out patients' as well: those of nobody are no leak."""
    held_out = _pick(table, "reidentified", "reference").set_index("label")["high"]
    exact = _pick(table, "exact_copies").set_index("label")["low"]
    for own in _pick(table, "reidentified").itertuples():
        word = _between(own.low, own.high, limits.reidentified, limits.reidentified)
        reason = "share of synthetic items"
        if word == "fail" and own.low <= held_out.get(own.label, 1.0):
            copied = own.label not in held_out.index and exact[own.label] > limits.reidentified
            word = "fail" if copied else "inconclusive"
            reason = "exact copies" if copied else "held-out masks match as often, or none are held out"
        yield _line("reidentified masks", own, limits.reidentified, word, reason)
