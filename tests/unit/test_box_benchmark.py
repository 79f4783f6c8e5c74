"""`mirage benchmark`: lists of images and boxes, detectors trained on them, one table."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from mirage.cli import app
from mirage.data import Dataset
from mirage.errors import DataError, LayoutError
from mirage.sources.box_list import BoxList

TINY = "{judge: {backbone: resnet10, width: 16, fpn_channels: 8, stem_stride: 2, levels: 2}}"


def write_list(folder: Path, name: str, count: int = 12, seed: int = 0) -> Path:
    """PNGs of 48 x 40 pixels, every third without a disc, and the CSV of their boxes."""
    rng = np.random.default_rng(seed)
    (folder / name).mkdir(parents=True)
    lines = ["image,x,y,w,h,label"]
    for number in range(count):
        grey = rng.normal(80, 12, (40, 48))
        file = f"{name}/{number}.png"
        if number % 3 == 2:
            lines.append(f"{file},,,,,")
        else:
            x, y = rng.integers(0, 38), rng.integers(0, 30)
            grey[y : y + 10, x : x + 10] += 90
            lines.append(f"{file},{x},{y},10,10,Nodule")
        Image.fromarray(np.clip(grey, 0, 255).astype(np.uint8)).save(folder / file)
    path = folder / f"{name}.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def benchmark(*arguments: object) -> tuple[int, str]:
    """Exit status and output of the command, at a tiny size on one thread."""
    torch.set_num_threads(1)
    common = ["benchmark", "--size", "32", "--threads", "1", "--batch-size", "2", "--options", TINY]
    result = CliRunner().invoke(app, [*common, *map(str, arguments)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


def test_list_is_read_with_several_boxes_an_image_and_none(tmp_path: Path) -> None:
    """Rows of one image are one item; an empty box is a normal image; sizes become edges."""
    path = write_list(tmp_path, "a", 3)
    with open(path, "a") as handle:
        handle.write("a/0.png,1,2,3,4,Mass\n")
    items = list(BoxList(path, "train").items())
    assert [item.attributes["file"] for item in items] == ["a/0.png", "a/1.png", "a/2.png"]
    boxes = [item.load().boxes for item in items]
    assert [len(own) for own in boxes] == [2, 1, 0]
    assert boxes[0][1] == {"x0": 1, "y0": 2, "x1": 4, "y1": 6, "label": "Mass"}
    assert len({item.subject_id for item in items}) == 3
    with open(path, "a") as handle:
        handle.write("./a/0.png,40,35,30,30,Mass\n./a/1.png,,,,,\n")
    again = list(BoxList(path, "train").items())
    assert len(again) == 3, "however a path is written"
    with pytest.raises(DataError, match="reaches outside the image of 48 x 40"):
        again[0].load()
    assert len(again[1].load().boxes) == 1


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("picture,x,y,w,h\na.png,1,2,3,4\n", LayoutError, "no column of the image's path; found picture, x"),
        ("image,x,y\na.png,1,2\n", LayoutError, "no column of the box"),
        ("image,x0,y0,x1,y1\n", LayoutError, "lists no image"),
        ("image,x0,y0,x1,y1\na.png,1,2,,\n", DataError, "line 2: box .*leave all four empty"),
        ("image,x0,y0,x1,y1\na.png,5,2,5,9\n", DataError, "line 2: the box from .* is empty"),
        ("image,x0,y0,x1,y1\na.png,5,2,inf,9\n", DataError, "line 2: box .*give four numbers"),
        ("image,x,y,w,h,subject\na.png,,,,,p1\na.png,,,,,p2\n", DataError, "line 3: a.png is of 'p2', in"),
        ("image,x0,y0,x1,y1\n,1,2,3,4\n", DataError, "line 2: column `image` is empty"),
    ],
)
def test_lists_that_cannot_be_read_are_told_where(
    tmp_path: Path, text: str, error: type[Exception], message: str
) -> None:
    """File, line and what was expected."""
    path = tmp_path / "list.csv"
    path.write_text(text)
    with pytest.raises(error, match=message):
        list(BoxList(path, "train").items())


def test_two_lists_are_trained_on_and_compared_on_a_real_one(tmp_path: Path) -> None:
    """A table with both columns; weights can be begun with; a second run prepares and trains nothing anew."""
    first, second = write_list(tmp_path, "a"), write_list(tmp_path, "b", seed=1)
    real = write_list(tmp_path, "real", 6, seed=2)
    out = tmp_path / "out"
    arguments = ["--sources", first, second, "--benchmarks", "retinanet", "--test", real, "--out", out]
    arguments += ["--num-epochs", "1", "--split", "0.7"]
    status, output = benchmark(*arguments)
    assert status == 0, output
    assert "a, retinanet: 8 training images, 5 steps" in output
    table = pd.read_csv(out / "table.csv")
    assert set(table["source"]) == {"a", "b"}
    assert set(table["column"]) == {"benchmark", "own"}
    assert {"cpm", "wafroc", "hit_fraction", "ap20"} <= set(table["metric"])
    facts = json.loads((out / "a/retinanet/details/arm.json").read_text())
    assert facts["columns"]["benchmark"] == {
        "images": 6,
        "normal": 2,
        "subjects": 6,
        "lesions": 4,
        "marks": facts["columns"]["benchmark"]["marks"],
    }
    written = (out / "data/a-train/manifest.parquet").stat().st_mtime_ns
    state = {path: path.stat().st_mtime_ns for path in (out / "a/retinanet/state").rglob("*.pt")}
    status, _ = benchmark(*arguments)
    assert status == 0
    assert (out / "data/a-train/manifest.parquet").stat().st_mtime_ns == written
    assert {path: path.stat().st_mtime_ns for path in (out / "a/retinanet/state").rglob("*.pt")} == state
    pd.testing.assert_frame_equal(pd.read_csv(out / "table.csv"), table)

    model = out / "a/retinanet"
    common = ["--test", real, "--num-epochs", "1", "--pretrained-model-path", model]
    status, output = benchmark("--sources", second, *common, "--out", tmp_path / "more")
    assert status == 0, output
    status, output = benchmark("--sources", first, second, *common, "--out", tmp_path / "both")
    assert status == 1
    assert "name one of each" in output
    status, output = benchmark(
        "--sources", second, "--num-epochs", "1", "--out", tmp_path / "x", "--pretrained-model-path", real
    )
    assert status == 1
    assert "detector.json: missing" in output


def test_grey_values_of_twelve_bits_need_an_intensity(tmp_path: Path) -> None:
    """Files of 16 bits that use a sixteenth of them are refused, and trained on with a window."""
    path = write_list(tmp_path, "a")
    for file in (tmp_path / "a").iterdir():
        Image.fromarray(np.asarray(Image.open(file)).astype(np.uint16) * 16).save(file)
    arguments = ["--sources", path, "--out", tmp_path / "out", "--num-epochs", "1", "--split", "0.7"]
    status, output = benchmark(*arguments)
    assert status == 1
    assert "kind: window, low: 0, high: 4095}" in output
    assert "--intensity" in output
    status, output = benchmark(*arguments, "--intensity", "{kind: window, low: 5}")
    assert status == 1
    assert "window needs low < high" in output
    status, output = benchmark(*arguments, "--intensity", "{kind: window, low: 0, high: 4095}")
    assert status == 0, output
    assert Dataset(tmp_path / "out/data/a-train").image(0).max() > 128


def test_every_donor_of_an_image_counts_and_none_may_be_tested(tmp_path: Path) -> None:
    """The study's own leak: lesions cut from the images that detectors are scored on."""
    write_list(tmp_path, "a", 4)
    path, real = tmp_path / "pasted.csv", tmp_path / "real.csv"
    rows = ["a/0.png,1,2,9,9,healthy,p1", "a/0.png,20,20,9,9,healthy,p2", "a/1.png,1,2,9,9,p1,"]
    path.write_text("\n".join(["image,x,y,w,h,subject_id,donor_group", *rows]) + "\n")
    items = list(BoxList(path, "train").items())
    assert items[0].attributes["donor_group"] == ["box-list/p1", "box-list/p2"]
    assert "donor_group" not in items[1].attributes
    real.write_text("image,x,y,w,h,subject_id\na/3.png,1,2,9,9,p2\n")
    status, output = benchmark("--sources", path, "--test", real, "--out", tmp_path / "out")
    assert status == 1
    assert "names 1 subject(s) of real-test, the first box-list/p2" in " ".join(output.split())


def test_what_cannot_be_compared_is_refused(tmp_path: Path) -> None:
    """A test image that is trained on, by name or by its pixels, and an unknown detector."""
    path = write_list(tmp_path, "a", 6)
    status, output = benchmark("--sources", path, "--test", path, "--out", tmp_path / "out")
    assert status == 1
    assert "the same pixels as training images of a-train" in " ".join(output.split())
    status, output = benchmark("--sources", path, "yolo", "--out", tmp_path / "out")
    assert status == 1
    assert "yolo is no detector; known are retinanet" in output
    status, output = benchmark(
        "--sources", path, "--out", tmp_path / "out", "--options", "{judge: {widht: 8}}"
    )
    assert status == 1
    assert "widht" in output
    status, output = benchmark("--sources", path, "--out", tmp_path / "out", "--tracking-uri", "mlflow.db")
    assert status == 1
    assert "--tracking-uri 'mlflow.db'" in output
