"""Refusals: what must stay apart is checked where it would be mixed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mirage.config.base import SOMEBODY
from mirage.data.items import Items
from mirage.data.manifest import IMAGE_HASH
from mirage.data.shards import is_blank
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


def shared_subjects(training: Items, held_out: Items) -> set[str]:
    """Subjects, and names of subjects, of held-out items that training items know by any of their names.

    Raises:
        LeakError: nobody can know, since one side has unnamed subjects of an archive that the other is of.
    """
    learnt, held = training.learnt_from(), held_out.subjects() | held_out.other_names()
    # Names that other archives give are left out: an archive would be refused beside another part of itself.
    sides = ((training, learnt, held_out.subjects()), (held_out, held, learnt - training.other_names()))
    for data, names, others in sides:
        archives = {name.removesuffix(SOMEBODY) for name in names if name.endswith(f"/{SOMEBODY}")}
        for archive in sorted(archives):
            if any(other.startswith(archive) and other != f"{archive}{SOMEBODY}" for other in others):
                both = f"{training.info.name} is trained on, {held_out.info.name} is held out"
                raise LeakError(
                    f"{both}, and subjects of {data.info.name} may be subjects of "
                    f"{archive.removesuffix('/')}, on the other side, under another name: its source lacks "
                    "the table that says which. Put the table where the reader looks for it (of node21 "
                    "`*filenames_orig_and_new.csv`, in `original_data/`), or leave one of the two out"
                )
    return {name for name in learnt & held if not name.endswith(f"/{SOMEBODY}")}


def check_training(training: Sequence[Items], test: Items) -> None:
    """Refuse training sets that know anything of the test subjects, or hold test images under another name.

    Own subjects, donors of synthetic items, and subjects that any generator behind the data has learnt
    from (the lineage) all count. Of images that only a generator has learnt from no pixels are known here.

    Raises:
        LeakError: names the training set, and the subjects or items.
    """
    check_test_set(test)
    for data in training:
        shared = shared_subjects(data, test)
        if shared:
            raise LeakError(
                f"{data.info.name} has learnt from test subjects of {test.info.name}: {_name_some(shared)}"
                f"{_items_with(data, shared)}; give both datasets the same `split` (same seed and shares), "
                "or train the generators on other subjects"
            )
        check_pixels(data, test)


def check_pixels(training: Items, heldout: Items) -> None:
    """Refuse held-out images that are trained on under another name, as where two folders share files.

    Within a dataset the splits see to it that no image is on two sides; between two nothing does.

    Raises:
        LeakError: names the datasets and the items.
    """
    same = same_pixels(training, heldout, whole_images=True)
    if same:
        listed = _name_some({f"{item} (as {known})" for item, known in same})
        raise LeakError(
            f"{heldout.info.name}: {len(same)} of {len(heldout)} held-out images have the same pixels as "
            f"training images of {training.info.name}: {listed}; an image that was learnt is not held "
            "out, so leave these out of one of the two"
        )


def same_pixels(first: Items, second: Items, *, whole_images: bool = False) -> list[tuple[str, str]]:
    """Items of ``second`` with the same stored pixels as one of ``first``: the ids of both.

    Blank images are alike whoever they are of, and left out.

    Args:
        first, second: prepared alike; else no two are the same.
        whole_images: of patches, whether they are of the same image rather than the same themselves.
    """
    known = dict(zip(_digests(first, whole_images), first.items["item_id"], strict=True))
    rows = zip(_digests(second, whole_images), second.items["item_id"], strict=True)
    return [
        (str(item), str(known[pixels]))
        for place, (pixels, item) in enumerate(rows)
        if isinstance(pixels, str) and pixels in known and not is_blank(second.image(place))
    ]


def _digests(data: Items, whole_images: bool) -> np.ndarray:
    """Digest of every item's pixels (N,); null where it is not known."""
    own = data.items["content_hash"]
    whole = whole_images and IMAGE_HASH in data.items.columns
    return (data.items[IMAGE_HASH].fillna(own) if whole else own).to_numpy()
