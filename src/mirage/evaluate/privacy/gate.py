"""The release gate: every limit with what was found, and the word that follows.

``fail``: what was found lies surely beyond the limit. ``pass``: surely within. Else ``inconclusive``, as is
what could not be measured. The gate fails if one limit fails, and passes only if all pass that can pass: the
share of items nearer to training than to held-out items may fail a release, but never pass it (Yao 2025), and
so may members that an attack is sure of at 1 % false positives, a leak of a few that no AUC shows.
``silent`` is what has no say. A detector has one only where it found the copies that were injected to test
it, an attack passes only where members cannot be told without the synthetic set.

**Many limits.** Each is a one-sided test at 2.5 % of whether the limit is exceeded, and one failure is
enough: p values are adjusted by Holm, so that a set which keeps all limits fails with a probability of at
most 2.5 %. The p value is that of the 95 % interval (Altman and Bland 2011). To pass, every limit has to be
kept, each with its whole interval: that needs no adjustment. Exact copies are counted and not tested; one is
too many.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import pandas as pd
from scipy import stats

from mirage.config.privacy import Gate
from mirage.evaluate.privacy.attacks import CONTROLS, FPR
from mirage.evaluate.statistics import LEVEL, holm

Word = Literal["pass", "fail", "inconclusive", "silent"]
COLUMNS = ("limit", "space", "value", "low", "high", "bound", "p", "word", "reason")
ALPHA = (1 - LEVEL) / 2
NAN = float("nan")
ALONE = "no held-out items to compare with"
"""Reason of shares that are limited as they are."""


@dataclass(frozen=True)
class Limit:
    """A limit and what was found.

    Attributes:
        limit: what is limited.
        space: where; None for what could not be measured.
        value, low, high: found, with its 95 % interval.
        bound: above which the gate fails.
        passes: up to which it passes; NaN: it cannot; None: it can only fail, and is silent otherwise.
        reason: the rule, or what is wrong.
        tested: whether failing is a matter of a test.
        second: p of another condition that failing needs.
    """

    limit: str
    space: str | None
    value: float
    low: float
    high: float
    bound: float
    passes: float | None
    reason: str
    tested: bool = True
    second: float = 0.0

    def p(self) -> float:
        """One-sided p of a true value within the bound, NaN where nothing is tested."""
        if not self.tested or math.isnan(self.low):
            return NAN
        return max(_p_within(self.value, self.low, self.bound), self.second)

    def word(self, p: float) -> Word:
        """What follows, by the adjusted p."""
        beyond = p < ALPHA if self.tested else self.value > self.bound
        if beyond:
            return "fail"
        if self.passes is None:
            return "silent"
        within = self.high if self.tested else self.value
        return "pass" if within <= self.passes else "inconclusive"


def _p_within(value: float, low: float, bound: float) -> float:
    """One-sided p of a true value within the bound, by the lower end of the 95 % interval."""
    reach = value - low
    if reach <= 0:
        return 0.0 if value > bound else 1.0
    return float(stats.norm.sf((value - bound) / reach * stats.norm.isf(ALPHA)))


def gate(rows: Sequence[dict[str, Any]], limits: Gate) -> pd.DataFrame:
    """The limits, a row each: what was found, the bound, the adjusted p (NaN: no test), word and reason.

    Args:
        rows: of all metrics.
        limits: the configured ones.
    """
    table = pd.DataFrame(rows)
    found = [
        *_exact(table),
        *_near(table, limits),
        *_flagged(table, limits),
        *_attacks(table, limits),
        *_sure_members(table),
        *_nearer(table, limits),
        *_duplicates(table, limits),
        *_masks(table, limits),
    ]
    adjusted = holm([limit.p() for limit in found])
    lines = [
        (own.limit, own.space, own.value, own.low, own.high, own.bound, p, own.word(p), own.reason)
        for own, p in zip(found, adjusted, strict=True)
    ]
    return pd.DataFrame(lines, columns=list(COLUMNS))


def verdict(limits: pd.DataFrame) -> str:
    """The gate's word."""
    words = set(limits["word"]) - {"silent"}
    if "fail" in words:
        return "fail"
    return "pass" if words == {"pass"} else "inconclusive"


def _pick(table: pd.DataFrame, metric: str, arm: str = "synthetic") -> pd.DataFrame:
    return table[(table["metric"] == metric) & (table["arm"] == arm) & (table["kind"] == "absolute")]


def _limit(name: str, own: Any, bound: float, passes: float | None, reason: str) -> Limit:
    return Limit(name, own.label, own.value, own.low, own.high, bound, passes, reason)


def _unmeasured(name: str, bound: float, reason: str) -> Limit:
    return Limit(name, None, NAN, NAN, NAN, bound, NAN, reason)


def _exact(table: pd.DataFrame) -> Iterator[Limit]:
    for own in _pick(table, "exact_copies").itertuples():
        if own.label == "image":  # equal masks count as reidentified
            reason = f"none is allowed; all {own.n_items} items but blank ones were compared"
            yield Limit(
                "exact copies", own.label, own.value, own.low, own.high, 0.0, 0.0, reason, tested=False
            )


def _excess(name: str, own: Any, held: Any, most: float) -> Limit:
    """A share of synthetic items beyond that of held-out ones, with the interval that their two give.

    Intervals are joined as variances are (MOVER; Newcombe 1998, Zou and Donner 2008).
    """
    gap = own.value - held.value
    low = gap - math.hypot(own.value - own.low, held.high - held.value)
    high = gap + math.hypot(own.high - own.value, held.value - held.low)
    reason = f"{_share(own)} of synthetic and {_share(held)} of held-out items; the difference is limited"
    return Limit(name, own.label, gap, low, high, most, most, reason)


def _share(own: Any) -> str:
    return f"{own.value:.3f} [{own.low:.3f}, {own.high:.3f}]"


def _near(table: pd.DataFrame, limits: Gate) -> Iterator[Limit]:
    """Of images: in features, sets that merely vary too little lie near to everything."""
    name, held_out = "near copies", _pick(table, "near_copies", "reference")
    held = {own.label: own for own in held_out.itertuples()}
    for own in _pick(table, "near_copies").itertuples():
        if own.label != "image":
            continue
        if own.label in held:
            yield _excess(name, own, held[own.label], limits.near_copies)
        else:
            yield _limit(name, own, limits.near_copies, NAN, ALONE)


def _flagged(table: pd.DataFrame, limits: Gate) -> Iterator[Limit]:
    """The threshold flags a known share of new items; what exceeds it has an exact interval."""
    name, recall = "copies flagged", _gate_recall(table)
    surely = _pick(table, "rate_bound", "reference").set_index("label")["value"]
    excess = {own.label: own for own in _pick(table, "excess").itertuples()}
    judged = 0
    for own in _pick(table, "flagged").itertuples():
        if recall.get(own.label, 0.0) < limits.recall:
            continue
        judged += 1
        if own.label in excess:
            beyond = excess[own.label]
            expected = f"{own.value - beyond.value:.3f} expected of new ones"
            reason = f"{own.value:.3f} of synthetic items, {expected}; the difference is limited"
            yield _limit(name, beyond, limits.flagged, limits.flagged, reason)
        else:
            reason = f"{ALONE}; up to {surely[own.label]:.2g} of new ones are flagged"
            yield _limit(name, own, limits.flagged + surely[own.label], NAN, reason)
    if not judged:
        best = f"at best {recall.max():.2f}" if len(recall) else "no copies could be injected"
        reason = f"no detector found {limits.recall:g} of the injected copies ({best})"
        yield _unmeasured(name, limits.flagged, reason)


def _gate_recall(table: pd.DataFrame) -> pd.Series:
    """Recall by space, of the largest share of injected copies, which holds those of all others."""
    recall = _pick(table, "recall", "control").sort_values("n_items", kind="stable")
    return recall.groupby("label")["value"].last()


def _attacks(table: pd.DataFrame, limits: Gate) -> Iterator[Limit]:
    """An attack fails only where it also tells surely more than is told without the synthetic set, by the
    split or an encoder that has seen the members. Where much is surely told without, its gain alone is
    judged, and it cannot pass."""
    reference = _pick(table, "auc", "reference")
    control = {own.label: own for own in reference[reference["protocol"] == CONTROLS[1]].itertuples()}
    gains = {(own.label, own.protocol): own for own in _pick(table, "auc_gain").itertuples()}
    most, heard = limits.attack_auc, 0
    for own in _pick(table, "auc").itertuples():
        name, bias = f"membership attack: {own.protocol}", control.get(own.label)
        gain = gains.get((own.label, own.protocol))
        if bias and gain and bias.low > most:
            reason = (
                f"members are told without the synthetic set (AUC {bias.value:.2f}): fails where the attack "
                f"surely adds {most - 0.5:.2g}"
            )
            yield _limit(name, gain, most - 0.5, None, reason)
        elif bias and bias.high < 1 - most:
            # Scores turned round tell as much, so what the attack adds is no difference of the two areas.
            reason = f"members are told without the synthetic set (AUC {bias.value:.2f})"
            yield _limit(name, own, max(most, 1 - bias.low), None, reason)
        else:
            reason = f"fails above {most:.2g}, passes below {limits.attack_auc_pass:g}"
            found = _limit(name, own, most, limits.attack_auc_pass, reason)
            if gain and not math.isnan(gain.low):
                reason += f"; {gain.value:+.2f} beside the attack without the synthetic set"
                found = replace(found, reason=reason, second=_p_within(gain.value, gain.low, 0.0))
            yield found
            heard += 1
    if not heard:
        why = "no held-out subjects, or nothing but blank items: no attack could be measured"
        reason = "no attack that the split does not spoil" if control else why
        yield _unmeasured("membership attack", most, reason)


def _sure_members(table: pd.DataFrame) -> Iterator[Limit]:
    """More members are told at 1 % false positives than without the synthetic set."""
    control = _pick(table, "tpr_at_fpr_1", "reference").dropna(subset=["high"])
    most = control.groupby("label")["high"].max()
    for own in _pick(table, "tpr_at_fpr_1").dropna(subset=["low"]).itertuples():
        bound = max(FPR, most.get(own.label, 1.0))
        yield _limit(f"members told surely: {own.protocol}", own, bound, None, "can only fail")


def _nearer(table: pd.DataFrame, limits: Gate) -> Iterator[Limit]:
    for own in _pick(table, "dcr_share").itertuples():
        yield _limit("nearer to training", own, 0.5 + limits.dcr_margin, None, "can only fail")


def _duplicates(table: pd.DataFrame, limits: Gate) -> Iterator[Limit]:
    for own in _pick(table, "exact_duplicates").itertuples():
        if own.label == "image":
            reason = "share of synthetic items"
            yield _limit("duplicates", own, limits.duplicates, limits.duplicates, reason)


def _masks(table: pd.DataFrame, limits: Gate) -> Iterator[Limit]:
    """Shapes that are alike by nature match held-out patients' as well: those of nobody are no leak."""
    held_out = _pick(table, "reidentified", "reference").set_index("label")["high"]
    exact = _pick(table, "exact_copies").set_index("label")["low"]
    for own in _pick(table, "reidentified").itertuples():
        bound, reason = limits.reidentified, "share of synthetic items"
        if own.label in held_out.index:
            bound = max(bound, held_out[own.label])
            reason += (
                f"; held-out masks match up to {held_out[own.label]:.2g}"
                if bound > limits.reidentified
                else ""
            )
        elif not exact[own.label] > limits.reidentified:
            bound, reason = 1.0, "none are held out to tell how alike masks are by nature"
        yield _limit("reidentified masks", own, bound, limits.reidentified, reason)
