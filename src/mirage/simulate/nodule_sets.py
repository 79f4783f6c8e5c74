"""Write chest phantoms in the native layouts of JSRT and NODE21."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mirage import seeds
from mirage.config.datasets import LAYOUTS, SimulateOptions
from mirage.simulate.chest import Radiograph, radiograph
from mirage.simulate.native import Truth

SIDE = 2048
SPACING_MM = 0.175
HIGHEST = 4095
NODULE_SHARE = 0.62
"""154 of the 247 images of JSRT."""
DIAGNOSES = {"malignant": "lung cancer", "benign": "granuloma"}


def write_jsrt(options: SimulateOptions, folder: Path) -> Truth:
    """JSRT: raw files of 2048 x 2048, or PNG of ``options.size`` with ``layout: png``, and the text tables.

    Phantoms are drawn at ``options.size``; raw files are enlarged to their only size.
    """
    truth: Truth = {}
    raw = (options.layout or LAYOUTS["jsrt"][0]) == "raw"
    counts, rows = {"LN": 0, "NN": 0}, {"LN": list[str](), "NN": list[str]()}
    for subject in range(options.subjects):
        rng = seeds.rng(options.seed, "simulate-jsrt", subject)
        # The first two are of either kind, so that the smallest set has both.
        kind = "LN" if (rng.random() < NODULE_SHARE if subject > 1 else subject == 0) else "NN"
        counts[kind] += 1
        name = f"JPC{kind}{counts[kind]:03d}"
        made = radiograph(rng, options.size, int(kind == "LN"))
        place = folder / {"LN": "Nodule154images", "NN": "NonNodule93images"}[kind]
        place.mkdir(exist_ok=True)
        if raw:
            _write_raw(made.image, place / f"{name}.IMG")
        else:
            Image.fromarray(np.rint(made.image * 255).astype(np.uint8)).save(place / f"{name}.png")
        age, sex = int(rng.integers(20, 90)), ("male", "female")[int(rng.integers(2))]
        if kind == "LN":
            fields, known = _nodule_row(made, rng, age, sex)
            rows[kind].append("\t".join([f"{name}.IMG", *fields]))
            truth[name] = known
        else:
            rows[kind].append(f"{name}.IMG   {age}  {sex}  non-nodule")
            truth[name] = {"nodules": []}
    # The original ends its lines as old Macintoshes did.
    (folder / "CLNDAT_EN.txt").write_bytes("".join(f"{row}\r" for row in rows["LN"]).encode())
    (folder / "CNNDAT_EN.TXT").write_bytes("".join(f"{row}\r\n" for row in rows["NN"]).encode())
    return truth


def _write_raw(image: np.ndarray, path: Path) -> None:
    """Two bytes a pixel, high byte first, bright where the film is dark."""
    large = np.asarray(Image.fromarray(image).resize((SIDE, SIDE), Image.Resampling.BILINEAR))
    values = HIGHEST - np.rint(np.clip(large, 0, 1) * HIGHEST)
    path.write_bytes(values.astype(">u2").tobytes())


def _nodule_row(
    made: Radiograph, rng: np.random.Generator, age: int, sex: str
) -> tuple[list[str], dict[str, Any]]:
    """Fields of the table after the name, and the truth in shares of the image's side."""
    shape = made.nodules[0].shape
    malignant = "malignant" if rng.random() < 0.65 else "benign"
    subtlety = int(np.clip(1 + 5 * (shape.contrast - 0.06) / 0.14, 1, 5))
    side = "r" if shape.x < 0.5 else "l"
    third = ("upper", "middle", "lower")[min(2, int(3 * (shape.y - 0.12) / 0.65))]
    size = round(shape.diameter * SIDE * SPACING_MM)
    fields = [subtlety, size, age, sex, round(shape.x * SIDE), round(shape.y * SIDE), malignant]
    where = [f"{side}.{third} lobe", DIAGNOSES[malignant]]
    known = {"x": shape.x, "y": shape.y, "diameter": shape.diameter, "malignancy": malignant}
    return [*map(str, fields), *where], {"nodules": [known]}


def write_node21(options: SimulateOptions, folder: Path) -> Truth:
    """NODE21's processed images: every third has one to three nodules, the others have none."""
    truth: Truth = {}
    place = folder / "cxr_images" / "proccessed_data"
    (place / "images").mkdir(parents=True)
    rows: list[list[Any]] = []
    counts = {"n": 0, "c": 0}
    for subject in range(options.subjects):
        rng = seeds.rng(options.seed, "simulate-node21", subject)
        kind = "c" if subject % 3 else "n"
        made = radiograph(rng, options.size, int(rng.integers(1, 4)) if kind == "n" else 0)
        name = f"{kind}{counts[kind]:04d}.mha"
        counts[kind] += 1
        _write_mha(made.image, place / "images" / name)
        boxes = [nodule.box for nodule in made.nodules]
        rows += [[y1 - y0, name, 1, x1 - x0, x0, y0] for x0, y0, x1, y1 in boxes] or [[0, name, 0, 0, 0, 0]]
        truth[name] = {"nodules": [{"box": list(box)} for box in boxes]}
    _write_csv(place / "metadata.csv", ["height", "img_name", "label", "width", "x", "y"], rows)
    return truth


def _write_mha(image: np.ndarray, path: Path) -> None:
    import SimpleITK

    values = np.rint(image * HIGHEST).astype(np.uint16)
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(values), str(path), useCompression=True)


def _write_csv(path: Path, header: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    with open(path, "w", encoding="utf-8", newline="") as handle:
        csv.writer(handle, lineterminator="\n").writerows([header, *rows])
