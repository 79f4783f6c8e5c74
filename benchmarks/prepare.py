"""Images per second and peak memory of preparing a dataset, beside a plain script of the kind people write.

    python benchmarks/prepare.py 2000 20000

Simulates 1,000 fundus photographs (reader `folder`), links them under as many names as are asked for, then
prepares each number in a process of its own: by Mirage, and by a plain script (MONAI's LoadImage and Resize,
stacked and saved with NumPy). Prints a Markdown table.
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

SIZE = 64
DISTINCT = 1000


def simulate(folder: Path, subjects: int) -> None:
    """Two eyes of each subject, 96 pixels wide."""
    from mirage.config.datasets import SimulateOptions
    from mirage.simulate import simulate as write

    write(SimulateOptions(subjects=subjects, size=96), "folder", folder)


def repeat(raw: Path, count: int, folder: Path) -> None:
    """``count`` images with their masks, as links to the simulated ones, each name a subject of its own."""
    for kind in ("images", "masks", "fov"):
        (folder / kind).mkdir(parents=True)
        paths = sorted((raw / kind).iterdir())
        for index in range(count):
            path = paths[index % len(paths)]
            (folder / kind / f"{index:06d}_{path.name}").hardlink_to(path)


def by_mirage(raw: Path, out: Path) -> None:
    """Prepare one shard as the workflow does."""
    from mirage.config.datasets import DatasetConfig, FolderSource, PrepareOptions
    from mirage.prepare import prepare_shard
    from mirage.sources import open_source

    source = FolderSource(
        reader="folder",
        path=str(raw),
        images="images/*.png",
        masks="masks/{stem}_mask.png",
        fov="fov/{stem}_fov.png",
    )
    config = DatasetConfig(source=source, prepare=PrepareOptions(size=SIZE, crop="fov", mask_threshold=0.35))
    prepare_shard(config, open_source(source), 0, out)


def by_script(raw: Path, out: Path) -> None:
    """Load, crop to nothing, resize, stack, save: what a study's own script does."""
    import numpy as np
    from monai.transforms import LoadImage, Resize

    load = LoadImage(image_only=True, ensure_channel_first=True)
    image_to, mask_to = Resize((SIZE, SIZE), mode="area"), Resize((SIZE, SIZE), mode="nearest")
    images, masks = [], []
    for path in sorted((raw / "images").iterdir()):
        images.append(np.asarray(image_to(load(path))).astype(np.uint8))
        masks.append(np.asarray(mask_to(load(raw / "masks" / f"{path.stem}_mask.png")))[:1] > 0)
    out.mkdir(parents=True)
    np.savez(out / "data.npz", images=np.stack(images), masks=np.stack(masks))


def child(tool: str, raw: Path, out: Path) -> None:
    """Run one tool in this process and print seconds and peak memory in MB."""
    import_module("mirage.prepare")  # before the clock starts: imports are not what is timed

    began = time.perf_counter()
    {"mirage": by_mirage, "script": by_script}[tool](raw, out)
    seconds = time.perf_counter() - began
    print(seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("counts", type=int, nargs="*", default=[2000, 20000])
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        tool, raw, out = arguments.child
        child(tool, Path(raw), Path(out))
        return
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        began = time.perf_counter()
        simulate(root / "raw", DISTINCT // 2)
        made = len(list((root / "raw" / "images").iterdir()))
        print(f"simulated {made} images, {made / (time.perf_counter() - began):.0f} images/s\n")
        print("| tool | images | images/s | peak memory, MB |\n| --- | --- | --- | --- |")
        for count in arguments.counts:
            repeat(root / "raw", count, root / f"raw-{count}")
            for tool in ("mirage", "script"):
                out = root / f"{tool}-{count}"
                command = [sys.executable, __file__, "--child", tool, str(root / f"raw-{count}"), str(out)]
                printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
                seconds, memory = map(float, printed.split()[-2:])
                print(f"| {tool} | {count} | {count / seconds:.0f} | {memory:.0f} |", flush=True)


if __name__ == "__main__":
    main()
