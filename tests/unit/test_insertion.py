"""The recipes that cut lesions out of radiographs and insert them into others, and who may be a donor."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from pydantic import TypeAdapter
from torch import nn

from mirage.config.base import ModelRef, Runtime
from mirage.config.recipes import RecipeConfig
from mirage.data import Dataset, DatasetInfo, ItemRow, ShardWriter, shard_name
from mirage.data.dataset import write_info
from mirage.data.gather import gather
from mirage.data.leaks import check_training
from mirage.data.manifest import to_table, write_manifest
from mirage.data.shards import content_hash
from mirage.errors import DataError, LeakError
from mirage.generators.base import ImageSpec
from mirage.generators.inpainting import Inpainter
from mirage.preprocess.lesions import Box, Lesion
from mirage.preprocess.membrane import dome
from mirage.recipes import synthesise_shard
from mirage.recipes.base import write_shard
from mirage.recipes.curation import accepted, show_lesions
from mirage.recipes.extract_and_insert import ExtractAndInsert
from mirage.recipes.extract_lesions import ExtractLesions, hole_around, lesion_of
from mirage.recipes.recovery import recovered
from mirage.simulate.chest import NoduleShape, radiograph

SIDE, WINDOW, LIMIT = 256, 96, 56
EXTRACT = {"recipe": "extract_lesions", "data": "boxed", "inpainter": "painter", "healthy_places": 0}
INSERT = {"recipe": "extract_and_insert", "hosts": "healthy", "lesions": "nodules", "count": 6}


class Oracle(Inpainter):
    """An inpainter that knows the healthy pictures: a hole is filled from the one that agrees around it.

    It draws that darker by ``offset``, mean over the hole, most in its middle.
    """

    def __init__(self, healthy: Sequence[np.ndarray], box_side: int = LIMIT, offset: float = 0.0) -> None:
        nn.Module.__init__(self)
        self.offset = offset
        self.healthy, self.box_side, self.arch = healthy, box_side, "oracle"
        self.image_shape = (1, WINDOW, WINDOW)
        self.spec = ImageSpec(self.image_shape, "uint8", (0.0, 255.0), ["grey"], [], {}, "chest", None)
        self.asked: list[int] = []

    def fill(self, image: np.ndarray, hole: np.ndarray, seed: int) -> np.ndarray:
        self.asked.append(seed)
        outside = hole == 0
        for picture in self.healthy:
            windows = np.lib.stride_tricks.sliding_window_view(picture, (WINDOW, WINDOW))
            y, x = np.argwhere(outside)[0]
            corners = np.argwhere(windows[:, :, y, x] == image[0, y, x])
            for top, left in corners:
                # Around a healthy place there are nodules, which the healthy picture does not have.
                if (windows[top, left][outside] == image[0][outside]).mean() > 0.5:
                    drawn = windows[top, left] - self.offset * dome(~outside)
                    return np.where(hole > 0, np.rint(drawn).clip(0, 255).astype(np.uint8), image)
        raise AssertionError("no healthy picture agrees around the hole")


Oracle.__abstractmethods__ = frozenset()


def write_chest(
    folder: Path,
    images: Sequence[np.ndarray],
    boxes: Sequence[list[tuple[float, ...]]],
    *,
    split: str | Sequence[str] = "train",
    first: int = 0,
    namespace: str = "archive",
    spacing: tuple[float, float] | None = (1.4, 1.4),
    label: str = "Nodule",
) -> Dataset:
    """A dataset folder of radiographs, each of a patient of its own: `p<first>`, `p<first + 1>` ..."""
    rows = []
    with ShardWriter(
        folder / f"{shard_name(0, 1)}.arrow", (1, SIDE, SIDE), np.dtype("uint8"), None
    ) as writer:
        for number, (image, own) in enumerate(zip(images, boxes, strict=True)):
            rows.append(
                ItemRow(
                    item_id=f"p{first + number}_000",
                    subject_id=f"p{first + number}",
                    origin="simulated",
                    split=split if isinstance(split, str) else split[number],
                    shard=0,
                    row=writer.append(image[None], None),
                    boxes=[dict(zip(("x0", "y0", "x1", "y1"), box, strict=True), label=label) for box in own],
                    content_hash=content_hash(image),
                    attributes={"view": "PA"},
                )
            )
    write_manifest(folder / "manifest.parquet", to_table(rows))
    info = DatasetInfo(
        name=folder.name,
        namespace=namespace,
        modality="chest radiograph",
        image_shape=(1, SIDE, SIDE),
        image_dtype="uint8",
        value_range=(0, 255),
        channel_names=["grey"],
        mask_channels=[],
        labels={},
        spacing_mm=spacing,
        shards=1,
    )
    write_info(folder, info)
    return Dataset(folder)


def stored(plane: np.ndarray) -> np.ndarray:
    return np.round(plane * 255).astype(np.uint8)


def phantoms(
    count: int, nodules: int, first: int = 0
) -> tuple[list[np.ndarray], list[np.ndarray], list[Any]]:
    """Images, healthy ones and boxes; nodules of two sizes at fixed places of the lungs."""
    shapes = [NoduleShape(0.29, 0.42, 0.07, 0.18), NoduleShape(0.71, 0.35, 0.09, 0.15)][:nodules]
    made = [radiograph(np.random.default_rng(first + n), SIDE, shapes) for n in range(count)]
    boxes = [[tuple(map(float, nodule.box)) for nodule in one.nodules] for one in made]
    return [stored(one.image) for one in made], [stored(one.healthy) for one in made], boxes


def make(
    recipe: type, options: dict[str, Any], folder: Path, data: Sequence[Dataset], **more: Any
) -> Dataset:
    """Run a recipe on one shard and gather it."""
    entry: Any = TypeAdapter(RecipeConfig).validate_python(options)
    model = more.get("model")
    models = {} if model is None else {(more.get("named", "painter"), 0): model}
    lineage = {subject for one in data for subject in one.info.lineage} | set(more.get("lineage", ()))
    named = {one.info.name: one for one in data}
    built = recipe(entry, folder.name, models, {}, named, lineage, {}, more.get("tables", ()))
    built.check()
    write_shard(built, 0, folder)
    gather(folder, name=folder.name, shards=1, split=None, max_failed_fraction=entry.max_failed_fraction)
    return Dataset(folder)


@pytest.fixture
def nodules(tmp_path):
    """Two lesions of each of three training patients, cut out by an oracle, and their curation."""
    images, healthy, boxes = phantoms(3, 2)
    boxed = write_chest(tmp_path / "boxed", images, boxes)
    made = make(ExtractLesions, EXTRACT, tmp_path / "nodules", [boxed], model=Oracle(healthy))
    show_lesions(made, tmp_path / "nodules/curation.csv", tmp_path / "nodules/contact-sheet.png")
    return made


@pytest.fixture
def healthy(tmp_path):
    """Four healthy radiographs of other patients."""
    images, _, boxes = phantoms(4, 0, first=50)
    return write_chest(tmp_path / "healthy", images, boxes, first=50)


def inserted(tmp_path: Path, nodules: Dataset, healthy: Dataset, name: str = "synthetic", **options: Any):
    curation = options.pop("table", nodules.folder / "curation.csv")
    options = {**INSERT, **options}
    return make(ExtractAndInsert, options, tmp_path / name, [nodules, healthy], tables=[curation])


def test_every_box_becomes_a_lesion_of_its_patient(nodules):
    """One item a box: the pictures, the masks, the box in the window, what is known, the patient as donor."""
    assert list(nodules.items["item_id"]) == [f"p{p}_000-{n}" for p in range(3) for n in range(2)]
    assert [list(donors) for donors in nodules.items["donor_subject_ids"][:2]] == [["archive/p0"]] * 2
    assert (nodules.items["origin"] == "synthetic").all()
    assert (nodules.items["split"] == "train").all()
    assert nodules.info.channel_names == ["original", "inpainted"]
    images, clean, boxes = phantoms(3, 2)
    for index in range(6):
        item = nodules.item(index)
        original, inpainted = item.image
        hole = nodules.mask(index, "hole") > 0
        assert np.array_equal(original[~hole], inpainted[~hole])
        box = item.boxes[0]
        given = boxes[index // 2][index % 2]
        assert (box["x1"] - box["x0"], box["y1"] - box["y0"]) == (given[2] - given[0], given[3] - given[1])
        middle = (box["x0"] + box["x1"]) / 2, (box["y0"] + box["y1"]) / 2
        assert middle == pytest.approx((WINDOW / 2, WINDOW / 2), abs=1)
        true = (images[index // 2].astype(float) - clean[index // 2]).sum() / 2
        assert item.attributes["mass"] == pytest.approx(true, rel=0.6)
        assert item.attributes["proposed"] == "accept"
        assert item.attributes["diameter_mm"] == pytest.approx(1.4 * item.attributes["diameter_px"])
        assert lesion_of(nodules, index).mass == pytest.approx(item.attributes["mass"])
        assert item.attributes["healthy_places"] == 0


def test_lesions_are_cut_out_with_the_bias_that_healthy_places_show(tmp_path):
    """It stands in the row, and the stored lesion is cut out again with it."""
    images, healthy, boxes = phantoms(1, 1)
    boxed = write_chest(tmp_path / "boxed", images, boxes)
    options, model = {**EXTRACT, "healthy_places": 6}, Oracle(healthy, offset=6.0)
    made = make(ExtractLesions, options, tmp_path / "nodules", [boxed], model=model)
    item = made.item(0)
    assert item.attributes["healthy_places"] == 6
    assert item.attributes["inpainter_offset"] > 1
    assert item.attributes["beside_healthy"] > 3
    assert lesion_of(made, 0).mass == pytest.approx(item.attributes["mass"])
    assert len(set(model.asked)) == 7, "a seed of its own for each hole"


def test_boxes_at_the_border_and_too_large_ones(tmp_path):
    """At the border the window moves; a box partly outside is cut; too large or empty ones fail."""
    shape = [NoduleShape(0.04, 0.5, 0.07, 0.3)]
    made = radiograph(np.random.default_rng(0), SIDE, shape)
    boxes = [
        (-9.0, 119.0, 20.0, 138.0),
        (60.0, 60.0, 120.0, 110.0),
        (300.0, 10.0, 320.0, 30.0),
        (160.0, 100.0, 176.0, 116.0),
    ]
    boxed = write_chest(tmp_path / "boxed", [stored(made.image)], [boxes])
    options = {**EXTRACT, "max_failed_fraction": 0.9}
    found = make(ExtractLesions, options, tmp_path / "nodules", [boxed], model=Oracle([stored(made.healthy)]))
    assert list(found.items["item_id"]) == ["p0_000-0"]
    assert found.item(0).attributes["cut_by_border"]
    assert found.item(0).boxes[0]["x0"] == 0
    reasons = dict(zip(found.failures["item_id"], found.failures["reason"], strict=True))
    assert "60 pixels long, the inpainter has learnt holes of 56" in reasons["p0_000-1"]
    assert "outside the image" in reasons["p0_000-2"]
    assert "nothing brighter than the noise" in reasons["p0_000-3"]


def test_a_hole_has_no_side_that_the_inpainter_has_not_learnt():
    """Also around boxes with edges inside pixels, which cover one pixel more than they are long."""
    assert hole_around(Box(20, 20, 60, 60), WINDOW, 46, 0.35).sum() == 46**2
    assert hole_around(Box(20.5, 20.5, 59.5, 59.5), WINDOW, 46, 0.35).sum() == 46**2
    with pytest.raises(DataError, match="the box is 41 pixels long"):
        hole_around(Box(20.5, 20, 60.5, 60), WINDOW, 46, 0.35)


def test_dark_bones_are_turned_before_anything_is_cut_out(tmp_path):
    """An inverted radiograph gives the same lesion; an inverted host gets it in its own polarity."""
    images, clean, boxes = phantoms(1, 1)
    plain = write_chest(tmp_path / "boxed", images, boxes)
    dark = write_chest(tmp_path / "dark/boxed", [255 - images[0]], boxes)
    found = [
        make(ExtractLesions, EXTRACT, tmp_path / name / "nodules", [data], model=Oracle(clean))
        for name, data in (("a", plain), ("b", dark))
    ]
    assert np.array_equal(found[0].image(0), found[1].image(0))
    assert found[1].item(0).attributes["inverted"]
    hosts = phantoms(1, 0, first=50)[0]
    show_lesions(found[0], found[0].folder / "curation.csv", tmp_path / "sheet.png")
    for name, host in (("bright", hosts[0]), ("dark", 255 - hosts[0])):
        data = write_chest(tmp_path / name / "healthy", [host], [[]], first=50)
        made = inserted(tmp_path / name, found[0], data, count=1, seed=3)
        inside = made.mask(0, "label") > 0
        change = made.image(0)[0].astype(int) - host
        assert (change[inside].mean() > 0) == (name == "bright")
        assert np.abs(change[inside]).mean() > 5


def test_what_does_not_fit_is_said(tmp_path):
    """Another depth, no boxes of the label, patches larger than the image."""
    images, clean, boxes = phantoms(1, 1)
    boxed = write_chest(tmp_path / "boxed", images, boxes, label="Mass")
    with pytest.raises(DataError, match=r"no training image has a box labelled Nodule; .* labelled: Mass"):
        make(ExtractLesions, {**EXTRACT, "label": ["Nodule"]}, tmp_path / "a", [boxed], model=Oracle(clean))
    other = Oracle(clean)
    other.spec = ImageSpec((1, WINDOW, WINDOW), "uint16", (0.0, 65535.0), ["grey"], [], {}, "chest", None)
    with pytest.raises(DataError, match="image_dtype uint8, painter was trained on uint16"):
        make(ExtractLesions, EXTRACT, tmp_path / "b", [boxed], model=other)
    large = Oracle(clean)
    large.image_shape = (1, 512, 512)
    with pytest.raises(DataError, match="fills windows of 512"):
        make(ExtractLesions, EXTRACT, tmp_path / "c", [boxed], model=large)


@pytest.mark.parametrize("blend", ["additive", "paste", "poisson"])
def test_radiographs_with_lesions_in_their_lungs(tmp_path, nodules, healthy, blend):
    """Hosts in turn, untouched outside; boxes and labels on lungs; donors and the how are recorded."""
    made = inserted(tmp_path, nodules, healthy, blend=blend, per_image=[1, 2])
    assert len(made) == 6
    assert made.info.labels == {1: "Nodule"}
    hosts = list(made.items["host_item"])
    assert sorted(hosts[:4]) == [f"p{n}_000" for n in range(50, 54)], "each host once before one comes again"
    assert hosts[4:] == hosts[:2]
    source = dict(zip(healthy.items["item_id"], range(4), strict=True))
    for index in range(6):
        item, row = made.item(index), made.items.iloc[index]
        host = healthy.image(source[row["host_item"]])[0]
        label = made.mask(index, "label") > 0
        changed = item.image[0] != host
        near = np.zeros_like(label)
        for box in item.boxes:
            grow = 10
            near[
                max(0, int(box["y0"]) - grow) : int(box["y1"]) + grow,
                max(0, int(box["x0"]) - grow) : int(box["x1"]) + grow,
            ] = True
        assert not changed[~near].any()
        assert changed[label].mean() > 0.5
        assert len(item.boxes) == len(row["lesion_item"]) in (1, 2)
        lungs = radiograph(np.random.default_rng(int(row["host_item"][1:3])), SIDE).lungs.any(axis=0)
        assert lungs[label].mean() > 0.9
        donors = {f"archive/{name.split('_')[0]}" for name in (row["host_item"], *row["lesion_item"])}
        assert set(row["donor_subject_ids"]) == donors
        assert len(set(row["lesion_item"])) == len(row["lesion_item"])
        for key in ("angle_deg", "scale", "contrast", "diameter_mm", "clipped", "y", "x"):
            assert len(row[f"lesion_{key}"]) == len(item.boxes)
        assert all(0.8 <= scale <= 1.25 for scale in row["lesion_scale"])
        assert item.attributes["view"] == "PA"


def test_items_do_not_depend_on_shards_or_on_how_many_are_made(tmp_path, nodules, healthy):
    """The same seed gives the same radiographs; another seed others."""
    few = inserted(tmp_path, nodules, healthy, "few/synthetic", count=2)
    more = inserted(tmp_path, nodules, healthy, "more/synthetic", count=3)
    other = inserted(tmp_path, nodules, healthy, "other/synthetic", count=2, seed=1)
    assert all(np.array_equal(few.image(n), more.image(n)) for n in range(2))
    assert not all(np.array_equal(few.image(n), other.image(n)) for n in range(2))


def test_lesions_come_equally_often_and_meet_every_host(tmp_path, nodules, healthy):
    """Also where the numbers of hosts and of lesions, here 4 and 6, have a divisor in common."""
    everywhere = {"kind": "boxes", "boxes": [[0, 0, 1, 1]], "margin": 0}
    rows = inserted(tmp_path, nodules, healthy, count=24, lung=everywhere, scale=[0.8, 0.8]).items
    assert rows["lesion_item"].explode().value_counts().eq(4).all()
    assert rows.explode("lesion_item").groupby("host_item")["lesion_item"].nunique().max() > 3


def test_sizes_in_mm_are_kept(tmp_path, nodules, healthy):
    """On a host whose pixels are half as large a lesion covers twice as many each way, unless not wanted."""
    images, _, boxes = phantoms(1, 0, first=50)
    fine = write_chest(tmp_path / "fine/healthy", images, boxes, first=50, spacing=(0.7, 0.7))
    same = {"count": 1, "scale": [1.0, 1.0], "rotate_deg": 0}
    kept = inserted(tmp_path, nodules, fine, "kept/synthetic", **same).items.iloc[0]
    as_is = inserted(tmp_path, nodules, fine, "as_is/synthetic", match_spacing=False, **same).items.iloc[0]
    lesion = nodules.items.set_index("item_id").loc
    for row, factor in ((kept, 2), (as_is, 1)):
        expected = lesion[row["lesion_item"][0]]["diameter_px"] * factor
        assert row["lesion_diameter_px"][0] == pytest.approx(expected, rel=0.1)


def test_lung_boxes_hold_whole_lesions_and_no_room_is_a_failed_item(tmp_path, nodules, healthy):
    """The study's two boxes; boxes too small for any lesion fail with the reason, and the host's name."""
    boxes = [[0.2, 0.3, 0.4, 0.6], [0.6, 0.3, 0.8, 0.6]]
    made = inserted(tmp_path, nodules, healthy, "boxes/synthetic", lung={"kind": "boxes", "boxes": boxes})
    for index in range(len(made)):
        for box in made.item(index).boxes:
            assert any(
                x0 * SIDE <= box["x0"]
                and box["x1"] <= x1 * SIDE
                and y0 * SIDE <= box["y0"]
                and box["y1"] <= y1 * SIDE
                for x0, y0, x1, y1 in boxes
            )
    with pytest.raises(DataError, match=r"host p5\d_000: no place in the lungs for a lesion of \d+ pixels"):
        inserted(
            tmp_path,
            nodules,
            healthy,
            "no/synthetic",
            lung={"kind": "boxes", "boxes": [[0.2, 0.3, 0.24, 0.34]]},
        )


def test_a_radiograph_without_lungs_fails_with_its_reason(tmp_path, nodules):
    """Never a lesion on a picture in which no lungs are found."""
    images, _, _ = phantoms(3, 0, first=50)
    blank = np.full_like(images[0], 9)
    hosts = write_chest(tmp_path / "healthy", [*images, blank], [[]] * 4, first=50)
    made = inserted(tmp_path, nodules, hosts, count=4, max_failed_fraction=0.25)
    assert list(made.failures["host_item"]) == ["p53_000"]
    assert "blank" in made.failures["reason"][0]
    boxed = write_chest(tmp_path / "boxed_hosts/healthy", images, [[(1, 2, 30, 40)]] * 3, first=60)
    with pytest.raises(DataError, match="not healthy"):
        inserted(tmp_path, nodules, boxed, "no/synthetic")


def test_lungs_by_a_segmenter(tmp_path, nodules, healthy):
    """What a trained segmenter draws is where lesions may lie."""
    import torch

    class Drawn(nn.Module):
        spec = ImageSpec.of(healthy.info)

        def condition(self, item):
            return torch.zeros(1, SIDE, SIDE)

        def sample(self, conditions, seeds):
            mask = torch.zeros(len(seeds), 1, SIDE, SIDE)
            mask[..., 120:200, 100:180] = 1
            return mask

        def decode(self, images):
            return images.numpy().astype(np.uint8)

    options = {**INSERT, "count": 2, "lung": {"kind": "segmenter", "segmenter": "lungs"}}
    made = make(
        ExtractAndInsert,
        options,
        tmp_path / "synthetic",
        [nodules, healthy],
        tables=[nodules.folder / "curation.csv"],
        model=Drawn(),
        named="lungs",
    )
    for index in range(2):
        (box,) = made.item(index).boxes
        assert box["x0"] >= 100
        assert box["y1"] <= 200
    with pytest.raises(ValueError, match="go together"):
        TypeAdapter(RecipeConfig).validate_python({**INSERT, "lung": {"kind": "segmenter"}})
    assert ModelRef(generator="lungs") == TypeAdapter(RecipeConfig).validate_python(options).lung_segmenter


def test_a_segmenter_of_lungs_is_shown_bright_bones(tmp_path, nodules, healthy):
    """A host that is stored with dark bones is turned before, and is given back as it was."""
    import torch

    shown = []

    class Drawn(nn.Module):
        spec = ImageSpec.of(healthy.info)

        def condition(self, item):
            shown.append(item.image[0])
            return torch.zeros(1, SIDE, SIDE)

        def sample(self, conditions, seeds):
            return torch.ones(len(seeds), 1, SIDE, SIDE)

        def decode(self, images):
            return images.numpy().astype(np.uint8)

    host = healthy.image(0)[0]
    dark = write_chest(tmp_path / "dark/healthy", [255 - host], [[]], first=50)
    made = make(
        ExtractAndInsert,
        {**INSERT, "count": 1, "lung": {"kind": "segmenter", "segmenter": "lungs"}},
        tmp_path / "synthetic",
        [nodules, dark],
        tables=[nodules.folder / "curation.csv"],
        model=Drawn(),
        named="lungs",
    )
    np.testing.assert_array_equal(shown[0], host)
    assert made.image(0)[0, :8].tolist() == (255 - host)[:8].tolist()


def test_a_person_decides_which_lesions_are_used(tmp_path, nodules, healthy):
    """The proposals are a table to edit; what it rejects is in no radiograph; the sheet is a picture."""
    table = pd.read_csv(nodules.folder / "curation.csv")
    assert list(table.columns) == ["item_id", "visibility", "accept"]
    assert table["visibility"].is_monotonic_decreasing
    with Image.open(nodules.folder / "contact-sheet.png") as sheet:
        assert sheet.height > 6 * 160
    edited = tmp_path / "edited.csv"
    table["accept"] = ["yes" if name == "p1_000-0" else "No" for name in table["item_id"]]
    table.to_csv(edited, index=False)
    made = inserted(tmp_path, nodules, healthy, table=edited)
    assert {name for names in made.items["lesion_item"] for name in names} == {"p1_000-0"}


@pytest.mark.parametrize("name", ["mine.CSV", "mine.txt", "mine"])
def test_a_table_may_have_any_name(tmp_path, nodules, healthy, name):
    """What is no weights and no manifest is the table; a recipe that reads none says so."""
    table = shutil.copy(nodules.folder / "curation.csv", tmp_path / name)
    inputs = [healthy.folder / "manifest.parquet", nodules.folder / "manifest.parquet", Path(table)]
    shard = tmp_path / "synthetic" / f"{shard_name(0, 1)}.arrow"
    synthesise_shard(TypeAdapter(RecipeConfig).validate_python(INSERT), inputs, shard, Runtime())
    made = pd.read_parquet(shard.with_suffix(".parquet"))["lesion_item"].dropna()
    assert set() < {item for items in made for item in items} <= set(nodules.items["item_id"])
    labels = {"recipe": "pseudo_label", "images": "healthy", "segmenter": {"generator": "lungs"}}
    with pytest.raises(DataError, match=rf"{name}: expected weights.safetensors of a model"):
        synthesise_shard(TypeAdapter(RecipeConfig).validate_python(labels), inputs, shard, Runtime())


def test_a_lesion_is_cut_out_once_however_often_it_is_inserted(tmp_path, nodules, healthy, monkeypatch):
    """Cutting out solves sparse systems; six lesions in 18 radiographs are cut out six times."""
    asked = []

    def counted(data: Dataset, number: int) -> Lesion:
        asked.append(number)
        return lesion_of(data, number)

    monkeypatch.setattr("mirage.recipes.extract_and_insert.lesion_of", counted)
    everywhere = {"kind": "boxes", "boxes": [[0, 0, 1, 1]], "margin": 0}
    made = inserted(tmp_path, nodules, healthy, count=18, lung=everywhere, scale=[0.8, 0.8])
    assert len(made) == 18
    assert sorted(asked) == list(range(6))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.rename(columns={"accept": "keep"}), "no column accept"),
        (lambda t: t.replace("p1_000-0", "p9_000-0"), "p9_000-0 are no lesions"),
        (lambda t: t[1:], "have no line"),
        (lambda t: pd.concat([t, t[:1]]), "stand in it twice"),
        (lambda t: t.assign(accept=["maybe", *t["accept"][1:]]), "'maybe'"),
        (lambda t: t.assign(accept=0), "accepts none of the 6 lesions"),
    ],
)
def test_a_broken_table_is_refused_with_the_names(tmp_path, nodules, change, message):
    """Columns, unknown, missing and repeated ids, unreadable decisions, nothing accepted."""
    table = pd.read_csv(nodules.folder / "curation.csv", dtype=str)
    change(table).to_csv(tmp_path / "edited.csv", index=False)
    with pytest.raises(DataError, match=message):
        accepted(tmp_path / "edited.csv", nodules)


def test_the_studys_own_leak_is_refused(tmp_path, nodules, healthy):
    """Nodules of the benchmark's images inserted into training images: refused, naming patients and items.

    The study tested on the 79 boxed images whose nodules it had inserted. Also where they come from another
    entry of the same archive, and where only the inpainter has learnt from a test patient.
    """
    made = inserted(tmp_path, nodules, healthy)
    images, _, boxes = phantoms(3, 2)
    benchmark = write_chest(tmp_path / "benchmark", images, boxes, split="test")
    with pytest.raises(
        LeakError, match=r"synthetic has learnt from test subjects of benchmark: archive/p0"
    ) as raised:
        check_training([made], benchmark)
    assert "donors of its items synthetic_000000" in str(raised.value)
    elsewhere = write_chest(tmp_path / "elsewhere", images, boxes, split="test", first=70)
    check_training([made], elsewhere)
    of_hosts = write_chest(tmp_path / "same_hosts", images, boxes, split="test", first=53)
    with pytest.raises(LeakError, match="archive/p53"):
        check_training([made], of_hosts)
    learnt = make(
        ExtractLesions,
        EXTRACT,
        tmp_path / "learnt/nodules",
        [Dataset(tmp_path / "boxed")],
        model=Oracle(phantoms(3, 2)[1]),
        lineage={"archive/p71"},
    )
    show_lesions(learnt, learnt.folder / "curation.csv", tmp_path / "sheet.png")
    with pytest.raises(LeakError, match="archive/p71"):
        check_training([inserted(tmp_path, learnt, healthy, "second/synthetic")], elsewhere)


def test_test_patients_are_never_donors(tmp_path):
    """Boxes of validation and test images are not extracted, however large a part is asked for."""
    images, clean, boxes = phantoms(3, 1)
    data = write_chest(tmp_path / "boxed", images, boxes, split=["train", "val", "test"])
    made = make(ExtractLesions, EXTRACT, tmp_path / "nodules", [data], model=Oracle(clean))
    assert list(made.items["item_id"]) == ["p0_000-0"]
    with pytest.raises(DataError, match="2 training images are asked for"):
        make(ExtractLesions, {**EXTRACT, "images": 2}, tmp_path / "more", [data], model=Oracle(clean))


def oracle(subjects: int, offset: float = 0.0) -> Oracle:
    """One that knows the phantoms of ``recovered``, and draws too dark."""
    from mirage import seeds

    views = ["AP" if subject % 4 == 3 else "PA" for subject in range(subjects)]
    made = [radiograph(seeds.rng(0, "recovery", n), SIDE, 2, view) for n, view in enumerate(views)]
    return Oracle([stored(one.healthy) for one in made], offset=offset)


def test_an_oracle_gives_the_mass_of_all_nodules_back():
    """On random phantoms the extracted mass is the true one within 10 %, but for those lost in the noise."""
    table = recovered(oracle(6).fill, WINDOW, LIMIT, side=SIDE, subjects=6, places=0)
    assert len(table) == 12
    assert (table["reason"] == "").all()
    assert table["ratio"].median() == pytest.approx(1, abs=0.03)
    assert (table["ratio"] - 1).abs().max() < 0.1


def test_what_an_inpainter_draws_too_dark_is_learnt_at_healthy_places():
    """Six grey values too dark make nodules too heavy; the healthy places of the same phantom say so."""
    dark = oracle(2, offset=6.0)
    known, unknown = (
        recovered(dark.fill, WINDOW, LIMIT, side=SIDE, subjects=2, places=places) for places in (6, 0)
    )
    assert unknown["ratio"].median() > 1.1
    assert (unknown["places"] == 0).all()
    assert known["ratio"].median() == pytest.approx(1, abs=0.05)
    assert known["places"].min() >= 4
