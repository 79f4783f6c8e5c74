"""Splits by subject, duplicates, gathering and leak checks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mirage.config.base import Part
from mirage.config.datasets import SplitOptions
from mirage.data import Dataset, ItemRow, ShardWriter, shard_name
from mirage.data.gather import gather
from mirage.data.leaks import check_training
from mirage.data.manifest import to_table, write_manifest
from mirage.data.shards import content_hash
from mirage.data.splits import assign_splits, link_subjects
from mirage.errors import DataError, LeakError
from mirage.files import write_json

SHAPE = (1, 8, 8)


def write(folder: Path, items: list[dict[str, Any]], shards: int = 2, **facts: Any) -> Path:
    """Ungathered shards of constant images; item i has the value i unless it says `value`."""
    for shard in range(shards):
        stem = folder / shard_name(shard, shards)
        rows = []
        with ShardWriter(stem.with_suffix(".arrow"), SHAPE, np.uint8) as writer:
            for index, given in list(enumerate(items))[shard::shards]:
                known = dict(given)
                image = np.full(SHAPE, known.pop("value", index), np.uint8)
                row = ItemRow(**{"item_id": f"item{index}", "origin": "real", "shard": shard, **known})
                if row.status == "ok":
                    row.row, row.content_hash = writer.append(image), content_hash(image)
                rows.append(row)
        write_manifest(stem.with_suffix(".parquet"), to_table(rows))
        common = {
            "namespace": "test",
            "modality": "none",
            "image_shape": list(SHAPE),
            "image_dtype": "uint8",
            "value_range": [0, 255],
            "channel_names": ["grey"],
            "mask_channels": [],
            "labels": {},
            "spacing_mm": None,
            "made_by": {"stage": "test"},
            "items": sum(row.status == "ok" for row in rows),
        }
        write_json(stem.with_suffix(".json"), {**common, **facts})
    return folder


def collect(folder: Path, split: SplitOptions | None = None, **options: Any) -> Dataset:
    """Gather two shards and open the dataset."""
    arguments = {"shards": 2, "max_failed_fraction": 0.0, "name": folder.name, **options}
    gather(folder, split=split, **arguments)
    return Dataset(folder)


def subjects(count: int, images: int = 2) -> list[dict[str, Any]]:
    return [{"subject_id": f"s{index // images:02d}"} for index in range(count * images)]


def test_both_images_of_a_subject_share_a_split(tmp_path: Path) -> None:
    """Both eyes of a child stay together, and the shares are met in subjects."""
    data = collect(write(tmp_path / "d", subjects(10)), SplitOptions(val=0.1, test=0.3))
    per_subject = data.items.groupby("subject_id")["split"].nunique()
    assert (per_subject == 1).all()
    assert data.items.groupby("split")["subject_id"].nunique().to_dict() == {"test": 3, "train": 6, "val": 1}


def test_split_does_not_depend_on_shards(tmp_path: Path) -> None:
    """The same subjects are held out however the dataset is cut."""
    one = collect(write(tmp_path / "a", subjects(10), shards=1), SplitOptions(), shards=1)
    two = collect(write(tmp_path / "b", subjects(10), shards=2), SplitOptions())
    assert dict(zip(one.items.item_id, one.items.split, strict=True)) == dict(
        zip(two.items.item_id, two.items.split, strict=True)
    )


def test_native_test_set_is_kept(tmp_path: Path) -> None:
    """A source's own test set stays the test set; validation comes out of the rest."""
    items = [{"subject_id": f"s{i}", "split": "test" if i < 5 else "train"} for i in range(20)]
    data = collect(write(tmp_path / "d", items), SplitOptions(val=0.2, test=0.9))
    assert sorted(data.items.subject_id[data.items.split == "test"]) == [f"s{i}" for i in range(5)]
    assert (data.items.split == "val").sum() == 3


def test_subject_in_two_native_splits_is_refused(tmp_path: Path) -> None:
    """The message names the subject and how to mend it."""
    items = [{"subject_id": "eve", "split": "train"}, {"subject_id": "eve", "split": "test"}]
    with pytest.raises(LeakError, match=r"'eve'.*split.by: random"):
        collect(write(tmp_path / "d", items), SplitOptions())


def test_subjects_with_the_same_image_are_kept_together(tmp_path: Path) -> None:
    """A picture filed under two names cannot end on two sides of the split."""
    items = [{"subject_id": f"s{i}", "value": i // 2} for i in range(40)]
    data = collect(write(tmp_path / "d", items), SplitOptions(val=0.2, test=0.4))
    assert (data.items.groupby("content_hash")["split"].nunique() == 1).all()
    assert data.info.duplicates == 20


def test_same_image_in_native_train_and_test_is_refused() -> None:
    """Where the source itself splits, a duplicate across it is an error."""
    groups = link_subjects(["a", "b"], ["same", "same"])
    with pytest.raises(LeakError, match="pixel-identical"):
        assign_splits({"a": {"train"}, "b": {"test"}}, groups, SplitOptions(), "d")


def test_one_group_is_always_left_for_training() -> None:
    """Shares that ask for more subjects than there are still leave one to learn from."""
    groups = {"a": "a", "b": "b"}
    splits = assign_splits({"a": set(), "b": set()}, groups, SplitOptions(val=0.5, test=0.5), "d")
    assert sorted(splits.values()) == ["test", "train"]


def test_too_many_failures_are_refused_and_named(tmp_path: Path) -> None:
    """The job fails above the limit, and the message holds the reasons."""
    items = [*subjects(4, 1), {"subject_id": "x", "status": "failed", "reason": "x.png: truncated"}]
    folder = write(tmp_path / "d", items)
    with pytest.raises(DataError, match=r"1 of 5 items failed(.|\n)*x.png: truncated"):
        collect(folder, SplitOptions(), max_failed_fraction=0.1)
    data = collect(folder, SplitOptions(), max_failed_fraction=0.2)
    assert len(data) == 4
    assert list(data.failures.reason) == ["x.png: truncated"]


def test_item_ids_that_repeat_are_refused(tmp_path: Path) -> None:
    """Two files of one name would overwrite each other's rows."""
    items = [{"subject_id": "a", "item_id": "same"}, {"subject_id": "b", "item_id": "same"}]
    with pytest.raises(DataError, match="occur twice: same"):
        collect(write(tmp_path / "d", items), SplitOptions())


def test_fingerprint_follows_pixels(tmp_path: Path) -> None:
    """Equal data have equal fingerprints, one changed pixel another."""
    prints = []
    for name, value in (("a", 1), ("b", 1), ("c", 2)):
        items = [{"subject_id": "s", "value": value}, {"subject_id": "t", "value": 9}]
        prints.append(collect(write(tmp_path / name, items), SplitOptions()).info.fingerprint)
    assert prints[0] == prints[1] != prints[2]


def test_few_images_are_nested(tmp_path: Path) -> None:
    """The first 3 images of an arm are among its first 5."""
    data = collect(write(tmp_path / "d", subjects(10, 1)), SplitOptions(val=0, test=0)).select("train")
    few, more = (set(data.select(images=n).items.item_id) for n in (3, 5))
    assert len(few) == 3
    assert few < more


def test_a_seed_chooses_which_images_few_ones_are(tmp_path: Path) -> None:
    """Nested within a seed, the same each time, another choice for another seed and without one."""
    data = collect(write(tmp_path / "d", subjects(40, 1)), SplitOptions(val=0, test=0))

    def part(images: int, seed: int | None) -> frozenset[str]:
        view = data.training_part(Part(images=images), seed)
        assert len(view) == images
        return frozenset(view.items.item_id)

    assert all(part(5, seed) < part(10, seed) for seed in (None, *range(4)))
    assert part(5, 1) == part(5, 1)
    assert len({part(5, seed) for seed in (None, *range(4))}) == 5
    assert part(5, None) == frozenset(data.select("train", 5).items.item_id)


def synthetic(folder: Path, **facts: Any) -> Dataset:
    items = [{"subject_id": "made", "origin": "synthetic", "split": "train"}]
    return collect(write(folder, items * 1, shards=1, **{"namespace": "recipe", **facts}), shards=1)


def test_training_on_test_subjects_is_refused(tmp_path: Path) -> None:
    """Directly, through the lineage of a generator, or through a donor."""
    data = collect(write(tmp_path / "d", subjects(10)), SplitOptions())
    test = data.select("test")
    victim = sorted(test.subjects())[0]
    check_training([data.select("train"), synthetic(tmp_path / "clean")], test)
    with pytest.raises(LeakError, match="has learnt from test subjects"):
        check_training([data], test)
    with pytest.raises(LeakError, match=victim):
        check_training([synthetic(tmp_path / "leaky", lineage=[victim])], test)
    donated = [{"subject_id": "made", "origin": "synthetic", "split": "train", "donor_subject_ids": [victim]}]
    folder = write(tmp_path / "donor", donated, shards=1, namespace="recipe")
    with pytest.raises(LeakError, match=victim):
        check_training([collect(folder, shards=1)], test)


@pytest.mark.parametrize("row", [{"origin": "synthetic"}, {"mask_origin": "predicted"}])
def test_synthetic_or_predicted_items_in_a_test_set_are_refused(tmp_path: Path, row: dict[str, str]) -> None:
    """Held-out items are real images with their own labels."""
    items = [{"subject_id": "a", "split": "test", **row}, {"subject_id": "b", "split": "train"}]
    data = collect(write(tmp_path / "d", items))
    with pytest.raises(LeakError, match="item0 are synthetic or carry predicted labels"):
        check_training([data.select("train")], data.select("test"))
