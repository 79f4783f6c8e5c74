"""Images per second and memory of filtering and patching an OMI-DB, beside a plain loop.

    python benchmarks/mammography.py 200 2000

Simulates clients in the layout of OMI-DB (JSON records and headers, 16-bit DICOM of 1024 x 819; vendors,
raw images beside processed ones, calibration images), links their images under as many clients as give the
number of images that is asked for, and makes of them what `mammo_patches` of config/studies/mammography.yaml
says: processed images of Hologic's Selenias alone, the breast, percentiles, 16 bits, a patch of 35 mm on each
mass and up to 30 of normal tissue, 128 x 128. By Mirage, a shard a process as the workflow runs them; and by
the loop that one writes with pydicom and scikit-image, which follows the same rules and saves each image's
patches as one array (.npy), or each patch as a PNG file. Prints a Markdown table.

Images are all that are in the archive, passed over or not. The clock runs from after the imports until all
processes have ended; processor time says more on a machine that others use. Memory is the sum of what the
processes held at most, imports included. Mirage also stores the patches' breast masks, a manifest with all
that the archive says of image and lesion, and digests; and its shards are on the disk when it ends, not only
on their way there. Linked images are read from the file cache by all.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from side_by_side import Used, measure, work_alone

STUDY, DATASET = Path(__file__).parents[1] / "config/studies/mammography.yaml", "mammo_patches"
SIZE = 1024
DISTINCT = 24
MODEL, INTENT, FLAG = "Selenia", "FOR PRESENTATION", "Mass"
EXTENT_MM, SIDE, NORMALS = 35, 128, 30
TISSUE, AWAY, OVERLAP, TRIES = 0.9, 0.25, 0.5, 300


def simulate(folder: Path, clients: int, size: int) -> None:
    """Clients in the layout of OMI-DB."""
    from mirage.config.datasets import SimulateOptions
    from mirage.simulate import simulate as write

    write(SimulateOptions(subjects=clients, size=size), "optimam", folder)


def repeat(simulated: Path, count: int, folder: Path) -> int:
    """Whole clients until there are ``count`` images, as copies of the simulated ones; how many there are.

    Images are linked; JSON files are written anew, with the client's name and the UIDs of the copy.
    """
    clients = sorted((simulated / "images").iterdir(), key=lambda path: int(path.name[4:]))
    made = number = 0
    while made < count:
        old = clients[number % len(clients)].name
        number += 1
        new = f"demd{number}"
        renamed = partial(_renamed, old=int(old[4:]), new=number)
        for tree in ("data", "images"):
            for path in sorted((simulated / tree / old).rglob("*.*")):
                if not path.is_file():
                    continue
                parts = [renamed(part) for part in path.relative_to(simulated / tree / old).parts]
                target = folder / tree / new / Path(*parts)
                target.parent.mkdir(parents=True, exist_ok=True)
                if path.suffix == ".dcm":
                    target.hardlink_to(path)
                    made += 1
                else:
                    target.write_text(renamed(path.read_text(encoding="utf-8")), encoding="utf-8")
    return made


def _renamed(text: str, old: int, new: int) -> str:
    """Names and UIDs of one client made those of another."""
    text = re.sub(rf"(?<![A-Za-z])demd{old}(?!\d)", f"demd{new}", text)
    return re.sub(rf"(?<=\.9\.3218\.1\.1\.){old}(?=\.)", str(new), text)


def by_mirage(raw: Path, out: Path, part: int, parts: int) -> int:
    """One shard, as the workflow prepares it."""
    import pyarrow.parquet as pq
    import yaml

    from mirage.config.datasets import DatasetConfig
    from mirage.prepare import prepare_shard
    from mirage.sources import open_source

    entry = yaml.safe_load(STUDY.read_text(encoding="utf-8"))["datasets"][DATASET]
    source = {**entry["source"], "path": str(raw)}
    keys = {"source": source, "prepare": entry["prepare"], "shards": parts}
    config = DatasetConfig.model_validate(keys)
    prepare_shard(config, open_source(config.source), part, out)
    rows = pq.read_table(next(out.glob("*.parquet")), columns=["status"])
    return rows["status"].to_pylist().count("ok")


def by_loop(raw: Path, out: Path, part: int, parts: int, save: Callable[[Path, list], None]) -> int:
    """Read, find the breast, rescale, cut, save."""
    import numpy as np
    import pydicom
    from pydicom.pixels import apply_modality_lut, apply_voi_lut
    from scipy.ndimage import binary_fill_holes
    from skimage.exposure import rescale_intensity
    from skimage.measure import label
    from skimage.transform import resize

    rng = np.random.default_rng(0)
    out.mkdir(parents=True)
    count = 0
    for client in sorted((raw / "data").iterdir())[part::parts]:
        for path, marks in wanted_images(raw, client):
            header = pydicom.dcmread(path)
            shown = apply_voi_lut(apply_modality_lut(header.pixel_array, header), header)
            if header.PhotometricInterpretation == "MONOCHROME1":
                shown = shown.max() - shown
            parts_of = label(shown > shown.min())
            breast = binary_fill_holes(parts_of == np.bincount(parts_of.flat)[1:].argmax() + 1)
            ends = tuple(np.percentile(shown[breast], (0.5, 99.5)))
            image = rescale_intensity(shown, in_range=ends, out_range="uint16")
            factor = float(header.get("EstimatedRadiographicMagnificationFactor", 1))
            side = round(EXTENT_MM * factor / float(header.ImagerPixelSpacing[0]))
            boxes = [tuple(float(mark[key]) for key in ("X1", "Y2", "X2", "Y1")) for mark in marks]
            masses = [box for box, mark in zip(boxes, marks, strict=True) if FLAG in mark]
            windows = [around(box, side, image.shape) for box in masses]
            windows += normal_windows(breast, boxes, side, rng)
            patches = [
                resize(image[top : top + rows, left : left + rows], (SIDE, SIDE), preserve_range=True)
                for top, left, rows in windows
            ]
            save(out / path.stem, [np.rint(patch).astype(np.uint16) for patch in patches])
            count += len(patches)
    return count


def wanted_images(raw: Path, client: Path) -> Iterator[tuple[Path, list[dict[str, Any]]]]:
    """Path and marks of a client's images that the study takes."""
    import pydicom

    [record] = [path for path in client.iterdir() if path.name.lower().startswith("imagedb")]
    for study, series in json.loads(record.read_text())["STUDIES"].items():
        for images in (images for images in series.values() if isinstance(images, dict)):
            for image, marks in images.items():
                path = raw / "images" / client.name / study / f"{image}.dcm"
                if not path.is_file():
                    continue
                stem = client / study / image
                told = next(
                    (p for p in (Path(f"{stem}.json"), Path(f"{stem}.dcm.json")) if p.is_file()), None
                )
                if told:
                    tags = json.loads(told.read_text())
                    model, intent = (tags[tag]["Value"][0] for tag in ("00081090", "00080068"))
                else:
                    header = pydicom.dcmread(path, stop_before_pixels=True)
                    model, intent = header.ManufacturerModelName, header.PresentationIntentType
                if MODEL in model and intent == INTENT:
                    yield path, list(marks.values())


def around(box: tuple[float, ...], side: int, shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Top, left and side of a window around a lesion, inside the image; all of a larger lesion."""
    side = max(side, round(1.5 * max(box[2] - box[0], box[3] - box[1])))
    top, left = round((box[1] + box[3] - side) / 2), round((box[0] + box[2] - side) / 2)
    return min(max(top, 0), shape[0] - side), min(max(left, 0), shape[1] - side), side


def normal_windows(breast: Any, boxes: list, side: int, rng: Any) -> list[tuple[int, int, int]]:
    """Top, left and side of windows in the breast, away from lesions and from one another."""
    found: list[tuple[int, int, int]] = []
    tries, gap = 0, AWAY * side
    while len(found) < NORMALS and tries < TRIES:
        tries += 1
        top, left = (int(rng.integers(length - side + 1)) for length in breast.shape)
        if any(
            x0 - gap < left + side and left < x1 + gap and y0 - gap < top + side and top < y1 + gap
            for x0, y0, x1, y1 in boxes
        ):
            continue
        if any(
            max(0, side - abs(top - up)) * max(0, side - abs(left - by)) > OVERLAP * side * side
            for up, by, _ in found
        ):
            continue
        if breast[top : top + side, left : left + side].mean() >= TISSUE:
            found.append((top, left, side))
            tries = 0
    return found


def save_array(stem: Path, patches: list) -> None:
    """One file an image."""
    import numpy as np

    np.save(stem.with_name(f"{stem.name}.npy"), np.array(patches))


def save_files(stem: Path, patches: list) -> None:
    """One file a patch."""
    from skimage.io import imsave

    for number, patch in enumerate(patches):
        imsave(stem.with_name(f"{stem.name}_{number}.png"), patch, check_contrast=False)


Work = Callable[[Path, Path, int, int], int]
"""From the archive, a new folder, and which part of how many, to the number of patches."""
MIRAGE = tuple(f"mirage.{name}" for name in ("prepare", "sources.dicom", "sources.images", "sources.optimam"))
PLAIN = tuple(f"skimage.{name}" for name in ("exposure", "io", "measure", "transform"))
TOOLS: dict[str, tuple[tuple[str, ...], Work]] = {
    "mirage": ((*MIRAGE, "pydicom.pixels", "pyarrow.parquet", "yaml"), by_mirage),
    "loop, arrays": ((*PLAIN, "pydicom.pixels", "scipy.ndimage"), partial(by_loop, save=save_array)),
    "loop, PNG files": ((*PLAIN, "pydicom.pixels", "scipy.ndimage"), partial(by_loop, save=save_files)),
}
"""Tool -> what it imports, and what it does."""


def measure_once(tool: str, raw: Path, processes: int) -> Used:
    """One run of a tool; what it writes is deleted."""
    with tempfile.TemporaryDirectory(dir=raw.parent) as out:
        return measure(
            __file__, [(tool, raw, f"{out}/{part}", f"{part}/{processes}") for part in range(processes)]
        )


def compare(raw: Path, count: int, tools: list[str], processes: list[int], repeats: int) -> None:
    """Print a row for each tool and number of processes; in turns, so that a busy moment hits all."""
    kinds = [(tool, number) for number in processes for tool in tools]
    runs: dict[tuple[str, int], list[Used]] = {kind: [] for kind in kinds}
    for _ in range(repeats):
        for tool, number in kinds:
            runs[tool, number].append(measure_once(tool, raw, number))
    for (tool, number), used in runs.items():
        best = min(used, key=lambda used: used.seconds)
        rates = f"{count / best.seconds:.1f} | {1000 * best.busy / count:.1f} | {sum(best.memory):.0f}"
        print(f"| {tool} | {number} | {count} | {sum(best.found)} | {rates} |", flush=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("counts", type=int, nargs="*", default=[200, 2000], help="images in the archive")
    parser.add_argument("--size", type=int, default=SIZE, help="rows of an image; of real ones 2294 or more")
    parser.add_argument("--distinct", type=int, default=DISTINCT, help="clients that are simulated")
    parser.add_argument("--tools", nargs="+", choices=TOOLS, default=list(TOOLS))
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--repeats", type=int, default=1, help="runs of each tool; the fastest counts")
    parser.add_argument("--folder", type=Path, help="where the temporary folder is made")
    parser.add_argument("--simulate", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--child", nargs=4, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        tool, raw, out, part = arguments.child
        number, parts = map(int, part.split("/"))
        modules, work = TOOLS[tool]
        work_alone(modules, lambda: work(Path(raw), Path(out), number, parts))
        return
    if arguments.simulate:
        simulate(arguments.simulate, arguments.distinct, arguments.size)
        return
    with tempfile.TemporaryDirectory(dir=arguments.folder) as temporary:
        root = Path(temporary)
        # In a process of its own, because a child's peak memory is at least its parent's at the start.
        options = ["--distinct", str(arguments.distinct), "--size", str(arguments.size)]
        command = [sys.executable, __file__, *options, "--simulate", str(root / "simulated")]
        began = time.perf_counter()
        subprocess.run(command, check=True)
        print(f"simulated {arguments.distinct} clients in {time.perf_counter() - began:.0f} s\n")
        print("| tool | processes | images | patches | images/s | CPU ms an image | peak memory, MB |")
        print("| --- | --- | --- | --- | --- | --- | --- |", flush=True)
        for wanted in arguments.counts:
            raw = root / f"raw-{wanted}"
            count = repeat(root / "simulated", wanted, raw)
            compare(raw, count, arguments.tools, arguments.processes, arguments.repeats)


if __name__ == "__main__":
    main()
