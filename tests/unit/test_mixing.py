"""Tumours of one subject on brains of others: the array functions, and the recipes that use them."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from pydantic import TypeAdapter, ValidationError
from typer.testing import CliRunner

from mirage.cli import app
from mirage.config.recipes import RecipeConfig
from mirage.data import Dataset
from mirage.data.gather import gather
from mirage.data.leaks import check_training
from mirage.errors import DataError, LeakError
from mirage.preprocess.tumour_mixing import (
    Freedom,
    Placement,
    Subject,
    carve,
    carve_mix,
    check_inside,
    copy_paste,
    harmonised,
    move,
    place_label,
)

EXTENT = (16, 20, 24)
RANGE = (0.0, 65535.0)
SMALL = {"f_maps": 4, "levels": 3, "discriminator_f_maps": 4, "discriminator_levels": 2, "local_crop": 0}


def ball(centre: tuple[float, ...], radius: float) -> np.ndarray:
    """A ball of EXTENT, bool."""
    axes = np.ogrid[tuple(slice(side) for side in EXTENT)]
    return sum((axis - c) ** 2 for axis, c in zip(axes, centre, strict=True)) <= radius**2


def subject(seed: int, centre: tuple[float, ...] = (8, 9, 8), radius: float = 3.5) -> Subject:
    """A noisy brain with a bright tumour in two shells; 0 outside."""
    rng = np.random.default_rng(seed)
    brain = ball((8, 10, 12), 7.5)
    label = np.where(ball(centre, radius), 2, 0) + ball(centre, radius / 2)
    grey = 20_000 + 5000 * seed + rng.normal(0, 1000 * (seed + 1), (2, *EXTENT)) + 10_000 * (label > 0)
    return Subject((grey * brain).astype(np.uint16), (label * brain).astype(np.uint8), brain.astype(np.uint8))


def test_labels_move_exactly_by_mirror_and_shift():
    """Left and right change places about the middle of the volume; a shift goes by whole voxels."""
    label = np.random.default_rng(0).integers(1, 4, EXTENT).astype(np.uint8)
    tumour = np.ones(EXTENT, bool)
    assert np.array_equal(move(label, tumour, Placement()), label)
    assert np.array_equal(move(label, tumour, Placement(mirror=True)), label[..., ::-1])
    shifted = move(label, tumour, Placement(shift=(1, -2, 3)))
    assert np.array_equal(shifted[1:, :-2, 3:], label[:-1, 2:, :-3])
    assert not shifted[0].any()
    image = np.random.default_rng(1).random((2, *EXTENT), np.float32)
    assert np.array_equal(move(image, tumour, Placement(mirror=True)), image[..., ::-1])


def test_scaled_and_turned_tumours_keep_their_centre():
    """The volume grows with the third power of the scale; a quarter turn in the axial plane is exact."""
    tumour = ball((8, 9, 12), 3)
    for scale in (0.7, 1.4):
        moved = move(tumour.astype(np.uint8), tumour, Placement(scale=scale))
        assert moved.sum() == pytest.approx(tumour.sum() * scale**3, rel=0.25)
        assert np.argwhere(moved).mean(axis=0) == pytest.approx((8, 9, 12), abs=0.1)
    bar = np.zeros(EXTENT, np.uint8)
    bar[8, 9, 10:15] = 1
    turned = move(bar, bar > 0, Placement(turn_deg=90))
    assert turned[8, 7:12, 12].all()
    assert turned.sum() == 5


@pytest.mark.parametrize("freedom", [Freedom(), Freedom(mirror=True, scale=0.3, shift=6)])
def test_a_placed_tumour_lies_inside_the_brain(freedom):
    """Cut off at its edge and nothing else; where there is freedom, placements wholly inside come first."""
    brain = ball((8, 10, 12), 7)
    label = np.where(ball((8, 10, 16), 4), 3, 0).astype(np.uint8)
    placements = set()
    for seed in range(6):
        placed, placement = place_label(label, brain, freedom, np.random.default_rng(seed))
        assert placed.dtype == np.uint8
        check_inside(placed, brain, "here")
        assert np.array_equal(placed, move(label, label > 0, placement) * brain)
        placements.add(placement)
    assert len(placements) == (1 if freedom == Freedom() else 6)


def test_a_tumour_without_a_place_is_refused():
    """No tumour at all, or one wholly beside the brain."""
    rng = np.random.default_rng(0)
    brain, label = ball((8, 10, 6), 4), ball((8, 10, 20), 2).astype(np.uint8)
    with pytest.raises(DataError, match="has no tumour"):
        place_label(label * 0, brain, Freedom(), rng)
    with pytest.raises(DataError, match="nothing of the tumour lies inside"):
        place_label(label, brain, Freedom(), rng)
    with pytest.raises(DataError, match=r"item_1: 33 labelled voxels lie outside"):
        check_inside(label, brain, "item_1")


def test_carving_goes_from_half_the_depth_to_as_far_outside():
    """Regions are nested; share 0 is the tumour, 1 its inner half, -1 one radius further."""
    tumour = ball((8, 10, 12), 4)
    regions = [carve(tumour, share) for share in (1.0, 0.5, 0.0, -0.25, -0.5)]
    assert np.array_equal(regions[2], tumour)
    for inner, outer in pairwise(regions):
        assert (inner <= outer).all()
        assert inner.sum() < outer.sum()
    assert regions[0][8, 10, 12]
    # Distance -2 and less of a depth of 5 (to the nearest voxel outside) remain.
    assert (carve(tumour, 1.0) == ball((8, 10, 12), 2.3)).mean() > 0.99
    edge = np.zeros(EXTENT, bool)
    edge[:3] = True
    assert np.array_equal(carve(edge, 0.0), edge)


@pytest.mark.parametrize("harmonise", [True, False])
@pytest.mark.parametrize("share", [0.8, 0.0, -0.8])
def test_carve_mix_replaces_one_region(share, harmonise):
    """Image and label change together, inside both brains only; the host's own tumour stays elsewhere."""
    donor, host = subject(0), subject(1, centre=(8, 12, 16), radius=2)
    image, label = carve_mix(donor, host, share, harmonise, RANGE)
    region = carve(donor.tumour, share) & donor.inside & host.inside
    assert image.dtype == host.image.dtype
    assert np.array_equal(image[:, ~region], host.image[:, ~region])
    assert np.array_equal(label[~region], host.label[~region])
    assert np.array_equal(label[region], donor.label[region])
    check_inside(label, host.brain, "here")
    if not harmonise:
        assert np.array_equal(image[:, region], donor.image[:, region])
    with pytest.raises(DataError, match="has no tumour"):
        carve_mix(Subject(donor.image, donor.label * 0, donor.brain), host, share, harmonise, RANGE)
    empty = Subject(host.image, host.label, host.brain * 0)
    with pytest.raises(DataError, match="nothing of the tumour"):
        carve_mix(donor, empty, share, harmonise, RANGE)


def test_harmonised_intensities_are_the_hosts():
    """Mean and deviation of the healthy brain agree; the same image twice is left as it is."""
    donor, host = subject(0), subject(2)
    made = harmonised(donor, host)
    for channel in range(2):
        found = made[channel][donor.inside & ~donor.tumour]
        wanted = host.image[channel][host.inside & ~host.tumour]
        assert found.mean() == pytest.approx(wanted.mean(), rel=1e-4)
        assert found.std() == pytest.approx(wanted.std(), rel=1e-3)
    np.testing.assert_allclose(harmonised(donor, donor), donor.image, rtol=1e-4)


def test_a_hard_paste_is_the_tumour_itself():
    """Without freedom, blending and intensity changes the donor's voxels appear unchanged."""
    donor, host = subject(0), subject(1, centre=(8, 12, 16), radius=2)
    image, label = copy_paste(donor, host, Freedom(), 0.0, 0.0, False, RANGE, np.random.default_rng(0))
    pasted = donor.tumour & host.inside
    assert np.array_equal(image[:, pasted], donor.image[:, pasted])
    assert np.array_equal(image[:, ~pasted], host.image[:, ~pasted])
    assert np.array_equal(label, np.where(pasted, donor.label, host.label))


def test_a_moved_and_blended_paste_stays_inside_the_brain():
    """Far from the tumour nothing changes; near its edge the image is between the two."""
    donor, host = subject(0), subject(1, centre=(8, 12, 16), radius=0.5)
    freedom = Freedom(mirror=True, scale=0.2, turn_deg=20, shift=3)
    for seed in range(4):
        rng = np.random.default_rng(seed)
        image, label = copy_paste(donor, host, freedom, 0.1, 1.0, True, RANGE, rng)
        check_inside(label, host.brain, "here")
        assert np.array_equal(image[:, ~host.inside], host.image[:, ~host.inside])
        changed = (image != host.image).any(axis=0)
        assert changed.sum() > np.count_nonzero(label != host.label)
        assert not (changed & ~carve(label > 0, -1.0)).any() or changed.mean() < 0.5
        assert image[:, label == 2].mean() > image[:, (label == 0) & host.inside].mean()


def call(*arguments: str | Path) -> None:
    """Run the command in this process."""
    result = CliRunner().invoke(app, [str(part) for part in arguments])
    assert result.exit_code == 0, result.output


def synthesised(folder: Path, inputs: list[Path], shards: int = 1, **options: Any) -> Dataset:
    """A gathered synthetic dataset."""
    folder.mkdir()
    config = folder / "config.yaml"
    frozen = {"stage": "test", "version": 1, "options": {**options, "shards": shards}}
    config.write_text(yaml.safe_dump(frozen))
    for index in range(shards):
        shard = folder / f"shard-{index:04d}-of-{shards:04d}.arrow"
        call("synthesise", *inputs, "--config", config, "--shard", shard)
    gather(folder, name=folder.name, shards=shards, split=None, max_failed_fraction=0.9)
    return Dataset(folder)


@pytest.fixture
def brains(toy_volumes: Callable[..., Dataset]) -> Dataset:
    """Volumes whose items know where they lie in space."""
    data = toy_volumes("brains", extent=(16, 16, 16), splits={"train": 4, "val": 1, "test": 2})
    path = data.folder / "manifest.parquet"
    rows = pd.read_parquet(path)
    rows["affine"] = [[-2.0, 0, 0, number, 0, -2, 0, 0, 0, 0, 1, 0] for number in range(len(rows))]
    rows["spacing_note"] = "as is"
    rows.to_parquet(path)
    return Dataset(data.folder)


@pytest.fixture
def painter(tmp_path: Path, brains: Dataset) -> Path:
    """Weights of a `label_to_brain` after two steps."""
    options = {
        "arch": "label_to_brain",
        "data": "brains",
        "options": SMALL,
        "training": {"steps": 2, "validate_every": 2, "preview_every": 2},
    }
    config = tmp_path / "painter" / "config.yaml"
    config.parent.mkdir()
    config.write_text(yaml.safe_dump({"stage": "test", "version": 1, "options": options}))
    out = config.parent / "seed-0"
    call("train", "--config", config, "--data", brains.folder, "--out", out)
    assert (out / "previews" / "step-0000002.png").exists()
    return out / "weights.safetensors"


RECIPES: dict[str, dict[str, Any]] = {
    "mix_labels": {"generator": "painter"},
    "carve_mix": {},
    "copy_paste": {"shift": 2},
}


@pytest.mark.parametrize("recipe", RECIPES)
def test_recipes_put_training_tumours_on_training_brains(recipe, tmp_path, brains, painter):
    """Every ordered pair once, masks and space of the brain's donor, whatever the number of shards."""
    inputs = [*([painter] if recipe == "mix_labels" else []), brains.folder / "manifest.parquet"]
    options = {"recipe": recipe, "data": "brains", "count": 12, **RECIPES[recipe]}
    one = synthesised(tmp_path / "one", inputs, **options)
    three = synthesised(tmp_path / "three", inputs, shards=3, **options)
    assert len(one) == 12
    assert one.info.mask_channels == ["label", "brain"]
    assert one.info.labels == brains.info.labels
    donors = [tuple(pair) for pair in one.items["donor_subject_ids"]]
    training = brains.select("train")
    assert set(donors) == {(a, b) for a in training.subjects() for b in training.subjects() if a != b}
    assert set(one.items.origin) == set(one.items.mask_origin) == {"synthetic"}
    assert set(one.items.split) == {"train"}
    names = [f"{brains.info.namespace}/{name}" for name in training.items["subject_id"]]
    for index, (a, b) in enumerate(donors):
        assert np.array_equal(one.image(index), three.image(index))
        assert np.array_equal(one.masks(index), three.masks(index))
        label, brain = one.mask(index), one.mask(index, "brain")
        tumour, host = names.index(a), names.index(b)
        check_inside(label, brain, one.items.item_id[index])
        assert label.any()
        assert np.array_equal(brain, training.mask(host, "brain"))
        assert (one.image(index)[:, brain == 0] == 0).all()
        assert list(one.items["affine"][index]) == list(training.items["affine"][host])
        assert one.items["spacing_note"][index] == "as is"
        assert one.items["volume_ET_mm3"][index] == 4 * np.count_nonzero(label == 3)
        if recipe == "mix_labels":
            assert np.array_equal(label, training.mask(tumour) * brain)
    assert "age" not in one.items.columns
    check_training([one], brains.select("test"))
    assert one.learnt_from() >= training.subjects()


def test_mixing_a_test_subject_in_is_noticed(tmp_path, brains):
    """Donors are what a synthetic item has learnt from."""
    options = {"recipe": "carve_mix", "data": "brains", "count": 2}
    made = synthesised(tmp_path / "made", [brains.folder / "manifest.parquet"], **options)
    with pytest.raises(LeakError, match="test subjects"):
        check_training([made], brains.select("train"))


def test_pairs_come_again_only_with_other_labels(tmp_path, brains, painter):
    """Distinct until exhausted; then a recipe that would repeat label maps is refused."""
    inputs = [painter, brains.folder / "manifest.parquet"]
    mixed = {"recipe": "mix_labels", "data": "brains", "generator": "painter", "count": 14}
    with pytest.raises(AssertionError, match="would repeat label maps"):
        synthesised(tmp_path / "stiff", inputs, **mixed)
    made = synthesised(tmp_path / "free", inputs, mirror=True, scale=0.2, shift=2, **mixed)
    pairs = [tuple(pair) for pair in made.items["donor_subject_ids"]]
    assert len(set(pairs[:12])) == 12
    assert pairs[12:] == pairs[:2]
    assert not any(np.array_equal(made.mask(index), made.mask(index + 12)) for index in (0, 1))


def test_few_donors_are_those_of_an_arm_with_as_many_images(tmp_path, brains):
    """`images` restricts the donors; asking for more than there are is an error."""
    options = {"recipe": "carve_mix", "data": "brains", "count": 2}
    inputs = [brains.folder / "manifest.parquet"]
    made = synthesised(tmp_path / "few", inputs, images=2, **options)
    donors = {donor for pair in made.items["donor_subject_ids"] for donor in pair}
    assert donors == brains.select("train", images=2).subjects()
    with pytest.raises(AssertionError, match="5 training images are asked for"):
        synthesised(tmp_path / "many", inputs, images=5, **options)


def test_a_pair_without_a_tumour_inside_is_a_failed_row(tmp_path, toy_volumes):
    """With its reason and its donors; the other pairs are made."""
    data = toy_volumes("brains", extent=(16, 16, 16), splits={"train": 3})
    tumour = data.mask(0)

    class Empty(Dataset):
        def masks(self, index):
            stack = super().masks(index).copy()
            if np.array_equal(stack[0], tumour):
                stack[0] = 0
            return stack

    from mirage.recipes.carve_mix import CarveMixed

    options = TypeAdapter(RecipeConfig).validate_python({"recipe": "carve_mix", "data": "brains", "count": 6})
    recipe = CarveMixed(options, "made", {}, {}, {"brains": Empty(data.folder)}, set(), {})
    recipe.training.__class__ = Empty
    made = list(recipe.make(range(6)))
    failed = [item for item in made if item.row.status == "failed"]
    assert len(failed) == 2
    for item in failed:
        assert item.image is None
        assert item.row.reason == "the tumour's donor has no tumour"
        assert item.row.donor_subject_ids[0].endswith(str(data.items["subject_id"][0]))


def test_recipes_refuse_what_does_not_fit(tmp_path, toy_volumes, painter):
    """Volumes without brain masks, one subject only, a generator of other volumes."""
    plain = toy_volumes("plain", brain=False)
    single = toy_volumes("single", splits={"train": 1, "test": 2})
    other = toy_volumes("other", extent=(16, 16, 20))
    mix = {"recipe": "mix_labels", "generator": "painter"}
    for data, options, message in (
        (plain, {"recipe": "carve_mix"}, "mask channels"),
        (single, {"recipe": "copy_paste"}, "needs two labelled training subjects"),
        (other, mix, "image_shape"),
    ):
        name = data.info.name
        inputs = [*([painter] if "generator" in options else []), data.folder / "manifest.parquet"]
        with pytest.raises(AssertionError, match=message):
            synthesised(tmp_path / f"of_{name}", inputs, data=name, count=2, **options)


def test_recipe_options_are_checked():
    """An unknown key, no items, a scale that leaves nothing."""
    check = TypeAdapter(RecipeConfig).validate_python
    assert check({"recipe": "carve_mix", "data": "a", "count": 3}).volumes
    for options in (
        {"recipe": "carve_mix", "data": "a", "count": 0},
        {"recipe": "carve_mix", "data": "a", "count": 1, "mirror": True},
        {"recipe": "mix_labels", "data": "a", "count": 1},
        {"recipe": "copy_paste", "data": "a", "count": 1, "scale": 1.0},
    ):
        with pytest.raises(ValidationError):
            check(options)
