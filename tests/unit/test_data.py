"""Reading datasets: items with what is known of them, several datasets as one, and cheap imports."""

from __future__ import annotations

import pickle
import subprocess
import sys

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mirage.data import Dataset, Items
from mirage.data.leaks import check_training
from mirage.data.manifest import ABSENT, BOX
from mirage.data.pool import Pool
from mirage.errors import DataError, LeakError


def replace_column(data: Dataset, name: str, values: list, kind: pa.DataType) -> Dataset:
    """The dataset with another column in its manifest."""
    path = data.folder / "manifest.parquet"
    table = pq.read_table(path)
    at = table.column_names.index(name)
    pq.write_table(table.set_column(at, name, pa.array(values, kind)), path)
    return Dataset(data.folder)


def test_an_item_holds_pixels_boxes_and_what_is_known_of_it(toy_dataset):
    """Attributes are the manifest's columns beside the core ones, plain values, None when unknown."""
    data = toy_dataset(splits={"train": 3})
    box = {"x0": 1.0, "y0": 2.0, "x1": 3.5, "y1": 4.0, "label": "disc"}
    data = replace_column(data, "boxes", [[box], [], [box, box]], pa.list_(BOX))
    data = replace_column(data, "age", [40, None, 42], pa.int64())
    first, second, third = (data.item(index) for index in range(3))
    np.testing.assert_array_equal(first.image, data.image(0))
    np.testing.assert_array_equal(first.masks, data.masks(0))
    assert first.boxes == [box]
    assert [len(second.boxes), len(third.boxes)] == [0, 2]
    assert first.attributes == {"age": 40, "sex": "F"}
    assert second.attributes == {"age": None, "sex": "M"}
    assert type(first.attributes["age"]) in (int, float)
    assert toy_dataset("bare", labels=0, fov=False).item(0).masks is None


def test_a_pool_reads_like_a_dataset_and_knows_all_its_subjects(toy_dataset):
    """Items of the parts in a row, channels that all share, lineage and leaks of every part."""
    a = toy_dataset("a", splits={"train": 2, "test": 1}, observer2=True)
    b = toy_dataset("b", splits={"train": 3}, seed=1, lineage=("toy:0/test_s0",))
    pool = Pool([a.select("train"), b])
    assert isinstance(pool, Items)
    assert len(pool) == 5
    assert pool.info.name == "a+b"
    assert pool.info.mask_channels == ["label", "fov"]
    np.testing.assert_array_equal(pool.item(3).image, b.image(1))
    np.testing.assert_array_equal(pool.item(1).masks, a.masks(1)[:2])
    np.testing.assert_array_equal(pool.mask(4, "fov"), b.mask(2, "fov"))
    assert pool.item(2).attributes["dataset"] == "b"
    assert list(pool.items["dataset"]) == ["a"] * 2 + ["b"] * 3
    assert pool.subjects() == a.select("train").subjects() | b.subjects()
    assert pool.learnt_from() == pool.subjects() | {"toy:0/test_s0"}
    with pytest.raises(LeakError, match="test_s0"):
        check_training([pool], a.select("test"))
    with pytest.raises(DataError, match="no mask channel 'observer2'"):
        pool.mask(0, "observer2")
    assert len(Pool([pool, a.select("test")])) == 6
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(pool)).image(4), b.image(2))


def test_a_pool_makes_labels_binary_but_leaves_absent_masks_absent(toy_dataset):
    """Chosen values become 1; a mask of 255, which nobody has drawn, does not become background."""
    data = toy_dataset(labels=3, splits={"train": 2})
    pool = Pool([data], foreground=[1, 3], foreground_name="discs")
    assert pool.info.labels == {1: "discs"}
    np.testing.assert_array_equal(pool.mask(0), np.isin(data.mask(0), [1, 3]))
    np.testing.assert_array_equal(pool.mask(0, "fov"), data.mask(0, "fov"))

    absent = data.masks(1).copy()
    absent[0] = ABSENT
    data.masks = lambda index: absent
    assert (pool.mask(1) == ABSENT).all()


def test_datasets_that_differ_are_not_pooled(toy_dataset):
    """The message names both and the key."""
    data = toy_dataset("a")
    with pytest.raises(DataError, match="b has image_shape"):
        Pool([data, toy_dataset("b", size=48)])
    with pytest.raises(DataError, match="c has labels"):
        Pool([data, toy_dataset("c", labels=2)])
    with pytest.raises(DataError, match="d: no mask channel `label`"):
        Pool([data, toy_dataset("d", labels=0)], foreground=[1])
    with pytest.raises(DataError, match="name at least one"):
        Pool([])


def test_empty_views_are_pooled(toy_dataset):
    """A split without items adds nothing and breaks nothing."""
    data = toy_dataset(splits={"train": 2})
    assert len(Pool([data.select("val"), data])) == 2
    assert len(Pool([data.select("val")])) == 0
    assert isinstance(Pool([data.select("val")]).items, pd.DataFrame)


def test_what_the_snakefile_imports_stays_light():
    """Planning loads neither tables nor tensors; the names of the package still work."""
    code = (
        "import sys, mirage.graph, mirage.data.names, mirage.sources\n"
        "heavy = {'pandas', 'pyarrow', 'torch', 'monai', 'skimage', 'matplotlib'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "from mirage.data import Dataset, Item, ShardWriter, shard_name\n"
        "assert shard_name(3, 8) == 'shard-0003-of-0008'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
