"""Images that somebody's generator made: their rows, their lineage, and where they may not stand."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mirage.config import Config, load_config, slices
from mirage.config.datasets import DatasetConfig
from mirage.config.evaluations import SetEvaluation
from mirage.data import Dataset
from mirage.data.gather import gather
from mirage.data.leaks import check_test_set, check_training
from mirage.errors import ConfigError, DataError, LeakError
from mirage.evaluate.sides import sides
from mirage.graph import Graph
from mirage.prepare import prepare_shard
from mirage.sources import open_source

REAL = {"source": {"reader": "folder", "path": "real", "subject": r"(p\d+)"}, "prepare": {"size": 16}}
MADE = {"source": {"reader": "folder", "path": "made"}, "prepare": {"size": 16}, "made_from": "real"}


def save_images(folder: Path, names: list[str], seed: int, masks: bool = False) -> None:
    """Noise of 16 x 16 pixels, and masks of the same names in `masks`."""
    rng = np.random.default_rng(seed)
    for name in names:
        for place in [folder, *([folder / "masks"] if masks else [])]:
            place.mkdir(parents=True, exist_ok=True)
            values = rng.integers(0, 256, (16, 16), dtype=np.uint8)
            Image.fromarray(values if place == folder else (values > 127) * np.uint8(255)).save(place / name)


def prepared(folder: Path, config: dict[str, Any], made_from: Dataset | None = None) -> Dataset:
    """Prepare and gather a dataset whose source lies beside ``folder``."""
    source = {**config["source"], "path": str(folder.parent / config["source"]["path"])}
    entry = DatasetConfig.model_validate({**config, "source": source})
    prepare_shard(entry, open_source(entry.source, None), 0, folder)
    gather(
        folder, name=folder.name, shards=1, split=entry.split, max_failed_fraction=0.5, made_from=made_from
    )
    return Dataset(folder)


@pytest.fixture
def real(tmp_path: Path) -> Dataset:
    """Twelve patients with two images each, split as always."""
    save_images(tmp_path / "real", [f"p{number // 2:02d}_{number % 2}.png" for number in range(24)], 0)
    return prepared(tmp_path / "prepared", {**REAL, "split": {"val": 0.2, "test": 0.25}})


def test_made_images_are_synthetic_training_items_that_know_who_was_learnt(
    tmp_path: Path, real: Dataset
) -> None:
    """Origin, mask and split are set whatever the files say; the lineage is the training subjects."""
    save_images(tmp_path / "made", [f"{number}.png" for number in range(5)], 1, masks=True)
    (tmp_path / "made" / "broken.png").write_bytes(b"no image")
    source = {**MADE["source"], "masks": "masks/{name}"}
    made = prepared(tmp_path / "out", {**MADE, "source": source}, real)
    assert set(made.items["origin"]) == {"synthetic"}
    assert set(made.items["mask_origin"]) == {"synthetic"}
    assert set(made.items["split"]) == {"train"}
    assert list(made.failures["origin"]) == ["synthetic"]
    assert made.failures["split"].isna().all()
    training, held = real.select("train").subjects(), real.subjects() - real.select("train").subjects()
    assert made.learnt_from() - made.subjects() == training
    assert not made.learnt_from() & held
    assert made.info.provenance["made_from"] == real.info.name


def test_made_images_never_score(tmp_path: Path, real: Dataset) -> None:
    """They are refused as a test set, and as training for a test on those whom their generator has seen."""
    save_images(tmp_path / "made", ["0.png", "1.png"], 1)
    made = prepared(tmp_path / "out", MADE, real)
    with pytest.raises(LeakError, match="are synthetic"):
        check_test_set(made)
    check_training([made], real.select("test"))
    with pytest.raises(LeakError, match="has learnt from test subjects"):
        check_training([made], real.select("train"))


def test_donors_of_the_table_are_kept_by_their_namespace(tmp_path: Path, real: Dataset) -> None:
    """Two donors, one, none; the column itself is gone."""
    first, second, *_ = sorted(set(real.select("train").items["subject_id"]))
    save_images(tmp_path / "made", ["0.png", "1.png", "2.png"], 1)
    lines = ["file;donors;age", f'0.png;"{first}; {second}";40', f"1.png;{second};41", "2.png;;42"]
    (tmp_path / "made" / "table.csv").write_text("\n".join(lines))
    source = {**MADE["source"], "table": "table.csv"}
    items = prepared(tmp_path / "out", {**MADE, "source": source}, real).items
    space = real.info.namespace
    expected = [[f"{space}/{first}", f"{space}/{second}"], [f"{space}/{second}"], []]
    assert [list(donors) for donors in items["donor_subject_ids"]] == expected
    assert "donors" not in items
    assert list(items["age"]) == [40, 41, 42]


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("split", "test", "synthetic images are for training only"),
        ("donors", "{held}", "no training subjects"),
    ],
)
def test_held_out_marks_and_donors_are_refused(
    tmp_path: Path, real: Dataset, column: str, value: str, message: str
) -> None:
    """A table that puts a made image into the test set, or says it was made of a held-out patient."""
    save_images(tmp_path / "made", ["0.png"], 1)
    held = real.select("test").items["subject_id"].iloc[0]
    (tmp_path / "made" / "table.csv").write_text(f"file,{column}\n0.png,{value.format(held=held)}\n")
    with pytest.raises(LeakError, match=message):
        prepared(tmp_path / "out", {**MADE, "source": {**MADE["source"], "table": "table.csv"}}, real)
    assert not (tmp_path / "out" / "manifest.parquet").exists()


def test_nothing_can_be_made_from_a_dataset_without_training_items(tmp_path: Path) -> None:
    """All of it is held out."""
    save_images(tmp_path / "real", ["p01.png", "p02.png"], 0)
    save_images(tmp_path / "made", ["0.png"], 1)
    held = prepared(tmp_path / "held", {**REAL, "split": {"val": 0, "test": 1}})
    assert set(held.items["split"]) == {"test"}
    with pytest.raises(DataError, match="held has no training items"):
        prepared(tmp_path / "out", MADE, held)


def test_held_out_images_that_were_learnt_are_named(tmp_path: Path, real: Dataset) -> None:
    """The same pixels under another name; the same patient in a folder of the same namespace."""
    config = SetEvaluation(evaluator="any", real="prepared", heldout="held", synthetic="out")
    save_images(tmp_path / "made", ["0.png"], 1)
    made = prepared(tmp_path / "out", MADE, real)
    save_images(tmp_path / "real2", [f"q{number:02d}.png" for number in range(4)], 2)
    learnt = real.select("train").items["item_id"].iloc[0]
    shutil.copy(tmp_path / "real" / f"{learnt}.png", tmp_path / "real2" / "copy.png")
    other = {**REAL, "source": {"reader": "folder", "path": "real2"}, "split": {"val": 0, "test": 1}}
    held = prepared(tmp_path / "held", other)
    with pytest.raises(
        LeakError, match=rf"held: 1 of 5 held-out .* prepared: copy \(as {learnt}\); an image"
    ):
        sides(config, {"prepared": real, "held": held, "out": made})
    (tmp_path / "real2" / "copy.png").unlink()
    held = prepared(tmp_path / "held", other)
    assert len(sides(config, {"prepared": real, "held": held, "out": made}).heldout or []) == 4

    patient = real.select("train").items["subject_id"].iloc[0]
    save_images(tmp_path / "real2", [f"{patient}_9.png"], 3)
    space = {"namespace": real.info.namespace, "subject": r"([pq]\d+)"}
    held = prepared(tmp_path / "held", {**other, "source": {**other["source"], **space}})
    with pytest.raises(LeakError, match=f"of training subjects of prepared: .*{patient}; leave"):
        sides(config, {"prepared": real, "held": held, "out": made})


def configured(tmp_path: Path, keys: Mapping[str, str] = MappingProxyType({}), **datasets: Any) -> Config:
    """A study of real and made images, with keys of the evaluation, and datasets changed or added."""
    return load_config(
        {
            "run": ["study"],
            "datasets": {"real": REAL, "made": MADE, **datasets},
            "evaluations": {"looks": {"evaluator": "fidelity", "real": "real", "synthetic": "made", **keys}},
            "studies": {"study": {"title": "T", "question": "Q?", "evaluations": ["looks"]}},
        },
        tmp_path,
    )


@pytest.mark.parametrize(
    ("made", "message"),
    [
        ({"made_from": "reel"}, r"datasets.made.made_from: 'reel' is no dataset; did you mean 'real'\?"),
        ({"made_from": "made"}, r"datasets.made.made_from: 'made' holds images that a generator has made"),
        ({"split": {"test": 0.3}}, r"datasets.made: split: .* leave it out"),
    ],
)
def test_mistakes_in_made_from_are_named(tmp_path: Path, made: dict[str, Any], message: str) -> None:
    """Before anything runs."""
    with pytest.raises(ConfigError, match=message):
        configured(tmp_path, made={**MADE, **made})


@pytest.mark.parametrize(
    ("keys", "datasets", "message"),
    [
        ({"real": "made"}, {}, r"looks.real: 'made' holds images that a generator has made"),
        ({"heldout": "made"}, {}, r"looks.heldout: 'made' holds images that a generator has made"),
        ({"synthetic": "other"}, {}, r"looks.synthetic: 'other' is a dataset of real images; name a recipe"),
        (
            {"heldout": "other"},
            {"other": {**REAL, "prepare": {"size": 32}}},
            r"looks: 'other' has `prepare.size` 32, 'real' 16; prepare both alike",
        ),
        (
            {},
            {"made": {**MADE, "prepare": {"size": 16, "bits": 16}}},
            r"looks: 'made' has `prepare.bits` 16, 'real' 8; prepare both alike",
        ),
        (
            {"heldout": "other"},
            {"other": {**REAL, "source": {**REAL["source"], "channels": "grey"}}},
            r"looks: 'other' has `channels` \['grey'\], 'real' \['red', 'green', 'blue'\]",
        ),
    ],
)
def test_sides_that_cannot_be_compared_are_named(
    tmp_path: Path, keys: dict[str, str], datasets: dict[str, Any], message: str
) -> None:
    """Roles that a dataset cannot have, and datasets that are prepared in different ways."""
    with pytest.raises(ConfigError, match=message):
        configured(tmp_path, keys, **{"other": REAL, **datasets})


def test_a_change_of_made_from_remakes_the_manifest_alone(tmp_path: Path) -> None:
    """The pixels do not depend on what the generator has learnt; the study depends on both datasets."""
    before = configured(tmp_path, other=REAL)
    after = configured(tmp_path, other=REAL, made={**MADE, "made_from": "other"})
    assert slices.prepare_slice(before, "made") == slices.prepare_slice(after, "made")
    assert slices.gather_slice(before, "made") != slices.gather_slice(after, "made")
    assert before.study_data("study") == {"real", "made"}
    assert after.study_data("study") == {"real", "made", "other"}
    plan = Graph(before).report_plan("study")
    assert ("dataset:real", "recipe:made") in plan["edges"]
    assert ("recipe:made", "recipe") in plan["nodes"]
