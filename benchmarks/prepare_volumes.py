"""Subjects per second and peak memory of preparing brain volumes, beside what people write themselves.

    python benchmarks/prepare_volumes.py 369
    python benchmarks/prepare_volumes.py 40 --presets thesis --distinct 4

Simulates a few subjects of BraTS at full size (240 x 240 x 155 voxels, four sequences and labels, .nii.gz),
links them under as many names as are asked for, and prepares all of them with two processes: by Mirage, and
by the same steps written plainly with MONAI's and with TorchIO's transforms (left out where it is not
installed). Prints a Markdown table. The clock runs from after the imports until both processes have ended.

The presets' steps: read, put in one orientation, crop to the brain and pad (recommended) or drop slices and
squeeze (thesis), scale grey values to 16 bits, map the labels, save. The plain scripts save arrays. Mirage
also derives, cleans and stores the brain mask, checks headers, codes and values, hashes every volume, and
has its shards on the disk, not only on their way there. Linked subjects are read from the file cache by all.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

from side_by_side import measure, work_alone

SEQUENCES = ("flair", "t1", "t1ce", "t2")
PROCESSES = 2
HIGHEST = 65535


def simulate(folder: Path, subjects: int) -> None:
    """Full-size subjects in the layout of BraTS 2020."""
    from mirage.config.datasets import SimulateOptions
    from mirage.simulate import simulate as write

    write(SimulateOptions(subjects=subjects, size=240), "brats", folder)


def repeat(raw: Path, count: int, folder: Path) -> None:
    """``count`` subjects as links to the simulated ones, in a folder for each process."""
    distinct = sorted(path for path in raw.iterdir() if path.is_dir())
    for index in range(count):
        old, new = distinct[index % len(distinct)], f"BraTS20_Training_{index + 1:04d}"
        target = folder / f"part-{index % PROCESSES}" / new
        target.mkdir(parents=True)
        for path in old.iterdir():
            (target / path.name.replace(old.name, new)).hardlink_to(path)


def by_mirage(raw: Path, out: Path, preset: str) -> None:
    """Prepare one shard as the workflow does."""
    from mirage.config.datasets import BratsSource, DatasetConfig
    from mirage.prepare import prepare_shard
    from mirage.sources import open_source

    source = BratsSource(reader="brats", path=str(raw))
    config = DatasetConfig.model_validate({"source": source, "prepare": {"kind": "volume", "preset": preset}})
    prepare_shard(config, open_source(source), 0, out)


def _paths(raw: Path) -> Iterator[tuple[str, dict[str, str]]]:
    for folder in sorted(raw.iterdir()):
        yield folder.name, {key: f"{folder}/{folder.name}_{key}.nii.gz" for key in (*SEQUENCES, "seg")}


def by_monai(raw: Path, out: Path, preset: str) -> None:
    """Dictionary transforms, as in MONAI's tutorials."""
    import numpy as np
    from monai import transforms as t

    both = ["image", "label"]
    steps = [
        t.LoadImaged(both),
        t.EnsureChannelFirstd(both),
        t.Orientationd(both, axcodes="LPS", labels=None),
    ]
    if preset == "thesis":
        steps += [
            t.Lambdad(both, lambda volume: volume[..., 30:-30]),
            t.Resized(both, (240, 240, 64), mode="nearest"),
            t.ScaleIntensityd("image", 0, HIGHEST, channel_wise=True),
        ]
    else:
        steps += [
            t.CropForegroundd(both, source_key="image", select_fn=lambda image: image != 0),
            t.ScaleIntensityRangePercentilesd("image", 0.1, 99.9, 0, HIGHEST, clip=True, channel_wise=True),
            t.ResizeWithPadOrCropd(both, (160, 192, 160)),
        ]
    steps += [
        t.MapLabelValued("label", [0, 1, 2, 4], [0, 1, 2, 3]),
        t.CastToTyped(both, [np.uint16, np.uint8]),
    ]
    run = t.Compose(steps)
    for name, paths in _paths(raw):
        made = run({"image": [paths[key] for key in SEQUENCES], "label": paths["seg"]})
        _save(out / name, np.asarray(made["image"]), np.asarray(made["label"]))


def by_torchio(raw: Path, out: Path, preset: str) -> None:
    """A subject of four images and a label map."""
    import numpy as np
    import torch
    import torchio as tio

    steps: list[Callable] = [tio.ToCanonical()]
    if preset == "thesis":
        steps += [tio.Crop((0, 0, 0, 0, 30, 30)), tio.Resize((240, 240, 64), image_interpolation="nearest")]
        steps += [tio.RescaleIntensity((0, HIGHEST))]
    else:
        steps += [tio.RescaleIntensity((0, HIGHEST), percentiles=(0.1, 99.9), masking_method="brain")]
        steps += [tio.CropOrPad((160, 192, 160), mask_name="brain")]
    run = tio.Compose([*steps, tio.RemapLabels({4: 3}, include=["label"])])
    for name, paths in _paths(raw):
        images = {key: tio.ScalarImage(paths[key]) for key in SEQUENCES}
        subject = tio.Subject(**images, label=tio.LabelMap(paths["seg"]))
        if preset != "thesis":
            inside = torch.cat([image.data != 0 for image in images.values()]).any(dim=0, keepdim=True)
            subject.add_image(
                tio.LabelMap(tensor=inside.to(torch.uint8), affine=images["flair"].affine), "brain"
            )
        made = run(subject)
        stacked = np.concatenate([made[key].data.numpy().astype(np.uint16) for key in SEQUENCES])
        _save(out / name, stacked, made["label"].data.numpy().astype(np.uint8))


def _save(folder: Path, image: object, label: object) -> None:
    import numpy as np

    folder.mkdir(parents=True)
    np.save(folder / "image.npy", image)
    np.save(folder / "label.npy", label)


TOOLS: dict[str, tuple[str, Callable[[Path, Path, str], None]]] = {
    "mirage": ("mirage.prepare.volumes", by_mirage),
    "monai": ("monai.transforms", by_monai),
    "torchio": ("torchio", by_torchio),
}
"""Tool -> what it imports, and how it prepares a folder."""


def child(tool: str, raw: Path, out: Path, preset: str) -> None:
    """Import, wait for the start, prepare."""
    module, prepare = TOOLS[tool]
    work_alone((module, "nibabel", "scipy.ndimage"), lambda: prepare(raw, out, preset))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("subjects", type=int, nargs="?", default=40)
    parser.add_argument("--distinct", type=int, default=8, help="subjects that are simulated")
    parser.add_argument("--presets", nargs="+", default=["recommended", "thesis"])
    parser.add_argument("--child", nargs=4, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        tool, raw, out, preset = arguments.child
        child(tool, Path(raw), Path(out), preset)
        return
    with tempfile.TemporaryDirectory() as temporary:
        root, count = Path(temporary), max(PROCESSES, arguments.subjects)
        began = time.perf_counter()
        simulate(root / "simulated", min(arguments.distinct, count))
        print(f"simulated {min(arguments.distinct, count)} subjects in {time.perf_counter() - began:.0f} s\n")
        repeat(root / "simulated", count, root / "raw")
        print(
            "| preset | tool | subjects | subjects/s | processor s/subject | peak memory of a process, MB |"
        )
        print("| --- | --- | --- | --- | --- | --- |")
        for preset in arguments.presets:
            for tool, (module, _) in TOOLS.items():
                if find_spec(module.partition(".")[0]) is None:
                    print(f"| {preset} | {tool} | skipped: not installed (pip install {tool}) | | | |")
                    continue
                with tempfile.TemporaryDirectory(dir=root) as out:
                    parts = sorted((root / "raw").iterdir())
                    used = measure(__file__, [(tool, part, f"{out}/{part.name}", preset) for part in parts])
                rates = f"{count / used.seconds:.2f} | {used.busy / count:.2f} | {max(used.memory):.0f}"
                print(f"| {preset} | {tool} | {count} | {rates} |", flush=True)


if __name__ == "__main__":
    main()
