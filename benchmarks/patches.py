"""Images per second and MB per second of cutting patches from chest radiographs, beside a plain loop.

    python benchmarks/patches.py 200

Simulates 40 radiographs of 1024 x 1024 in the NIH's layout (or takes `--images FOLDER` of PNG files), links
them under as many names as are asked for, and cuts 10 squares of 256 x 256 at random places from each, in a
process of its own for each tool: Mirage's `prepare_shard`, with manifest, hashes and shards; a loop of
scikit-image that saves every square as a PNG file, as the chest study did; the same loop that keeps all in
one array and saves that; and reading the files' bytes and writing the squares' alone, which is the disk.
Prints a Markdown table. MB are of the PNG files read; CPU time is of the process, and says more than the
clock on a machine that others use.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from importlib import import_module
from pathlib import Path

SIDE, COUNT = 256, 10
SIZE = 1024
DISTINCT = 40
HEADER = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]"
)


def repeat(images: list[Path], count: int, folder: Path) -> None:
    """An archive of ``count`` images, each a patient of its own, as links to the given ones or copies."""
    (folder / "images").mkdir(parents=True)
    rows = [HEADER]
    for index in range(count):
        name = f"{index + 1:08d}_000.png"
        (folder / "images" / name).write_bytes(images[index % len(images)].read_bytes())
        rows.append(f"{name},No Finding,0,{index + 1},50,F,PA,2500,2500,0.14,0.14")
    (folder / "Data_Entry_2017_v2020.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")


def by_mirage(raw: Path, out: Path) -> None:
    """One shard, as the workflow prepares it."""
    from mirage.config.chest import NihChestSource
    from mirage.config.datasets import DatasetConfig, Patches, PrepareOptions
    from mirage.prepare import prepare_shard
    from mirage.sources import open_source

    source = NihChestSource(reader="nih_chest", path=str(raw))
    patches = Patches(count=COUNT, side=SIDE)
    config = DatasetConfig(source=source, prepare=PrepareOptions(size=SIZE, fov="none", patches=patches))
    prepare_shard(config, open_source(source), 0, out)


def by_files(raw: Path, out: Path) -> None:
    """Read, cut, save each square as a file."""
    import numpy as np
    from skimage import io

    rng = np.random.default_rng(0)
    for path in sorted((raw / "images").iterdir()):
        image = io.imread(path, as_gray=True)
        for number in range(COUNT):
            top, left = rng.integers(0, SIZE - SIDE + 1, 2)
            square = image[top : top + SIDE, left : left + SIDE]
            io.imsave(out / f"{path.stem}_{number}.png", square, check_contrast=False)


def by_array(raw: Path, out: Path) -> None:
    """Read, cut, keep everything in memory, save one array."""
    import numpy as np
    from skimage import io

    rng = np.random.default_rng(0)
    squares = []
    for path in sorted((raw / "images").iterdir()):
        image = io.imread(path, as_gray=True)
        for _ in range(COUNT):
            top, left = rng.integers(0, SIZE - SIDE + 1, 2)
            squares.append(image[top : top + SIDE, left : left + SIDE])
    np.save(out / "squares.npy", np.stack(squares))


def by_disk(raw: Path, out: Path) -> None:
    """Only the bytes that have to be read and written, without decoding."""
    squares = bytes(COUNT * SIDE * SIDE)
    with open(out / "squares", "wb") as handle:
        for path in sorted((raw / "images").iterdir()):
            path.read_bytes()
            handle.write(squares)


TOOLS = {"mirage": by_mirage, "loop, PNG files": by_files, "loop, one array": by_array, "disk": by_disk}


def child(tool: str, raw: Path, out: Path) -> None:
    """Run one tool in this process and print seconds by the clock, of CPU time, and peak memory in MB."""
    for module in ("mirage.prepare", "mirage.sources.nih_chest", "mirage.sources.images", "skimage.io"):
        import_module(module)  # before the clock starts: imports are not what is timed
    out.mkdir(parents=True)
    began, used = time.perf_counter(), time.process_time()
    TOOLS[tool](raw, out)
    seconds, used = time.perf_counter() - began, time.process_time() - used
    print(seconds, used, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("counts", type=int, nargs="*", default=[200])
    parser.add_argument("--images", type=Path, help="folder of 8-bit grey PNG files of 1024 x 1024")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each tool; the fastest counts")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        tool, raw, out = arguments.child
        child(tool, Path(raw), Path(out))
        return
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        if arguments.images is None:
            from mirage.config.datasets import SimulateOptions
            from mirage.simulate import simulate

            simulate(SimulateOptions(subjects=DISTINCT, size=SIZE), "nih_chest", root / "simulated")
        images = sorted((arguments.images or root / "simulated").rglob("*_*.png"))
        images = [path for path in images if "lungs" not in path.parts][:DISTINCT]
        print("| tool | images | images/s | MB/s | CPU ms an image | peak memory, MB |")
        print("| --- | --- | --- | --- | --- | --- |")
        for count in arguments.counts:
            raw = root / f"raw-{count}"
            repeat(images, count, raw)
            megabytes = sum(path.stat().st_size for path in (raw / "images").iterdir()) / 1e6
            best: dict[str, tuple[float, ...]] = {}
            for turn in range(arguments.repeats):  # in turns, so that a busy moment hits all tools
                for number, tool in enumerate(TOOLS):
                    out = root / f"out-{count}-{turn}-{number}"
                    command = [sys.executable, __file__, "--child", tool, str(raw), str(out)]
                    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
                    measured = tuple(map(float, printed.split()[-3:]))
                    best[tool] = min(best.get(tool, measured), measured)
            for tool, (seconds, used, memory) in best.items():
                speed = f"{count / seconds:.1f} | {megabytes / seconds:.1f}"
                print(
                    f"| {tool} | {count} | {speed} | {1000 * used / count:.0f} | {memory:.0f} |", flush=True
                )


if __name__ == "__main__":
    main()
