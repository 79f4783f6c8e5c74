"""Refusals: what must stay apart is checked where it would be mixed."""

from __future__ import annotations

from collections.abc import Sequence

from mirage.data.items import Items
from mirage.errors import LeakError


def _name_some(names: set[str], limit: int = 8) -> str:
    listed = sorted(names)
    more = f" and {len(listed) - limit} more" if len(listed) > limit else ""
    return ", ".join(listed[:limit]) + more


def _items_with(data: Items, subjects: set[str]) -> str:
    """Which items of a training set have pixels or labels of subjects; none where a generator learnt them."""
    items = data.items
    having = [bool(subjects & set(donors)) for donors in items["donor_subject_ids"]]
    return f" (donors of its items {_name_some(set(items['item_id'][having]))})" if any(having) else ""


def check_test_set(test: Items) -> None:
    """Refuse a test or validation set of anything but real (or simulated) images with their own labels.

    Raises:
        LeakError: names the offending items.
    """
    made = test.items["origin"].eq("synthetic") | test.items["mask_origin"].isin(["synthetic", "predicted"])
    if made.any():
        raise LeakError(
            f"{test.info.name}: the held-out items {_name_some(set(test.items['item_id'][made]))} are "
            "synthetic or carry predicted labels; score on a dataset of real images with annotated labels"
        )


def check_training(training: Sequence[Items], test: Items) -> None:
    """Refuse training sets that know anything of the test subjects.

    Own subjects, donors of synthetic items, and subjects that any generator behind the data has learnt
    from (the lineage) all count.

    Raises:
        LeakError: names the training set and the subjects.
    """
    check_test_set(test)
    held_out = test.subjects()
    for data in training:
        shared = data.learnt_from() & held_out
        if shared:
            raise LeakError(
                f"{data.info.name} has learnt from test subjects of {test.info.name}: {_name_some(shared)}"
                f"{_items_with(data, shared)}; give both datasets the same `split` (same seed and shares), "
                "or train the generators on other subjects"
            )
