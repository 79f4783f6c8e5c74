"""The three sides of an evaluation of a synthetic dataset: training, held-out and synthetic images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mirage.config.evaluations import SetEvaluation
from mirage.data import Dataset, Items
from mirage.data.leaks import check_pixels, shared_subjects
from mirage.data.pool import Pool
from mirage.errors import DataError, LeakError


@dataclass(frozen=True)
class Sides:
    """What is compared with what.

    Attributes:
        training: real items that the generators have learnt from.
        heldout: real items that no generator has seen, or None.
        synthetic: the items that are judged.
    """

    training: Items
    heldout: Items | None
    synthetic: Items


def sides(config: SetEvaluation, datasets: Mapping[str, Dataset]) -> Sides:
    """The sides of an evaluation, checked against one another.

    Args:
        config: the evaluation.
        datasets: whole datasets by name, all that it names.

    Raises:
        DataError: no training, held-out or synthetic item, or a synthetic set that has learnt from other
            subjects.
        LeakError: the synthetic set has learnt from held-out subjects, or what is held out is not new and
            real.
    """
    real, synthetic = datasets[config.real], datasets[config.synthetic]
    training = real.select("train")
    heldout = _heldout(real, datasets[config.heldout] if config.heldout else None)
    for where, data in ((f"{real.info.name} (train)", training), (synthetic.info.name, synthetic)):
        if not len(data):
            raise DataError(f"{where} has no items; there is nothing to compare")
    check_lineage(training, heldout, synthetic)
    return Sides(training, heldout, synthetic)


def _heldout(real: Dataset, other: Dataset | None) -> Items | None:
    """All of another dataset, or what of the real one is neither trained on nor unused."""
    if other is None:
        views = [view for view in (real.select("val"), real.select("test")) if len(view)]
        return Pool(views) if views else None
    if not len(other):
        raise DataError(f"{other.info.name} has no items; leave out `heldout`, or name another dataset")
    made = other.items["item_id"][other.items["origin"] == "synthetic"]
    if len(made):
        raise LeakError(
            f"{other.info.name}: {len(made)} items are synthetic, such as {made.iloc[0]}; held-out images "
            "have to be real"
        )
    known = sorted(shared_subjects(real.select("train"), other))
    if known:
        raise LeakError(
            f"{other.info.name} is to be held out, but is of training subjects of {real.info.name}: "
            f"{_listed(known)}; leave these subjects out of one of the two"
        )
    check_pixels(real.select("train"), other)
    return other


def check_lineage(training: Items, heldout: Items | None, synthetic: Items) -> None:
    """Check that a synthetic set has learnt from training subjects and from no held-out ones.

    Raises:
        DataError: it has learnt from no training subject, so nearest training items would be sought among
            images that no generator has seen.
        LeakError: it has learnt from held-out subjects; names some.
    """
    real, name = training.info.name, synthetic.info.name
    if not synthetic.learnt_from() & (training.subjects() | training.other_names()):
        raise DataError(
            f"{name} has learnt from none of the training subjects of {real}; copies would be sought where "
            "there can be none. Name as `real` the dataset that its generator was trained on"
        )
    leaked = sorted(shared_subjects(synthetic, heldout)) if heldout is not None else []
    if heldout is not None and leaked:
        raise LeakError(
            f"{name} has learnt from held-out subjects of {heldout.info.name}: {_listed(leaked)}; train its "
            f"generators on the training split of {real}, or give all datasets of these subjects the same "
            "`split` (same seed and shares)"
        )


def _listed(subjects: list[str]) -> str:
    shown = ", ".join(subjects[:8])
    return shown + (f" and {len(subjects) - 8} more" if len(subjects) > 8 else "")
