"""What a folder of images holds, told by names and by some files, before anything is made of it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from pydantic import ValidationError

from mirage.config.datasets import FolderSource
from mirage.data.grey_range import GreyRange, ends_of
from mirage.errors import ConfigError, DataError, LayoutError
from mirage.preprocess.volumes import oriented
from mirage.sources.base import RawImage
from mirage.sources.folder import Folder
from mirage.sources.images import read_image

IMAGES_READ = 200
VOLUMES_READ = 8
"""How many files of a folder are opened at most; they are spread evenly over its names."""
VOLUME_SUFFIXES = (".nii", ".nii.gz", ".mha", ".mhd")
SUFFIXES = {*VOLUME_SUFFIXES, ".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".gif", ".webp"}
SUFFIXES |= {".pgm", ".ppm", ".dcm", ".dicom", ".ima"}
NO_SUFFIX = re.compile(r"\.?[\d_]*")
"""What follows the last dot of a DICOM file that is named by its number, or has no suffix at all."""


@dataclass(frozen=True)
class Look:
    """What a folder holds, as far as its opened files tell.

    Attributes:
        folder: its path as the user wrote it.
        files: images, relative to it.
        left_out: glob of other files -> how many there are.
        failed: opened files that cannot be read -> why.
        opened: how many files were opened.
        volumes: volumes or 2D images.
        colour: some images are not grey.
        whole_numbers: unsigned integers, whose type has a range, or signed and float values.
        bits: of the deepest integer type.
        low, high: lowest and highest value found, but for the outermost 0.1 % of an image at either end.
        used: largest share of its integer type's range that an image uses, 0 ... 1.
        shapes: extents found: (H, W), or (D, H, W) with the axes as they are stored.
        alike: all opened files hold the same values.
    """

    folder: str
    files: tuple[str, ...]
    left_out: dict[str, int]
    failed: dict[str, str]
    opened: int
    volumes: bool
    colour: bool
    whole_numbers: bool
    bits: int
    low: float
    high: float
    used: float
    shapes: frozenset[tuple[int, ...]]
    alike: bool


def look(folder: str, masks: str | None = None, exclude: Sequence[str] = ()) -> Look:
    """Look into a folder.

    Args:
        folder: its path.
        masks: pattern of the masks' files, which are no images.
        exclude: globs of files that are no images either.

    Raises:
        LayoutError: there is no such folder, or no image in it.
        ConfigError: the reader does not take the path or the pattern.
        DataError: no opened file can be read, or they do not go together: volumes and 2D images, integers and
            floats.
    """
    listed, left_out = _listed(folder, masks, exclude)
    failed: dict[str, str] = {}
    seen: list[_Seen] = []
    opened = _spread(listed, VOLUMES_READ if listed[0].lower().endswith(VOLUME_SUFFIXES) else IMAGES_READ)
    for file in opened:
        try:
            seen.append(_see(Path(folder) / file))
        except DataError as error:
            failed[file] = str(error)
    if not seen:
        more = f"; {len(failed) - 1} more files cannot be read" if len(failed) > 1 else ""
        raise DataError(f"{next(iter(failed.values()))}{more}")
    _refuse_a_mixture(folder, opened, seen, failed)
    first = seen[0]
    deep = [one for one in seen if one.grey is not None and one.grey.deep]
    return Look(
        folder=folder,
        files=tuple(listed),
        left_out=left_out,
        failed=failed,
        opened=len(opened),
        volumes=first.volume,
        colour=any(one.colour for one in seen),
        whole_numbers=first.grey is not None,
        bits=16 if deep else 8,
        low=min(one.low for one in seen),
        high=max(one.high for one in seen),
        used=max(1.0 if one.grey is None else one.grey.share for one in deep or seen),
        shapes=frozenset(one.shape for one in seen),
        alike=len(seen) > 1 and len({one.values for one in seen}) == 1,
    )


@dataclass(frozen=True)
class _Seen:
    """One opened file; ``grey`` has what its type or header allows, and is None of signed and float ones."""

    shape: tuple[int, ...]
    volume: bool
    colour: bool
    grey: GreyRange | None
    low: float
    high: float
    values: int


def _see(path: Path) -> _Seen:
    raw = read_image(path, "grey" if path.name.lower().endswith(VOLUME_SUFFIXES) else "rgb")
    image = raw.image
    low, high = ends_of(image)
    grey = None
    if raw.full_range is not None:
        grey = GreyRange(low=low, high=high, lowest=raw.full_range[0], highest=raw.full_range[1])
    return _Seen(
        shape=_stored_shape(raw),
        volume=image.ndim == 4,
        colour=bool((image[0] != image[-1]).any() or (image[0] != image[len(image) // 2]).any()),
        grey=grey,
        low=low,
        high=high,
        values=hash((image.shape, image.tobytes())),
    )


def _stored_shape(raw: RawImage) -> tuple[int, ...]:
    """Extent with the axes as they will be stored, whatever their order in the file."""
    turned = raw.image if raw.affine is None else oriented(raw.image, raw.affine)[0]
    return tuple(turned.shape[1:])


def _listed(folder: str, masks: str | None, exclude: Sequence[str]) -> tuple[list[str], dict[str, int]]:
    """Images of a folder, and globs of what is left out of it."""
    if not Path(folder).is_dir():
        found = "is no folder" if Path(folder).exists() else "is missing"
        raise LayoutError(f"{folder} {found}; expected a folder of images")
    try:
        options = FolderSource(reader="folder", path=folder, masks=masks, exclude=list(exclude))
    except ValidationError as error:
        raise ConfigError(error.errors()[0]["msg"].removeprefix("Value error, ")) from None
    source = Folder(options)
    images, others = [], Counter[str]()
    for file in _files(source):
        suffix = _suffix(file)
        bare = NO_SUFFIX.fullmatch(suffix) is not None
        if suffix in SUFFIXES or (bare and _is_dicom(source.root / file)):
            images.append(file)
        else:
            others[PurePosixPath(file).name if bare else f"*{PurePosixPath(file).suffix}"] += 1
    if not images:
        found = ", ".join(f"{count} {glob}" for glob, count in others.items())
        raise LayoutError(
            f"{folder}: no image in it{f', only {found}' if found else ''}; expected PNG, TIFF, JPEG, DICOM, "
            "NIfTI or MetaImage files"
        )
    return images, dict(others)


def _files(source: Folder) -> Iterator[str]:
    try:
        for item in source.items():
            yield item.attributes["file"]
    except LayoutError:  # the folder is empty, which is said in words of the command
        return


def _suffix(file: str) -> str:
    name = PurePosixPath(file.lower()).name
    return ".nii.gz" if name.endswith(".nii.gz") else PurePosixPath(name).suffix


def _is_dicom(path: Path) -> bool:
    with open(path, "rb") as handle:
        return handle.read(132)[128:] == b"DICM"


def _spread(files: Sequence[str], count: int) -> list[str]:
    """``count`` of the files, or all, evenly spaced."""
    picks = np.unique(np.linspace(0, len(files) - 1, min(count, len(files))).round().astype(int))
    return [files[index] for index in picks]


def _refuse_a_mixture(
    folder: str, opened: Sequence[str], seen: Sequence[_Seen], failed: dict[str, str]
) -> None:
    read = [file for file in opened if file not in failed]
    kinds = {
        "volumes and 2D images": [one.volume for one in seen],
        "integers and signed or float values": [one.grey is None for one in seen],
    }
    for what, values in kinds.items():
        if len(set(values)) > 1:
            yes, no = read[values.index(True)], read[values.index(False)]
            raise DataError(f"{folder}: mixes {what}, such as {yes} and {no}; keep them in folders apart")
