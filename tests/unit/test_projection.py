"""Nodules of CT seen from the front, and inserted into radiographs as NODE21's baseline does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import TypeAdapter

from mirage import seeds
from mirage.config import load_config
from mirage.config.datasets import DatasetConfig
from mirage.config.recipes import RecipeConfig
from mirage.data import Dataset
from mirage.data.gather import gather
from mirage.data.leaks import check_training
from mirage.errors import ConfigError, DataError, LeakError
from mirage.prepare import prepare_shard
from mirage.preprocess.ct_projection import LEAST_CONTRAST, matched, project
from mirage.preprocess.lesions import insert, transformed
from mirage.recipes.base import write_shard
from mirage.recipes.project_and_insert import ProjectAndInsert, central
from mirage.simulate import simulate
from mirage.sources import open_source

RANGE = (0.0, 255.0)
NODULES: dict[str, Any] = {
    "source": {"reader": "node21_ct_nodules"},
    "simulate": {"subjects": 6, "size": 32},
    "prepare": {
        "kind": "volume",
        "size": [50, 50, 50],
        "brain": "none",
        "outside": "keep",
        "intensity": {"kind": "window", "low": -1024, "high": 1000},
    },
    "split": {"val": 0, "test": 0.34},
}
HOSTS: dict[str, Any] = {
    "source": {"reader": "nih_chest", "findings": ["No Finding"]},
    "simulate": {"subjects": 6, "size": 256},
    "prepare": {"size": 256, "fov": "none"},
    "split": {"val": 0, "test": 0.34},
}
REGISTRY = {"datasets": {"ct": NODULES, "healthy": HOSTS}}
CONFIG = Path(__file__).parents[2] / "config"
RECIPE: dict[str, Any] = {
    "recipe": "project_and_insert",
    "hosts": "healthy",
    "nodules": "ct",
    "count": 6,
    "per_image": [1, 2],
    "rotate_deg": 90,
}


def ball(radius: float, at: tuple[float, float, float] = (25, 25, 25), side: int = 50) -> np.ndarray:
    """bool (side, side, side), 1 in a ball."""
    axes = np.indices((side,) * 3)
    return sum((axis - middle) ** 2 for axis, middle in zip(axes, at, strict=True)) <= radius**2


def prepared(folder: Path, config: dict[str, Any], raw: Path | None = None) -> Dataset:
    """A dataset, simulated unless there are raw data, prepared and split."""
    entry = DatasetConfig.model_validate(config)
    if raw is None:
        raw = folder.with_name(f"{folder.name}-raw")
        own = seeds.integer(0, f"simulate/{folder.name}")
        assert entry.simulate is not None
        simulate(entry.simulate.model_copy(update={"seed": own}), entry.source.reader, raw)
    folder.mkdir()
    prepare_shard(entry, open_source(entry.source, raw if entry.simulate else None), 0, folder)
    gather(folder, name=folder.name, shards=1, split=entry.split, max_failed_fraction=0.05)
    return Dataset(folder)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> dict[str, Dataset]:
    folder = tmp_path_factory.mktemp("projection")
    return {"ct": prepared(folder / "ct", NODULES), "healthy": prepared(folder / "healthy", HOSTS)}


def made(folder: Path, data: dict[str, Dataset], **options: Any) -> Dataset:
    entry: Any = TypeAdapter(RecipeConfig).validate_python({**RECIPE, **options})
    folder.mkdir()
    built = ProjectAndInsert(entry, folder.name, {}, {}, data, set(), {})
    built.check()
    write_shard(built, 0, folder)
    gather(folder, name=folder.name, shards=1, split=None, max_failed_fraction=entry.max_failed_fraction)
    return Dataset(folder)


# --- projection -------------------------------------------------------------------------------------


def test_a_projection_is_the_mean_exponential_from_front_to_back():
    """A hand case: one dense voxel column of three, by the baseline's clip, scale and exponential."""
    hounsfield = np.full((5, 3, 5), -1000.0)
    mask = np.zeros((5, 3, 5), np.uint8)
    hounsfield[2, 1, 2], hounsfield[1, :, 2] = 400.0, 100.0
    mask[1, :, 2] = mask[2, 1, 2] = 1
    hounsfield[3, 1, 1] = 400.0  # outside the nodule: not seen
    lesion = project(hounsfield, mask, (1.0, 1.0, 1.0))
    air, soft = np.exp(0.85 * 0.524), np.exp(0.85 * 1.124)
    column = (2 * air + np.exp(1.0)) / 3  # attenuation is cut at 1
    assert soft == pytest.approx(np.exp(0.9554))
    expected = (column - air) / (soft - air)
    y, x = (int(value) for value in lesion.box.centre)
    # Rows run from head to feet: the row of the single voxel lies above that of the full column.
    values = lesion.original[lesion.original > 0]
    assert sorted(values) == pytest.approx([expected, 1.0])
    assert lesion.original[y - 1, x] == pytest.approx(expected)
    assert lesion.original[y, x] == pytest.approx(1.0)


def test_a_projection_lies_as_a_radiograph_does_and_keeps_lengths():
    """Head up, the patient's right on the left, anisotropic voxels made square."""
    mask = ball(6, (40, 25, 10))  # near the head and the patient's right
    lesion = project(np.where(mask, 40.0, -850.0), mask, (2.0, 1.0, 1.0))
    shadow = lesion.original > 0
    assert shadow.any(axis=1).sum() == pytest.approx(2 * 13, abs=2)
    assert shadow.any(axis=0).sum() == pytest.approx(13, abs=1)
    assert lesion.box.size == pytest.approx((26, 26), abs=2)
    height, width = shadow.shape
    assert lesion.box.centre[0] < height / 2
    assert lesion.box.centre[1] < width / 2
    assert lesion.support[~shadow].max() < 1
    assert (lesion.original[lesion.support == 0] == 0).all()


def test_contrast_follows_the_lung_and_never_falls_below_the_baselines_least():
    """ln of the ratio of means in dark lung, 0.4 in bright lung; half of it is added."""
    lesion = project(np.where(ball(8), 40.0, -850.0), ball(8), (1.0, 1.0, 1.0))
    mean = lesion.original[lesion.core].mean()
    dark, contrast = matched(lesion, np.full((20, 20), 25.5), RANGE)
    assert contrast == pytest.approx(np.log(mean / 0.1))
    assert dark.original.max() == pytest.approx(contrast * 255)
    assert dark.residual.max() == pytest.approx(contrast * 255 / 2)
    assert matched(lesion, np.full((20, 20), 200.0), RANGE)[1] == LEAST_CONTRAST


@pytest.mark.parametrize("blend", ["mixed", "additive"])
def test_inserted_pixels_brighten_and_all_others_keep_their_bits(blend):
    """On a flat lung both blends add half the nodule; outside the soft edge nothing changes."""
    host = np.full((120, 120), 60, np.uint8)
    lesion = transformed(project(np.where(ball(8), 40.0, -850.0), ball(8), (1.0, 1.0, 1.0)), 0, 1.5)
    lesion, contrast = matched(lesion, host, RANGE)
    blended = insert(host, lesion, (60, 50), blend, RANGE)
    np.testing.assert_array_equal(blended.image[~blended.touched], host[~blended.touched])
    added = blended.image.astype(float) - host
    assert added.max() == pytest.approx(contrast * 255 / 2, rel=0.1)
    assert added[blended.label > 0].min() >= 0
    assert blended.box.centre == (60, 50)
    assert blended.box.side == pytest.approx(1.5 * 17, abs=1)


def test_mixed_gradients_let_the_hosts_edges_shine_through():
    """A rib's edge under the nodule stays as steep; ordinary cloning erases it."""
    host = np.full((120, 120), 60.0)
    host[:, 62:] += 120
    lesion = transformed(project(np.where(ball(10), 40.0, -850.0), ball(10), (1.0, 1.0, 1.0)), 0, 1.5)
    lesion, _ = matched(lesion, host, RANGE)
    steps = {}
    for blend in ("mixed", "poisson"):
        image = insert(host.astype(np.uint8), lesion, (60, 60), blend, RANGE).image.astype(float)
        steps[blend] = abs(image[56:64, 62] - image[56:64, 61]).mean()
    assert steps["mixed"] > 80
    assert steps["poisson"] < 40


def test_what_cannot_be_projected_is_refused():
    """An empty mask, and a nodule that is nowhere denser."""
    with pytest.raises(DataError, match="mask of the CT nodule is empty"):
        project(np.zeros((9, 9, 9)), np.zeros((9, 9, 9)), (1.0, 1.0, 1.0))
    with pytest.raises(DataError, match="nowhere denser than -500"):
        project(np.full((9, 9, 9), -900.0), ball(2, (4, 4, 4), 9), (1.0, 1.0, 1.0))


def test_the_nodule_of_a_patch_is_the_piece_in_its_middle():
    """Another nodule in the corner of the same cube is left out."""
    both = ball(5) | ball(6, (8, 8, 8))
    np.testing.assert_array_equal(central(both), ball(5))
    np.testing.assert_array_equal(central(ball(4, (9, 9, 9))), ball(4, (9, 9, 9)))


# --- the recipe -------------------------------------------------------------------------------------


def test_projected_nodules_lie_in_boxes_with_masks_and_donors(tmp_path, data):
    """Every other pixel is the host's; sizes are those that were asked for; both patients are donors."""
    found = made(tmp_path / "synthetic", data, diameter_mm=[12, 30])
    hosts = data["healthy"]
    train = {
        f"{one.info.namespace}/{subject}"
        for one in data.values()
        for subject in one.select("train").items["subject_id"]
    }
    assert len(found) == 6
    patients = dict(data["ct"].items[["item_id", "subject_id"]].to_numpy())
    for index in range(len(found)):
        item = found.item(index)
        number = int(np.flatnonzero(hosts.items["item_id"] == item.attributes["host_item"])[0])
        before, label = hosts.image(number)[0].astype(int), found.mask(index)
        change = item.image[0].astype(int) - before
        assert 1 <= len(item.boxes) <= 2
        inside = np.zeros(label.shape, bool)
        for box, diameter in zip(item.boxes, item.attributes["lesion_diameter_mm"], strict=True):
            assert box["label"] == "Nodule"
            assert 12 <= diameter <= 30
            pixel = np.mean(hosts.spacing_mm(number))
            side = (box["x1"] - box["x0"] + box["y1"] - box["y0"]) / 2
            assert side * pixel == pytest.approx(diameter, rel=0.02)
            grown = [int(np.floor(box["y0"] - 0.3 * side)), int(np.ceil(box["y1"] + 0.3 * side))]
            across = [int(np.floor(box["x0"] - 0.3 * side)), int(np.ceil(box["x1"] + 0.3 * side))]
            inside[max(0, grown[0]) : grown[1], max(0, across[0]) : across[1]] = True
        assert (change[~inside] == 0).all()
        assert (label[~inside] == 0).all()
        assert change[label > 0].mean() > 10
        donors = found.items["donor_subject_ids"].iloc[index]
        assert set(donors) <= train
        assert {donor.rpartition("/")[0] for donor in donors} == {one.info.namespace for one in data.values()}
        assert len(donors) == 1 + len({patients[name] for name in item.attributes["lesion_item"]})


def test_the_same_seed_gives_the_same_items_however_they_are_cut(tmp_path, data):
    """Item by item, and another seed gives others."""
    one, same, other = (
        made(tmp_path / name, data, seed=seed) for name, seed in (("a", 0), ("b", 0), ("c", 1))
    )
    assert all(np.array_equal(one.image(n), same.image(n)) for n in range(6))
    assert not all(np.array_equal(one.image(n), other.image(n)) for n in range(6))


def test_training_on_nodules_of_a_test_patient_is_refused(tmp_path, data):
    """The CT patient is a donor, so that a test set with this patient cannot be judged."""
    found = made(tmp_path / "synthetic", data)
    check_training([found], data["healthy"].select("test"))
    for donors in ("ct", "healthy"):
        with pytest.raises(LeakError):
            check_training([found], data[donors].select("train"))


def test_hosts_without_spacing_need_it_said_and_unfit_data_are_refused(tmp_path, data):
    """No spacing, hosts with boxes, CT that is no nodule."""
    hosts = data["healthy"]._view(
        data["healthy"].items.drop(columns=["spacing_h_mm", "spacing_w_mm"], errors="ignore")
    )
    hosts.info = hosts.info.model_copy(update={"spacing_mm": None})
    with pytest.raises(DataError, match="failed"):
        made(tmp_path / "a", {**data, "healthy": hosts}, max_failed_fraction=0.5)
    assert len(made(tmp_path / "b", {**data, "healthy": hosts}, pixel_mm=1.4)) == 6
    whole = data["ct"]._view(data["ct"].items.drop(columns=["nodule"]))
    with pytest.raises(DataError, match="`items: nodules`"):
        made(tmp_path / "c", {**data, "ct": whole})


def test_the_configuration_wants_radiographs_and_ct_in_a_window():
    """Hosts and nodules are of two kinds, and each must be of its own."""
    load_config({"run": ["quickstart"], **REGISTRY, "recipes": {"rival": RECIPE}}, CONFIG)
    for changed, message in (
        ({"hosts": "ct"}, "'ct' holds volumes, expected radiographs"),
        ({"nodules": "healthy"}, "'healthy' must hold CT volumes"),
        ({"diameter_mm": [30, 8]}, "smallest first"),
    ):
        with pytest.raises(ConfigError, match=message):
            load_config(
                {"run": ["quickstart"], **REGISTRY, "recipes": {"rival": {**RECIPE, **changed}}}, CONFIG
            )


def test_real_ct_nodules_are_projected_into_real_radiographs(tmp_path, shared_data):
    """All 37 patches; healthy radiographs of NIH's archive; every one gets its nodule."""
    nodules = {
        **NODULES,
        "simulate": None,
        "source": {
            "reader": "node21_ct_nodules",
            "path": str(shared_data / "LUNA16-NODE21-patches"),
            "partial": True,
        },
    }
    hosts = {
        **HOSTS,
        "simulate": None,
        "prepare": {"size": 512, "fov": "none"},
        "source": {
            "reader": "nih_chest",
            "path": str(shared_data / "NIH-ChestXray"),
            "partial": True,
            "findings": ["No Finding"],
        },
    }
    data = {
        "ct": prepared(tmp_path / "ct", nodules, raw=tmp_path),
        "healthy": prepared(tmp_path / "healthy", hosts, raw=tmp_path),
    }
    assert len(data["ct"]) == 37
    found = made(tmp_path / "rival", data, count=10, per_image=[1, 1])
    assert len(found) == 10
    for index in range(10):
        assert found.item(index).attributes["lesion_contrast"][0] > 0.03
        assert found.mask(index).sum() > 15
