"""Patches of mammograms: where lesions are, and where none is; on phantoms, and on real films."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from mirage.config.datasets import DatasetConfig, PrepareOptions
from mirage.config.mammography import LESIONS
from mirage.config.patches import BothPatches, LesionPatches, NormalPatches
from mirage.data import Dataset
from mirage.data.gather import gather
from mirage.data.manifest import ABSENT, SPLITS
from mirage.errors import DataError
from mirage.prepare import prepare_shard
from mirage.prepare.patches import cut, names
from mirage.prepare.stored import Prepared
from mirage.preprocess.geometry import Box, resize
from mirage.report.book import Book
from mirage.report.chapters.lesion_counts import lesion_counts
from mirage.report.numbers import DASH
from mirage.sources import open_source

HASH = {"by": "hash", "test": 0.3}
SIDE = 1024


def write_film(folder: Path, name: str, seed: int, circles: list[tuple[int, int, int]]) -> np.ndarray:
    """A film of a breast with a bright disc in every circle (x, y from the top, radius)."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:SIDE, :SIDE]
    grain = np.kron(rng.random((128, 128)), np.ones((8, 8)))
    image = (80 + 60 * grain) * (np.hypot((y - 512) / 480, (x - 60) / 640) < 1) * (x >= 60)
    for cx, cy, radius in circles:
        image[np.hypot(y - cy, x - cx) <= radius * 0.6] = 255
    stored = image.astype(np.uint8)
    Image.fromarray(stored).save(folder / f"{name}.pgm")
    return stored


CIRCLES = {
    "mdb001": [("CIRC B", 300, 400, 40)],
    "mdb002": [],
    "mdb003": [("CALC M", 200, 500, 30), ("MISC B", 420, 600, 150)],
    "mdb004": [("ARCH M", 400, 300, 50)],
    "mdb005": [("SPIC M", 70, 520, 45)],
    "mdb006": [],
}


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six films in mini-MIAS's layout, of known places; mdb007 has a lesion, and nobody knows where."""
    folder = tmp_path_factory.mktemp("mias")
    rows = []
    for seed, (name, lesions) in enumerate(CIRCLES.items()):
        write_film(folder, name, seed, [lesion[1:] for lesion in lesions])
        rows += [f"{name} F {kind} {x} {SIDE - 1 - y} {radius}" for kind, x, y, radius in lesions]
        rows += [f"{name} F NORM"] * (not lesions)
    write_film(folder, "mdb007", 99, [])
    write_film(folder, "mdb008", 98, [(300, 300, 40)])
    rows += ["mdb007 F CALC B", "mdb008 F CIRC B 300 723 40", "mdb008 F CALC B"]
    (folder / "Info.txt").write_text("\n".join(rows) + "\n")
    return folder


def prepared(archive: Path, folder: Path, *, shards=1, source=None, **prepare) -> Dataset:
    """A dataset of the archive, of 16 bits at native size."""
    options = {"size": None, "bits": 16, "fov": "nonzero", **prepare}
    config = DatasetConfig.model_validate(
        {
            "source": {"reader": "mini_mias", "path": str(archive), **(source or {})},
            "prepare": options,
            "split": HASH,
            "shards": shards,
        }
    )
    folder.mkdir(parents=True, exist_ok=True)
    for shard in range(shards):
        prepare_shard(config, open_source(config.source), shard, folder)
    gather(folder, name=folder.name, shards=shards, split=config.split, max_failed_fraction=0.5)
    return Dataset(folder)


def lesions(**options):
    """Options of patches around lesions."""
    return {"patches": {"kind": "lesions", **options}}


def normal(**options):
    """Options of patches of normal tissue."""
    return {"patches": {"kind": "normal", **options}}


def test_patches_are_where_the_lesions_are(archive, tmp_path):
    """The first of a lesion is centred, others keep it in view; each says what it shows."""
    data = prepared(archive, tmp_path / "data", **lesions(count=3, side=128, jitter=0.2))
    assert data.info.image_shape == (1, 128, 128)
    assert data.info.image_dtype == "uint16"
    rows = data.items.set_index("item_id")
    kept = {name: [found for found in found if found[0][:4] != "ARCH"] for name, found in CIRCLES.items()} | {
        "mdb008": [("CIRC B", 300, 300, 40)]
    }
    assert len(rows) == 3 * sum(map(len, kept.values()))
    moved = []
    for name, found in kept.items():
        image = np.asarray(Image.open(archive / f"{name}.pgm"))
        for lesion, (kind, x, y, _) in enumerate(found):
            for number in range(3):
                item_id = f"{name}/l{lesion:02d}-{number:02d}"
                row, at = rows.loc[item_id], int(np.flatnonzero(data.items["item_id"] == item_id)[0])
                assert row["label"] == "positive"
                assert row["lesion_type"] == {"CALC": "calcification"}.get(kind[:4], "mass")
                assert row["malignancy"] == {"B": "benign", "M": "malignant"}[kind[-1]]
                left, top, extent = int(row["patch_x"]), int(row["patch_y"]), int(row["patch_extent"])
                shown = resize(image[None], Box(top, left, extent, extent), (128, 128))
                np.testing.assert_allclose(data.image(at) / 257, shown, atol=0.01)
                shift = np.array([left + extent / 2 - x, top + extent / 2 - y])
                if x > extent / 2:  # not at the image's edge
                    assert np.abs(shift).max() <= (0.2 * extent if number else 0) + 1
                    moved.append(number and np.abs(shift).max() > 1.5)
                (box,) = (box for box in data.item(at).boxes if box["label"] == row["lesion_type"])
                middle = (box["x0"] + box["x1"]) / 2, (box["y0"] + box["y1"]) / 2
                if x > extent / 2 and len(found) == 1:
                    assert middle == pytest.approx(64 - shift * 128 / extent, abs=2)
                assert data.image(at)[0, round(middle[1]), round(middle[0])] == 65535
    assert sum(moved) >= 8
    assert rows.loc["mdb001/l00-00", "lesion_margin"] == "circumscribed"
    assert rows.loc["mdb001/l00-00", "spacing_h_mm"] == pytest.approx(0.2)
    assert rows.loc["mdb003/l01-00", "spacing_h_mm"] > 0.4


def test_a_lesion_larger_than_a_patch_is_scaled_to_fit_or_cropped(archive, tmp_path):
    """As asked; a field of the lesion's own size makes all look equally large."""
    extents = {}
    for name, options in {
        "fit": {"large": "fit", "context": 0.1},
        "crop": {"large": "crop"},
        "lesion": {"field": "lesion", "context": 0.5},
        "mm": {"field": "mm", "extent": 64, "side": 64},
    }.items():
        data = prepared(archive, tmp_path / name, **lesions(side=options.pop("side", 128), **options))
        extents[name] = data.items.set_index("item_id")["patch_extent"]
        large = data.item(list(data.items["item_id"]).index("mdb003/l01-00"))
        box = max(large.boxes, key=lambda box: box["x1"] - box["x0"])
        extents[f"{name} box"] = box["x1"] - box["x0"]
    assert extents["fit"]["mdb001/l00-00"] == extents["crop"]["mdb003/l01-00"] == 128
    assert extents["fit"]["mdb003/l01-00"] == 360
    assert extents["fit box"] == pytest.approx(128 / 1.2, abs=0.5)
    assert extents["crop box"] == 128
    assert extents["lesion"]["mdb001/l00-00"] == 160
    assert extents["lesion"]["mdb003/l01-00"] == 600
    assert extents["lesion box"] == pytest.approx(64)
    assert set(extents["mm"]) - {450} == {320}


def test_normal_patches_lie_in_the_breast_and_hold_no_lesion_of_any_kind(archive, tmp_path):
    """Not even one that was not asked for; images with a lesion of unknown place give none."""
    options = normal(count=40, side=64, away=0.5, tissue=0.8, overlap=0.3)
    data = prepared(archive, tmp_path / "data", source={"lesions": ["mass"]}, **options)
    of = data.items["item_id"].str.split("/").str[0]
    assert set(of) == set(CIRCLES)
    assert (of.value_counts() == 40).all()
    taken: dict[str, list[tuple[int, int]]] = {}
    for index, row in enumerate(data.items.itertuples()):
        name, x, y = of[index], row.patch_x, row.patch_y
        assert not data.item(index).boxes
        assert (row.label, row.lesion_type, row.malignancy) == ("negative", None, None)
        assert data.mask(index, "fov").mean() >= 0.8
        for _, cx, cy, radius in CIRCLES[name]:
            gap = max(abs(x + 32 - cx - 0.5), abs(y + 32 - cy - 0.5)) - 32 - radius
            assert gap >= 32
        for left, top in taken.setdefault(name, []):
            shared = max(0, 64 - abs(left - x)) * max(0, 64 - abs(top - y))
            assert shared <= 0.3 * 64 * 64
        taken[name].append((x, y))


def test_fewer_patches_are_the_first_of_more_and_shards_change_nothing(archive, tmp_path):
    """Of lesions and of normal tissue, pixel by pixel."""
    for kind, most in (("lesions", 4), ("normal", 30)):
        found = {}
        for name, count, shards in (("more", most, 1), ("less", most // 2, 1), ("sharded", most, 3)):
            options = {"patches": {"kind": kind, "count": count, "side": 64}}
            data = prepared(archive, tmp_path / f"{kind}-{name}", shards=shards, **options)
            found[name] = dict(zip(data.items["item_id"], data.items["content_hash"], strict=True))
        assert found["less"].items() < found["more"].items()
        assert found["sharded"] == found["more"]
        numbers = {int(name[-2:]) for name in found["less"]}
        assert numbers == set(range(most // 2))


def test_both_kinds_in_one_dataset_are_those_of_two(archive, tmp_path):
    """Item by item, and named apart."""
    own = {"lesions": {"count": 2, "side": 64}, "normal": {"count": 5, "side": 64, "seed": 3}}
    both = prepared(archive, tmp_path / "both", patches={"kind": "both", **own})
    found: dict[str, str] = {}
    for kind, options in own.items():
        data = prepared(archive, tmp_path / kind, patches={"kind": kind, **options})
        found |= zip(data.items["item_id"], data.items["content_hash"], strict=True)
    assert dict(zip(both.items["item_id"], both.items["content_hash"], strict=True)) == found
    assert set(both.items["label"]) == {"positive", "negative"}
    options = BothPatches.model_validate({"kind": "both", **own})
    assert names(options, "a")[1:3] == ["a/l00-01", "a/n000"]
    assert BothPatches.model_validate(options.model_dump(exclude_defaults=True)) == options
    with pytest.raises(ValidationError, match="a dataset has one"):
        BothPatches.model_validate({"kind": "both", "lesions": {}, "normal": {"side": 64}})


def test_extents_of_normal_patches_are_drawn_between_two(archive, tmp_path):
    """By their logarithm, and scaled to one side."""
    options = normal(count=40, side=32, extent=32, extent_to=128, overlap=1)
    data = prepared(archive, tmp_path / "data", **options)
    extents = data.items["patch_extent"]
    assert extents.between(32, 128).all()
    assert 55 < extents.median() < 75
    assert data.info.image_shape == (1, 32, 32)
    np.testing.assert_allclose(data.items["spacing_h_mm"] / extents, 0.2 / 32)


def image_of(side: int = 64, **fields) -> Prepared:
    """A prepared image of noise, all of it field of view."""
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (1, side, side), dtype=np.uint8)
    return Prepared(image, np.ones((1, side, side), np.uint8), False, None, **fields)


def test_images_without_what_is_asked_for_give_nothing(archive):
    """No lesion, no room, or a lesion of unknown place: no item, and no failure."""
    around, healthy = LesionPatches(kind="lesions", side=32), NormalPatches(kind="normal", side=32, count=50)
    assert cut(image_of(), around, "a") == []
    box = {"x0": 0.0, "y0": 0.0, "x1": 64.0, "y1": 64.0, "label": "mass"}
    assert cut(image_of(others=[box]), healthy, "a") == []
    assert cut(image_of(unplaced=True), healthy, "a") == []
    assert cut(image_of(side=16), healthy, "a") == []
    assert 1 <= len(cut(image_of(), healthy, "a")) < 50
    with pytest.raises(DataError, match="lie outside what is stored"):
        cut(image_of(boxes_outside=2), around, "a")
    with pytest.raises(DataError, match="spacing is unknown"):
        cut(image_of(boxes=[box]), LesionPatches(kind="lesions", field="mm", extent=9), "a")


def test_a_patch_at_the_edge_is_moved_into_the_image_or_padded():
    """Black bars would tell a lesion's patch from others; a smaller image has no other choice."""
    box = {"x0": 0.0, "y0": 30.0, "x1": 4.0, "y1": 34.0, "label": "mass"}
    image = image_of(boxes=[box])
    ((_, patch),) = cut(image, LesionPatches(kind="lesions", side=32), "a")
    np.testing.assert_array_equal(patch.image, image.image[:, 16:48, :32])
    ((_, patch),) = cut(image, LesionPatches(kind="lesions", side=96), "a")
    np.testing.assert_array_equal(patch.image[:, 16:80, 16:80], image.image)
    assert patch.image.sum() == image.image.sum()
    assert patch.boxes[0]["x0"] == 16
    masks = np.concatenate([np.full_like(image.masks, ABSENT), image.masks])
    ((_, patch),) = cut(replace(image, masks=masks), LesionPatches(kind="lesions", side=96), "a")
    assert (patch.masks[0] == ABSENT).all()  # a channel that the image lacks
    assert patch.masks[1].sum() == 64**2


def test_an_image_that_cannot_be_read_stands_for_as_many_rows_as_another(archive, tmp_path):
    """Of lesions, for one."""
    assert names(LesionPatches(kind="lesions", count=2), "a") == ["a/l00-00", "a/l00-01"]
    assert names(NormalPatches(kind="normal", count=2), "a") == ["a/n000", "a/n001"]
    for path in archive.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes()[: 90 if path.stem == "mdb001" else None])
    data = prepared(tmp_path, tmp_path / "data", **lesions(side=64))
    assert list(data.failures["item_id"]) == ["mdb001/l00-00"]
    with pytest.raises(DataError, match="gives an item"):
        prepared(archive, tmp_path / "none", source={"lesions": ["asymmetry"]}, **lesions(side=64))


def test_the_report_counts_lesions_by_kind_and_split(archive, tmp_path):
    """Patches and whole images; no table where no mammogram is."""
    data = {
        "patches": prepared(archive, tmp_path / "patches", **lesions(side=64, count=2)),
        "tissue": prepared(archive, tmp_path / "tissue", **normal(side=64, count=5)),
        "films": prepared(archive, tmp_path / "films", size=64, bits=8),
    }
    table = lesion_counts(data, Book(tmp_path / "report"))
    assert table is not None
    shown = [[cell.text for cell in row[:4]] for row in table.rows]
    assert shown == [
        ["patches", "calcification", "malignant", "1"],
        ["patches", "mass", "benign", "3"],
        ["patches", "mass", "malignant", "1"],
        ["tissue", "normal tissue", DASH, DASH],
        ["films", "calcification", "unknown", "1"],
        ["films", "mass", "unknown", "4"],
    ]
    splits = data["patches"].items
    masses = splits[(splits["lesion_type"] == "mass") & (splits["malignancy"] == "benign")]["split"]
    assert table.rows[1][5].text == " / ".join(str((masses == side).sum()) for side in SPLITS)
    plain = data["films"]
    plain.items = plain.items.drop(columns="lesion_types")
    assert lesion_counts({"plain": plain}, Book(tmp_path / "report")) is None


def test_whole_images_are_not_scaled_before_patches_are_cut():
    """At native size, and only there."""
    options = PrepareOptions.model_validate({"size": None, "fov": "nonzero", **lesions(side=64)})
    assert options.stored_side == 64
    scaled = PrepareOptions.model_validate({"size": 512, "fov": "nonzero", **lesions(side=64)})
    assert scaled.stored_side == 64


def test_the_circles_of_mini_mias_are_in_the_middle_of_their_patches(shared_data, tmp_path):
    """Real films: every lesion with a circle; normal patches hold none and are of bright tissue."""
    folder = shared_data / "mini-MIAS"
    if not folder.is_dir():
        pytest.skip("needs the 21 films of ../shared/data/mini-MIAS")
    source = {"partial": True, "lesions": list(LESIONS)}
    ending = {"fov": "film", "source": source, "normalise": {"method": "percentile"}}
    data = prepared(folder, tmp_path / "lesions", **ending, **lesions(side=128, extent=200))
    assert len(data) == 17
    middle = 0
    for index in range(len(data)):
        row, item = data.items.iloc[index], data.item(index)
        free = 0 < row["patch_x"] < SIDE - row["patch_extent"] and row["patch_y"] > 0
        box = item.boxes[0]
        centre = np.array([box["x0"] + box["x1"], box["y0"] + box["y1"]]) / 2
        if free:
            middle += 1
            assert centre == pytest.approx([64, 64], abs=1)
    assert middle >= 14
    healthy = prepared(folder, tmp_path / "normal", **ending, **normal(side=128, extent=200, count=4))
    assert len(healthy) > 60
    assert not any(healthy.item(index).boxes for index in range(len(healthy)))
    assert np.mean([healthy.image(index).mean() for index in range(len(healthy))]) > 0.25 * 65535
