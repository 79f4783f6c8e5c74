"""Subjects that several archives name differently: whoever is trained on under one name is known by all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from boxed import boxed_dataset
from pydantic import TypeAdapter

from mirage.config.datasets import SourceOptions
from mirage.data import Dataset
from mirage.data.leaks import check_training
from mirage.data.manifest import write_manifest
from mirage.errors import LeakError
from mirage.evaluate.holdout import hold_out
from mirage.evaluate.sides import check_lineage
from mirage.files import read_json, write_json
from mirage.generators.base import ImageSpec
from mirage.recipes.base import Made, Recipe, write_shard
from mirage.sources import open_source

ITEMS = 20


def archive(folder: Path, namespace: str, names: Sequence[str] = (), **more: Any) -> Dataset:
    """Boxed images of an archive, all of whose subjects are also known by some names."""
    data = boxed_dataset(folder, columns={"also_known_as": [list(names)] * ITEMS, **more})
    facts = read_json(folder / "dataset.json")
    write_json(folder / "dataset.json", {**facts, "namespace": namespace})
    return Dataset(data.folder)


class Copies(Recipe):
    """The training images of its dataset, as if they were made of them."""

    count, mask_channels = 2, []

    @property
    def spec(self) -> ImageSpec:
        return ImageSpec.of(self.datasets["node21"].info)

    def make(self, indices: Sequence[int]) -> Iterator[Made]:
        data = self.datasets["node21"].select("train")
        for index in indices:
            donor = f"{data.info.namespace}/{data.items['subject_id'].iloc[index]}"
            yield Made(self.row(index, donor_subject_ids=[donor]), data.image(index))


def test_who_is_trained_on_under_another_name_is_refused(tmp_path: Path) -> None:
    """Either side may be the one that knows both names; what is made of a donor knows its names too."""
    nih = archive(tmp_path / "nih", "nih_chest", subject_id=[f"0000{n:04d}" for n in range(ITEMS)])
    known = nih.select("test").items["subject_id"].iloc[0]
    node21 = archive(tmp_path / "node21", "node21", [f"nih_chest/{known}"])
    with pytest.raises(LeakError, match=f"node21 has learnt from test subjects of nih: nih_chest/{known}"):
        check_training([node21.select("train")], nih.select("test"))
    learnt = nih.select("train").items["subject_id"].iloc[0]
    other = archive(tmp_path / "other", "node21", [f"nih_chest/{learnt}"])
    with pytest.raises(LeakError, match=f"nih has learnt from test subjects of other: nih_chest/{learnt}"):
        check_training([nih.select("train")], other.select("test"))
    check_training([other.select("train")], nih.select("test"))
    assert len(other.of_subjects({f"nih_chest/{learnt}"})) == ITEMS
    assert not len(other.of_subjects({f"nih_chest/{known}"}))

    made = tmp_path / "made"
    options = SimpleNamespace(shards=1, seed=0, model_dump=lambda **_: {})
    write_shard(Copies(options, "made", {}, {}, {"node21": node21}, set(), {}), 0, made)
    rows = pq.read_table(made / "shard-0000-of-0001.parquet")
    assert rows["also_known_as"].to_pylist() == [[f"nih_chest/{known}"]] * 2


def test_generators_pass_the_names_on(tmp_path: Path) -> None:
    """A lineage has all names of who was learnt from, and fits training items that have them as aliases."""
    node21 = archive(tmp_path / "node21", "node21", ["nih_chest/00000001"])
    assert "nih_chest/00000001" in node21.select("train").learnt_from()
    made = boxed_dataset(
        tmp_path / "made",
        origin="synthetic",
        lineage=("nih_chest/00000001",),
        columns={"split": "train", "subject_id": [f"made{n}" for n in range(ITEMS)]},
    )
    check_lineage(node21.select("train"), None, made)
    with pytest.raises(LeakError, match="held-out subjects of node21: nih_chest/00000001"):
        check_lineage(made, node21.select("test"), made)


def test_a_patient_of_two_archives_is_held_out_of_both(tmp_path: Path) -> None:
    """A detector that learns from both must not be asked on the one for whom it has seen on the other."""
    subjects = [f"0000{n:04d}" for n in range(ITEMS)]
    nih = archive(tmp_path / "nih", "nih_chest", subject_id=subjects)
    node21 = archive(tmp_path / "node21", "node21", subject_id=[f"chestxray14_{one}" for one in subjects])
    node21.items["also_known_as"] = [[f"nih_chest/{one}", "jsrt/*"] for one in subjects]
    held = hold_out({"pretrain": [], "train": [nih.select("train"), node21.select("train")]}, 0.25)
    assert held.own is not None
    assert held.groups == (12, 3)
    learnt = set().union(*(view.subjects() | view.other_names() for view in held.kept["train"]))
    assert learnt.isdisjoint(held.own.parts[0].subjects() | held.own.parts[1].subjects())


@pytest.mark.parametrize("namespace", ["nih_chest", "jsrt"])
def test_archives_whose_shared_subjects_nobody_knows_are_kept_apart(tmp_path: Path, namespace: str) -> None:
    """The message says which table tells; within one archive, and beside a third one, there is no doubt."""
    nobody_knows = archive(tmp_path / "node21", "node21", ["nih_chest/*", "jsrt/*"])
    other, third = archive(tmp_path / "other", namespace), archive(tmp_path / "third", "chexpert")
    for training, test in ((nobody_knows, other), (other, nobody_knows)):
        with pytest.raises(LeakError, match=rf"subjects of {namespace}, .*filenames_orig_and_new\.csv"):
            check_training([training.select("train")], test.select("test"))
    for training, test in ((nobody_knows, third), (third, nobody_knows), (nobody_knows, nobody_knows)):
        check_training([training.select("train")], test.select("test"))
    assert not len(nobody_knows.of_subjects({"nih_chest/*"}))


def test_datasets_from_before_there_were_names_are_read(tmp_path: Path) -> None:
    """Their subjects have one name."""
    data = boxed_dataset(tmp_path / "old")
    path = data.folder / "manifest.parquet"
    write_manifest(path, pq.read_table(path).drop_columns(["also_known_as"]))
    old = Dataset(data.folder)
    assert old.other_names() == set()
    assert old.learnt_from() == old.subjects()
    assert len(old.of_subjects(old.subjects())) == len(old)


def names_of(root: Path, originals: str | None) -> dict[str, list[str]]:
    """Item -> names, as the reader of NODE21 has them, of real data without pixels."""
    (root / "images").mkdir(parents=True)
    listed = ["n0001", "n0002", "c0003", "c0004", "c0005"]
    for name in listed:
        np.zeros(1).tofile(root / "images" / f"{name}.mha")
    rows = "".join(f"9,{name}.mha,{int(name[0] == 'n')},9,1,1\n" for name in listed)
    (root / "metadata.csv").write_text("height,img_name,label,width,x,y\n" + rows)
    if originals is not None:
        (root / "filenames_orig_and_new.csv").write_text(
            "node21_img_id,orig_dataset,orig_img_id\n" + originals
        )
    source = open_source(TypeAdapter(SourceOptions).validate_python({"reader": "node21", "path": str(root)}))
    return {item.item_id: list(item.also_known_as) for item in source.items()}


def test_images_of_node21_have_the_names_of_the_archives_they_come_from(tmp_path: Path) -> None:
    """By the table of originals; an image that it does not list may be of somebody there."""
    table = (
        "n0001,chestxray14,00013118_004.png\nn0002,jsrt,JPCLN003.png\n"
        "c0003,padchest,2163_1_2.png\nc0004,chestxray14,lost\n"
    )
    assert names_of(tmp_path / "known", table) == {
        "n0001": ["nih_chest/00013118"],
        "n0002": ["jsrt/JPCLN003"],
        "c0003": [],
        "c0004": ["nih_chest/*"],
        "c0005": ["nih_chest/*", "jsrt/*"],
    }
    unknown = names_of(tmp_path / "unknown", None)
    assert set(map(tuple, unknown.values())) == {("nih_chest/*", "jsrt/*")}
