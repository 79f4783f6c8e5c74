"""Chapters on inpainters and on lesions that were cut out and inserted: what is counted, drawn and said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from conftest import write_dataset
from mirage.data import Dataset
from mirage.errors import DataError
from mirage.recipes.extract_lesions import lesion_of
from mirage.report import ReportInputs
from mirage.report.book import Book
from mirage.report.chapters.base import Chapter
from mirage.report.chapters.inpainting import cut_grid, inpainting_chapter
from mirage.report.chapters.lesions import choices, lesion_chapter
from mirage.report.images import Tile
from mirage.report.numbers import DASH
from mirage.report.tumours import measure_all
from mirage.training.previews import write_grid

SIDE = 40


def made(folder: Path, channels: list[str], masks: list[str], items: int, **columns: Any) -> Dataset:
    """Noise with a bright square in the middle of its first channel; masks are that square, `hole` larger."""

    def item(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray | None]:
        image = rng.integers(60, 90, (len(channels), SIDE, SIDE), dtype=np.uint8)
        image[0, 15:25, 15:25] += 60
        square = np.zeros((SIDE, SIDE), np.uint8)
        square[15:25, 15:25] = 1
        hole = np.pad(np.ones((SIDE - 16, SIDE - 16), np.uint8), 8)
        return image, np.stack([hole if mask == "hole" else square for mask in masks]) if masks else None

    data = write_dataset(
        folder, item, splits={"train": items}, shards=1, seed=0, origin="synthetic", mask_origin=None,
        modality="chest", image_shape=(len(channels), SIDE, SIDE), image_dtype="uint8",
        channel_names=channels, mask_channels=masks, labels={}, lineage=[],
    )  # fmt: skip
    data.items = data.items.assign(**columns)
    return data


def study(folder: Path) -> dict[str, Dataset]:
    """Three lesions, of which two are proposed, hosts, and two radiographs with inserted lesions."""
    box = {"x0": 15.0, "y0": 15.0, "x1": 25.0, "y1": 25.0, "label": "Nodule"}
    cut = made(
        folder / "nodules", ["original", "inpainted"], ["lesion", "hole"], 3,
        proposed=["accept", "accept", "reject"], visibility=[0.9, 0.7, 0.1], contrast=[40.0, 30.0, 2.0],
        diameter_px=[9.0, 11.0, 4.0], donor_subject_ids=[["n/a"], ["n/b"], ["n/a"]], boxes=[[box]] * 3,
        inpainter_trust=[1.0] * 3, inpainter_offset=[20.0] * 3, healthy_places=[8] * 3,
    )  # fmt: skip
    hosts = made(folder / "healthy", ["grey"], [], 2)
    inserted = made(
        folder / "inserted", ["grey"], ["label"], 2,
        boxes=[[box], [box, box]], host_item=["train_0", "train_1"], lesion_contrast=[[35.0], [28.0, 31.0]],
        lesion_diameter_px=[[9.0], [10.0, 12.0]],
    )  # fmt: skip
    options = {
        "recipe": "extract_and_insert",
        "lesions": "nodules",
        "hosts": "healthy",
        "lung": {"kind": "boxes"},
    }
    inserted.info = inserted.info.model_copy(update={"provenance": {"config": options}})
    return {"nodules": cut, "healthy": hosts, "inserted": inserted}


def table(folder: Path, name: str, accept: list[Any]) -> Path:
    """A table of decisions on the three lesions."""
    ids = [f"train_{number}" for number in range(3)]
    pd.DataFrame({"item_id": ids, "accept": accept}).to_csv(folder / name, index=False)
    return folder / name


def projected(folder: Path) -> dict[str, Dataset]:
    """Two CT nodules, one of them of a test patient, hosts, and two radiographs with projected nodules."""
    nodules = made(folder / "ct", ["grey"], ["label"], 2, split=["train", "test"], diameter_mm=[14.0, 90.0])
    box = {"x0": 15.0, "y0": 15.0, "x1": 25.0, "y1": 25.0, "label": "Nodule"}
    inserted = made(
        folder / "projected", ["grey"], ["label"], 2,
        boxes=[[box], [box, box]], host_item=["train_0", "train_1"], lesion_contrast=[[0.2], [0.1, 0.3]],
        lesion_projected_contrast=[[0.4], [0.2, 0.6]], lesion_diameter_px=[[10.0], [10.0, 12.0]],
        lesion_diameter_mm=[[20.0], [20.0, 24.0]],
    )  # fmt: skip
    options = {"recipe": "project_and_insert", "nodules": "ct", "hosts": "healthy", "blend": "mixed"}
    inserted.info = inserted.info.model_copy(update={"provenance": {"config": options}})
    return {"ct": nodules, "healthy": made(folder / "healthy", ["grey"], [], 2), "projected": inserted}


def exhibits(chapter: Chapter | None) -> dict[str, Any]:
    """Exhibits of a chapter by id."""
    assert chapter is not None
    return {block.exhibit.id: block.exhibit for block in chapter.blocks if block.exhibit is not None}


def test_lesions_are_counted_drawn_and_compared(tmp_path: Path) -> None:
    """Counts follow the curation; every panel is there; measures are of single lesions."""
    data = study(tmp_path)
    shown = exhibits(lesion_chapter(data, {}, Book(tmp_path / "report")))
    ids = ["lesions/nodules", "extraction/nodules", "contact_sheet/nodules", "inserted/inserted"]
    assert list(shown) == [*ids, "residuals/nodules", "residual_table/nodules"]
    counted = {row[0].text: row[1].text for row in shown["lesions/nodules"].rows}
    assert (counted["boxes"], counted["accepted"], counted["rejected"], counted["patients"]) == tuple("3212")
    assert shown["extraction/nodules"].columns == ["original", "masked", "inpainted", "lesion"]
    assert len(shown["extraction/nodules"].pictures) == 3
    assert "the same for all radiographs" in shown["inserted/inserted"].caption
    assert all(picture is not None for row in shown["inserted/inserted"].pictures for picture in row)
    cells = [[cell.text for cell in row] for row in shown["residual_table/nodules"].rows]
    assert cells == [["nodules, extracted", "35.0", "10.0"], ["inserted", "31.0", "10.0"]]
    assert "n = 3" in shown["residual_table/nodules"].rows[1][1].note


def test_the_table_of_the_inserting_recipe_counts(tmp_path: Path) -> None:
    """Not the proposals beside the lesions, which are made anew; in numbers, words and curves."""
    data = study(tmp_path)
    table(data["nodules"].folder, "curation.csv", [1, 1, 0])
    mine = table(tmp_path, "mine.txt", ["no", "Yes", "1"])
    shown = exhibits(lesion_chapter(data, {"inserted": mine}, Book(tmp_path / "report")))
    counted = {row[0].text: row[1].text for row in shown["lesions/nodules"].rows}
    assert (counted["accepted"], counted["rejected"]) == ("2", "1")
    words = [picture.note for row in shown["contact_sheet/nodules"].pictures for picture in row]
    assert words == ["rejected", "accepted", "accepted"]
    words = [row[-1].note.partition(",")[0] for row in shown["extraction/nodules"].pictures]
    assert words == ["rejected", "accepted", "accepted"]
    assert shown["residual_table/nodules"].rows[0][1].text == "16.0"  # median of 30 and 2


def test_recipes_may_decide_otherwise_and_a_table_of_other_lesions_is_refused(tmp_path: Path) -> None:
    """Two tables are told apart; lesions that are new since a table was written are named."""
    data = study(tmp_path)["nodules"]
    curations = {
        "one": table(tmp_path, "one.csv", [1, 0, 0]),
        "other": table(tmp_path, "other.csv", [1, 1, 0]),
    }
    found = {name: own.tolist() for name, own in choices(data, ["one", "other"], curations).items()}
    assert found == {"one": [True, False, False], "other": [True, True, False]}
    (tmp_path / "old.csv").write_text("item_id,accept\ntrain_0,1\n")
    with pytest.raises(DataError, match="train_1, train_2 have no line"):
        choices(data, ["one"], {"one": tmp_path / "old.csv"})


def test_the_panel_of_a_lesion_is_what_is_inserted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Grey outside its soft edge, where the plain difference is noise, and in proportion within."""
    data, drawn = study(tmp_path), {}

    def kept(rgb: np.ndarray, alt: str, *more: Any, **named: Any) -> Tile:
        drawn[alt] = rgb
        return Tile(rgb, alt, *more, **named)

    monkeypatch.setattr("mirage.report.chapters.lesions.Tile", kept)
    lesion_chapter(data, {}, Book(tmp_path / "report"))
    shown = drawn["train_0, lesion"][..., 0].astype(float) - 128
    lesion = lesion_of(data["nodules"], 0)
    beside = lesion.support == 0
    assert (shown[beside] == 0).all()
    assert abs(lesion.residual[beside & (data["nodules"].mask(0, "hole") > 0)]).max() > 5
    added = lesion.residual * lesion.support
    np.testing.assert_allclose(shown, added * 127 / abs(added).max(), atol=0.51)


def test_projected_nodules_have_pictures_and_measures(tmp_path: Path) -> None:
    """Also where nothing is extracted; what is known in CT is the diameter of its training nodules."""
    shown = exhibits(lesion_chapter(projected(tmp_path), {}, Book(tmp_path / "report")))
    assert list(shown) == ["inserted/projected", "residuals/ct", "residual_table/ct"]
    assert "mixed blending" in shown["inserted/projected"].caption
    assert all(picture is not None for row in shown["inserted/projected"].pictures for picture in row)
    cells = [[cell.text for cell in row] for row in shown["residual_table/ct"].rows]
    assert cells == [["ct, in CT", DASH, DASH, "14.0"], ["projected", "0.200", "10.0", "20.0"]]
    both = {**projected(tmp_path / "again"), **study(tmp_path / "more")}
    shown = exhibits(lesion_chapter(both, {}, Book(tmp_path / "both")))
    assert {"inserted/inserted", "residual_table/nodules", "inserted/projected"} < shown.keys()


def test_patches_around_ct_nodules_are_no_tumours_of_a_place(tmp_path: Path) -> None:
    """A labelled volume is measured, unless it was cut out around its nodule."""

    def item(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        mask = np.zeros((1, 4, 6, 6), np.uint8)
        mask[0, 1:3, 2:4, 2:4] = 1
        return rng.integers(0, 255, mask.shape, dtype=np.uint8), mask

    data = write_dataset(
        tmp_path / "ct", item, splits={"train": 2}, shards=1, seed=0, origin="simulated",
        mask_origin="simulated", modality="chest CT", image_shape=(1, 4, 6, 6), image_dtype="uint8",
        channel_names=["grey"], mask_channels=["label"], labels={1: "Nodule"}, lineage=[],
    )  # fmt: skip
    assert len(measure_all({"ct": data}, [])) == 1
    data.items = data.items.assign(nodule=[0, 1])
    assert measure_all({"ct": data}, []) == []


def test_a_study_without_lesions_or_inpainters_has_no_such_chapters(tmp_path: Path) -> None:
    """Other studies' reports stay as they are."""
    book = Book(tmp_path / "report")
    assert lesion_chapter({"healthy": made(tmp_path / "healthy", ["grey"], [], 2)}, {}, book) is None
    assert inpainting_chapter({"gan": [{"arch": "dcgan", "notes": {}}]}, ReportInputs({}, {}), book) is None


def test_inpainters_are_scored_and_shown(tmp_path: Path) -> None:
    """Scores of the kept step, the perceptual features, and panels cut from the last preview."""
    panels = np.random.default_rng(0).integers(0, 255, (2, 4, 16, 16, 3), dtype=np.uint8)
    write_grid(tmp_path / "model" / "previews" / "step-0000020.png", panels)
    with Image.open(tmp_path / "model" / "previews" / "step-0000020.png") as picture:
        again = cut_grid(np.asarray(picture), 16)
    assert np.array_equal(np.array(again), panels)
    scores = {"hole_l1": (0.2, 0.0417), "hole_psnr": (10.0, 21.26), "hole_ssim": (0.3, 0.81)}
    rows = [(step, name, pair[at]) for at, step in enumerate((10, 20)) for name, pair in scores.items()]
    model = {
        "arch": "aot_gan", "seed": 0, "step": 20, "spec": {"image_shape": [1, 16, 16]},
        "notes": {"hole_value": 1.0, "perceptual_features": "fixed random convolutions"},
        "history": pd.DataFrame(rows, columns=["step", "metric", "value"]),
    }  # fmt: skip
    inputs = ReportInputs({}, {}, models={"filler": [tmp_path / "model"]})
    shown = exhibits(inpainting_chapter({"filler": [model]}, inputs, Book(tmp_path / "report")))
    texts = [cell.text for cell in shown["inpainting"].rows[0]]
    assert texts == ["filler", "0.0417", "21.3", "0.810", "1", "fixed random convolutions"]
    assert shown["inpainting/filler"].columns == ("original", "masked", "inpainted", "difference")
    assert len(shown["inpainting/filler"].pictures) == 2
