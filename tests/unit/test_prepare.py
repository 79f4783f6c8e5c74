"""Preparing shards: right pixels, failed rows with reasons, nothing else lost, flat memory."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
import pytest
import SimpleITK
import tifffile
from PIL import Image
from scipy.ndimage import binary_dilation

from mirage.config.datasets import DatasetConfig, SimulateOptions, SplitOptions
from mirage.data import Dataset, shard_name
from mirage.data.gather import gather
from mirage.data.manifest import ABSENT
from mirage.data.shards import ShardReader
from mirage.errors import DataError, LayoutError
from mirage.files import read_json
from mirage.prepare import prepare_image, prepare_shard, shard_of
from mirage.simulate import simulate
from mirage.sources import RawImage, Source, SourceItem, open_source


def prepare(folder: Path, source: dict, shards: int = 1, raw: Path | None = None, **options):
    """Prepare all shards; give their readers, the joint manifest, and the facts of each."""
    config = DatasetConfig.model_validate(
        {
            "source": source,
            "shards": shards,
            "prepare": {"size": 32, **options},
            "simulate": {} if raw else None,
        }
    )
    opened = open_source(config.source, raw)
    readers, tables, facts = [], [], []
    for shard in range(shards):
        prepare_shard(config, opened, shard, folder)
        stem = folder / shard_name(shard, shards)
        readers.append(ShardReader(stem.with_suffix(".arrow")))
        tables.append(pd.read_parquet(stem.with_suffix(".parquet")))
        facts.append(read_json(stem.with_suffix(".json")))
    return readers, pd.concat(tables).set_index("item_id"), facts


def save(path: Path, values: np.ndarray) -> None:
    """Write an array with Pillow, making folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)


def test_every_kind_of_bad_file_fails_alone_with_its_reason(tmp_path):
    """Good images of every kind around them keep their pixels; failed rows keep their attributes."""
    raw = tmp_path / "raw"
    rng = np.random.default_rng(0)
    colour = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
    deep = rng.integers(0, 65536, (32, 32), dtype=np.uint16)
    mask = (rng.random((32, 32)) < 0.3).astype(np.uint8) * 255
    good = {
        "colour": colour,
        "grey": colour[..., 0],
        "rgba": np.dstack([colour, np.full((32, 32), 255, np.uint8)]),
        "deep": deep,
    }
    for name, values in good.items():
        save(raw / "images" / f"{name}.png", values)
        save(raw / "masks" / f"{name}.png", mask)
    tifffile.imwrite(raw / "images" / "deeptiff.tif", np.stack([deep] * 3, -1), photometric="rgb")
    whole = (raw / "images" / "colour.png").read_bytes()
    bad = {
        "empty.png": b"",
        "truncated.png": whole[: len(whole) // 2],
        "corrupt.png": whole[:50] + bytes(30) + whole[80:],
        "text.txt": b"not an image",
    }
    for name, data in bad.items():
        (raw / "images" / name).write_bytes(data)
    save(raw / "images" / "wrongmask.png", colour)
    save(raw / "masks" / "wrongmask.png", mask[:16])
    names = [path.name for path in sorted((raw / "images").iterdir())]
    table = "file,age\n" + "".join(f"images/{name},{at}\n" for at, name in enumerate(names))
    (raw / "table.csv").write_text(table)
    source = {"reader": "folder", "path": str(raw), "masks": "masks/{stem}.png", "table": "table.csv"}
    (reader,), rows, (facts,) = prepare(tmp_path / "out", source, fov="none")

    failed = rows[rows["status"] == "failed"]
    expected = {"empty": "empty", "truncated": "cut off", "corrupt": "damaged", "text": "not an image"}
    expected["wrongmask"] = "32 x 16"
    assert set(failed.index) == {f"images/{name}" for name in expected}
    for name, reason in expected.items():
        assert reason in failed.loc[f"images/{name}", "reason"]
        assert name in failed.loc[f"images/{name}", "reason"]
    assert failed["row"].isna().all()
    assert rows["age"].notna().all()
    assert facts["items"] == 5
    assert len(reader) == 5

    def stored(name: str) -> np.ndarray:
        return reader.tensor(int(rows.loc[f"images/{name}", "row"]), "image")

    np.testing.assert_array_equal(stored("colour"), colour.transpose(2, 0, 1))
    np.testing.assert_array_equal(stored("rgba"), colour.transpose(2, 0, 1))
    np.testing.assert_array_equal(stored("grey"), np.stack([colour[..., 0]] * 3))
    np.testing.assert_array_equal(stored("deep")[0], np.rint(deep / 257))
    np.testing.assert_array_equal(stored("deeptiff")[0], np.rint(deep / 257))
    label = reader.tensor(int(rows.loc["images/colour", "row"]), "mask")[0]
    np.testing.assert_array_equal(label, mask // 255)


@pytest.mark.parametrize("suffix", [".tif", ".nii.gz"])
@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf])
def test_one_value_that_is_no_number_fails_its_image_or_mask_alone(tmp_path, suffix, odd):
    """Of a folder of float images and float masks, one pixel of one file each."""
    raw, rng = tmp_path / "raw", np.random.default_rng(0)

    def write(path: Path, values: np.ndarray) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        if suffix == ".tif":
            tifffile.imwrite(path, values)
        else:
            nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), path)

    for name in ("good", "image", "mask"):
        image, mask = rng.random((32, 32), np.float32), (rng.random((32, 32)) < 0.3).astype(np.float32)
        if name != "good":
            {"image": image, "mask": mask}[name][3, 4] = odd
        write(raw / "images" / f"{name}{suffix}", image)
        write(raw / "masks" / f"{name}{suffix}", mask)
    source = {
        "reader": "folder",
        "path": str(raw),
        "images": "images/*",
        "masks": f"masks/{{stem}}{suffix}",
        "channels": "grey",
    }
    window = {"kind": "window", "low": 0, "high": 1}
    _, rows, _ = prepare(tmp_path / "out", source, fov="none", intensity=window)
    assert rows.index[rows["status"] == "ok"].tolist() == ["images/good"]
    for name in ("images/image", "images/mask"):
        assert "NaN or infinite" in rows.loc[name, "reason"]


def test_sixteen_bit_storage_loses_nothing(tmp_path):
    """Native 16-bit values of the stored size come back exactly, 8-bit ones span the same range."""
    deep = np.random.default_rng(0).integers(0, 65536, (32, 32), dtype=np.uint16)
    save(tmp_path / "raw" / "a.png", deep)
    save(tmp_path / "raw" / "b.png", (deep >> 8).astype(np.uint8))
    source = {"reader": "folder", "path": str(tmp_path / "raw"), "channels": "grey"}
    (reader,), _, (facts,) = prepare(tmp_path / "out", source, bits=16, fov="none")
    np.testing.assert_array_equal(reader.tensor(0, "image")[0], deep)
    np.testing.assert_array_equal(reader.tensor(1, "image")[0], (deep >> 8) * 257)
    assert facts["value_range"] == [0, 65535]
    assert facts["image_dtype"] == "uint16"


def narrow(folder: Path, highest: int, suffix: str = ".png", count: int = 4) -> dict:
    """A folder of images whose grey values end at ``highest``, in files of 16 bits; its source."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        values = rng.integers(0, highest, (32, 32), dtype=np.uint16, endpoint=True)
        if suffix == ".mha":
            SimpleITK.WriteImage(SimpleITK.GetImageFromArray(values), folder / f"{number}{suffix}")
        elif suffix == ".tif":
            tifffile.imwrite(folder / f"{number}{suffix}", values)
        else:
            save(folder / f"{number}{suffix}", values)
    return {"reader": "folder", "path": str(folder), "channels": "grey"}


@pytest.mark.parametrize("suffix", [".png", ".tif", ".mha"])
def test_twelve_bits_in_files_of_sixteen_are_refused_until_a_window_is_given(tmp_path, suffix):
    """Scaled by the range of 16 bits they would be 16 grey levels; one hot pixel hides nothing."""
    source, out = narrow(tmp_path / "raw", 4095, suffix), tmp_path / "out"
    hot = np.full((64, 64), 100, np.uint16)
    hot[0, 0] = 65535
    save(tmp_path / "raw" / "hot.png", hot)
    wanted = {"name": "x", "shards": 2, "split": None, "max_failed_fraction": 0}
    _, _, facts = prepare(out, source, shards=2, fov="none")
    assert {fact["used"]["highest"] for fact in facts if fact["used"]} == {65535}
    with pytest.raises(DataError, match=r"dataset x: .* 0 to 65535; .*kind: window, low: 0, high: 4095}"):
        gather(out, **wanted)
    window = {"kind": "window", "low": 0, "high": 4095}
    for intensity in (window, {"kind": "percentile", "low": 0, "high": 100}, window | {"high": 65535}):
        _, _, facts = prepare(out, source, shards=2, fov="none", intensity=intensity)
        assert [fact["used"] for fact in facts] == [None, None]
        gather(out, **wanted)


def test_one_image_that_fills_its_type_clears_dark_ones(tmp_path):
    """Dark images of a bright dataset are dark; images of 8 bits say nothing of deeper ones."""
    source, out = narrow(tmp_path / "raw", 4095), tmp_path / "out"
    wanted = {"name": "x", "shards": 1, "split": None, "max_failed_fraction": 0}
    save(tmp_path / "raw" / "plain.png", np.tile(np.arange(256, dtype=np.uint8), (32, 1)))
    prepare(out, source, fov="none")
    with pytest.raises(DataError, match=r"at least 12\.5%"):
        gather(out, **wanted)
    save(tmp_path / "raw" / "full.png", np.tile(np.arange(0, 65536, 64, dtype=np.uint16), (32, 1)))
    prepare(out, source, fov="none")
    gather(out, **wanted)


def test_doubts_about_a_source_reach_the_log_and_the_dataset_once(tmp_path, caplog):
    """However many shards there are."""
    for name in ("p1/a.png", "p1/b.png", "p2/a.png"):
        save(tmp_path / "raw" / name, np.random.default_rng(len(name)).integers(0, 256, (32, 32), np.uint8))
    prepare(tmp_path / "out", {"reader": "folder", "path": str(tmp_path / "raw")}, shards=3, fov="none")
    info = gather(tmp_path / "out", name="x", shards=3, split=None, max_failed_fraction=0)
    (doubt,) = info.doubts
    assert "subject of its own" in doubt
    assert caplog.text.count("dataset x: Every image counts") == 1


def test_a_shard_without_any_good_item_is_whole(tmp_path):
    """Failed rows only, or no rows at all: three valid files either way."""
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "a.png").write_bytes(b"junk")
    source = {"reader": "folder", "path": str(tmp_path / "raw")}
    readers, rows, facts = prepare(tmp_path / "out", source, shards=3)
    assert [len(reader) for reader in readers] == [0, 0, 0]
    assert list(rows["status"]) == ["failed"]
    assert [fact["items"] for fact in facts] == [0, 0, 0]


def test_subjects_stay_together_and_shards_agree(tmp_path):
    """Both eyes are in one shard; resharding changes no pixel; shapes and channels are the same."""
    raw = tmp_path / "raw"
    simulate(SimulateOptions(subjects=5, size=64), "chasedb1", raw)
    source = {"reader": "chasedb1"}
    (one,), alone, _ = prepare(tmp_path / "one", source, raw=raw)
    readers, rows, facts = prepare(tmp_path / "three", source, shards=3, raw=raw)
    assert sorted(rows.index) == sorted(alone.index)
    assert (rows.groupby("subject_id")["shard"].nunique() == 1).all()
    assert all(row["shard"] == shard_of(row["subject_id"], 3) for _, row in rows.iterrows())
    for name, row in rows.iterrows():
        np.testing.assert_array_equal(
            readers[int(row["shard"])].tensor(int(row["row"]), "image"),
            one.tensor(int(alone.loc[name, "row"]), "image"),
        )
    assert rows["content_hash"].nunique() == 10
    assert len({str(fact["mask_channels"]) + str(fact["image_shape"]) for fact in facts}) == 1


def test_missing_observers_and_labels_are_marked_absent_and_channels_are_constant(tmp_path):
    """DRIVE's training part has no second observer; its channel is filled with 255."""
    raw = tmp_path / "raw"
    simulate(SimulateOptions(subjects=2, size=64), "drive", raw)
    (raw / "test" / "1st_manual" / "01_manual1.gif").unlink()
    (reader,), rows, (facts,) = prepare(tmp_path / "out", {"reader": "drive"}, raw=raw)
    assert facts["mask_channels"] == ["label", "observer2", "fov"]
    training, test = (
        reader.tensor(int(rows.loc[name, "row"]), "mask") for name in ("21_training", "01_test")
    )
    assert (training[1] == ABSENT).all()
    assert set(np.unique(training[0])) == {0, 1}
    assert set(np.unique(test[1])) == {0, 1}
    assert (test[0] == ABSENT).all()
    assert rows.loc["21_training", "mask_origin"] == "simulated"
    assert pd.isna(rows.loc["01_test", "mask_origin"])
    assert list(rows["origin"]) == ["simulated"] * 2
    (_,), rows, _ = prepare(tmp_path / "strict", {"reader": "drive"}, raw=raw, require_mask=True)
    assert rows.loc["01_test", "status"] == "failed"
    assert "require_mask" in rows.loc["01_test", "reason"]


def test_drive_without_test_labels_is_split_among_its_labelled_images(tmp_path):
    """The way out that its layout check names: nothing unlabelled is left, some are tested on."""
    raw, out = tmp_path / "raw", tmp_path / "drive"
    simulate(SimulateOptions(subjects=12, size=64), "drive", raw)
    shutil.rmtree(raw / "test" / "1st_manual")
    source = open_source(DatasetConfig.model_validate({"source": {"reader": "drive"}}).source, raw)
    source.check_layout()
    with pytest.raises(LayoutError, match=r"test/1st_manual is missing.*split: {by: random}.*require_mask"):
        source.check_test_labels()
    prepare(out, {"reader": "drive"}, raw=raw, require_mask=True)
    info = gather(out, name="drive", shards=1, split=SplitOptions(by="random"), max_failed_fraction=0.5)
    assert (info.items, info.failed) == ({"train": 4, "val": 1, "test": 1}, 6)
    assert Dataset(out).items["mask_origin"].notna().all()


class Fixed(Source):
    """One image, however often."""

    modality = "test"
    namespace = "test"

    def __init__(self, raw: RawImage, channels: int = 1, count: int = 1) -> None:
        self.raw, self.count = raw, count
        self.channel_names = [str(channel) for channel in range(channels)]
        self.labels, self.mask_channels = {1: "x"}, ["label"] if "label" in raw.masks else []

    def check_layout(self) -> None:
        """Nothing to check."""

    def items(self) -> Iterator[SourceItem]:
        """The image, ``count`` times."""
        return (SourceItem(f"i{at}", f"s{at}", lambda: self.raw) for at in range(self.count))


def options(**prepare_options):
    """Prepare options from plain values."""
    source = {"reader": "chasedb1"}
    return DatasetConfig.model_validate(
        {"source": source, "prepare": {"size": 16, **prepare_options}}
    ).prepare


def test_cropping_keeps_image_mask_and_field_of_view_aligned():
    """A mask equal to the bright part of the image stays equal to it after crop and scaling."""
    image = np.zeros((1, 60, 90), np.uint8)
    image[0, 20:44, 30:54] = 240
    fov = np.zeros((60, 90), np.uint8)
    fov[6:54, 18:66] = 1
    raw = RawImage(image, {"label": (image[0] > 0).astype(np.uint8), "fov": fov}, (0, 255), (0.1, 0.1))
    stored = prepare_image(raw, Fixed(raw), options(crop="fov"))
    label, seen = stored.masks
    np.testing.assert_array_equal(stored.image[0] > 120, label > 0)
    assert seen.all()
    assert label.sum() == (24 / 3) ** 2
    assert stored.spacing_mm == pytest.approx((0.3, 0.3))


@pytest.mark.parametrize(
    ("choice", "spacing"),
    [({"fit": "pad"}, (4.0, 4.0)), ({"fit": "stretch"}, (2.0, 4.0)), ({"crop": "centre"}, (2.0, 2.0))],
)
def test_spacing_follows_fit_and_crop(choice, spacing):
    """32 x 64 pixels of 1 mm stored in 16 x 16."""
    raw = RawImage(np.full((1, 32, 64), 9, np.uint8), {}, (0, 255), (1.0, 1.0))
    stored = prepare_image(raw, Fixed(raw), options(**choice))
    assert stored.spacing_mm == spacing
    assert stored.image.shape == (1, 16, 16)
    assert (stored.image[0].min() == 0) == (choice == {"fit": "pad"})


def test_spacing_enters_the_facts_only_when_it_is_common(tmp_path):
    """Rows carry their own; images of several spacings have none in common."""
    config = DatasetConfig.model_validate({"source": {"reader": "chasedb1"}, "prepare": {"size": 16}})
    raw = RawImage(np.ones((1, 32, 32), np.uint8), {}, (0, 255), (0.5, 0.5))
    prepare_shard(config, Fixed(raw, count=2), 0, tmp_path)
    facts = read_json(tmp_path / "shard-0000-of-0001.json")
    assert facts["spacing_mm"] == [1.0, 1.0]
    rows = pd.read_parquet(tmp_path / "shard-0000-of-0001.parquet")
    assert list(rows["spacing_h_mm"]) == [1.0, 1.0]


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (RawImage(np.zeros((1, 4, 8, 8), np.uint8), full_range=(0, 255)), "volume"),
        (RawImage(np.zeros((2, 8, 8), np.uint8), full_range=(0, 255)), "2 channels"),
        (RawImage(np.zeros((1, 8, 8), np.float32)), "kind: window"),
        (RawImage(np.zeros((1, 8, 8), np.uint8), {"fov": np.zeros((8, 8), np.uint8)}, (0, 255)), "empty"),
    ],
)
def test_what_cannot_be_stored_becomes_a_failed_row_that_says_why(tmp_path, raw, message):
    """Volumes, odd channels, values without a range, an empty field of view."""
    config = DatasetConfig.model_validate(
        {"source": {"reader": "chasedb1"}, "prepare": {"size": 16, "crop": "fov"}}
    )
    prepare_shard(config, Fixed(raw), 0, tmp_path)
    (row,) = pd.read_parquet(tmp_path / "shard-0000-of-0001.parquet").to_dict("records")
    assert row["status"] == "failed"
    assert message in row["reason"]


def test_boxes_are_cut_with_the_image_and_reach_the_item(tmp_path):
    """A box follows crop and scaling, one that sticks out is clipped, one outside is dropped and counted."""
    image = np.zeros((1, 60, 90), np.uint8)
    image[0, 20:44, 30:54] = 240
    fov = np.zeros((60, 90), np.uint8)
    fov[6:54, 18:66] = 1
    sides = {"lesion": (30, 20, 54, 44), "edge": (60, 0, 90, 12), "gone": (70, 10, 90, 50)}
    boxes = [dict(zip(("x0", "y0", "x1", "y1"), box, strict=True), label=k) for k, box in sides.items()]
    raw = RawImage(image, {"fov": fov}, (0, 255), boxes=boxes)
    config = DatasetConfig.model_validate(
        {"source": {"reader": "chasedb1"}, "prepare": {"size": 16, "crop": "fov"}}
    )
    prepare_shard(config, Fixed(raw, count=2), 0, tmp_path)
    gather(tmp_path, name="x", shards=1, split=config.split, max_failed_fraction=0.0)
    item = Dataset(tmp_path).item(1)
    assert [box.pop("label") for box in item.boxes] == ["lesion", "edge"]
    assert list(item.boxes[0].values()) == [4, pytest.approx(14 / 3), 12, pytest.approx(38 / 3)]
    assert list(item.boxes[1].values()) == [14, 0, 16, 2]
    np.testing.assert_array_equal(item.image[0, 5:12, 4:12] > 200, True)
    assert item.attributes["boxes_outside"] == 1
    assert item.masks.shape == (1, 16, 16)


def test_the_facts_tell_what_made_the_shard_and_the_dataset_takes_them_over(tmp_path):
    """All options, defaults included, and the code; neither runtime nor what is decided later."""
    config = DatasetConfig.model_validate({"source": {"reader": "chasedb1"}, "prepare": {"size": 16}})
    raw = RawImage(np.ones((1, 32, 32), np.uint8), {}, (0, 255))
    prepare_shard(config, Fixed(raw, count=3), 0, tmp_path)
    made_by = read_json(tmp_path / "shard-0000-of-0001.json")["made_by"]
    assert made_by["stage"] == "prepare"
    assert set(made_by["config"]) == {"source", "simulate", "prepare", "shards"}
    assert made_by["config"]["prepare"]["fit"] == "pad"
    assert "commit" in made_by["code"]
    gather(tmp_path, name="x", shards=1, split=config.split, max_failed_fraction=0.0)
    provenance = Dataset(tmp_path).info.provenance
    assert provenance["config_hash"] == made_by["config_hash"]
    assert provenance["split"] == config.split.model_dump()


@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_items(tmp_path):
    """Ten times the items, less than 10 % more peak memory."""
    code = (
        "import sys, resource, numpy as np; from pathlib import Path; sys.path.insert(0, sys.argv[1]);"
        "from test_prepare import Fixed; from mirage.config.datasets import DatasetConfig;"
        "from mirage.sources import RawImage; from mirage.prepare import prepare_shard;"
        "options = {'source': {'reader': 'chasedb1'}, 'prepare': {'size': 16, 'fov': 'none'}};"
        "config = DatasetConfig.model_validate(options);"
        "raw = RawImage(np.ones((1, 24, 24), np.uint8), {}, (0, 255));"
        "prepare_shard(config, Fixed(raw, count=int(sys.argv[3])), 0, Path(sys.argv[2]));"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    peaks = []
    for count in (800, 8000):
        command = [
            sys.executable,
            "-c",
            code,
            str(Path(__file__).parent),
            str(tmp_path / str(count)),
            str(count),
        ]
        peaks.append(int(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
    assert peaks[1] < 1.10 * peaks[0]


def test_real_fundus_photographs_are_cropped_to_a_plausible_field_of_view(tmp_path, shared_data):
    """All 20 images of CHASE_DB1; thin vessels survive a threshold of 0.3 and lie inside the circle."""
    source = {"reader": "chasedb1", "path": str(shared_data / "CHASEDB1")}
    (reader,), rows, _ = prepare(tmp_path, source, size=128, crop="fov", mask_threshold=0.3)
    assert (rows["status"] == "ok").all()
    for at in range(len(reader)):
        label, _, fov = reader.tensor(at, "mask")
        assert 0.74 < fov.mean() < 0.82  # a full circle covers 0.785 of its square
        assert 0.05 < label.mean() < 0.16
        assert (label & (1 - fov)).sum() < 0.02 * label.sum()
        green = reader.tensor(at, "image")[1].astype(float)
        beside = binary_dilation(label, iterations=3) & (label == 0) & (fov > 0)
        assert green[(label > 0) & (fov > 0)].mean() < green[beside].mean()


def test_real_cells_of_two_sizes_are_stored_alike(tmp_path, shared_data):
    """All 35 images of BU-BIL, one of them larger and in palette mode."""
    source = {"reader": "bubil", "path": str(shared_data / "BU-BIL" / "BU-BIL_Dataset1")}
    (reader,), rows, (facts,) = prepare(tmp_path, source, size=64, fit="stretch")
    assert len(reader) == 35
    assert facts["mask_channels"] == ["label", "fov"]
    shares = [(reader.tensor(at, "mask")[0] == 1).mean() for at in range(35)]
    assert min(shares) > 0.003
    assert max(shares) < 0.15
    assert rows["content_hash"].nunique() == 35
