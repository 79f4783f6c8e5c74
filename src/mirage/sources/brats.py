"""BraTS of every year: a folder an examination, a file a sequence (Menze et al., IEEE TMI 34(10), 2015).

The names of folders and files changed over the years, and so did the meaning of the label codes; both are
told by the layout, or said in the configuration. Other trees of the same kind are read by naming `files`.
"""

from __future__ import annotations

import csv
import glob
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mirage.config.datasets import BratsSource
from mirage.data.tumour_labels import labels_of, map_labels
from mirage.errors import DataError, LayoutError
from mirage.sources.base import RawImage, Source, SourceItem
from mirage.sources.layout import namespace_of, require_directories, visible_names

OBTAIN = "https://www.synapse.org/brats (registration)"
VOLUMES = (".nii.gz", ".nii", ".mha")
GRADES = ("HGG", "LGG")
TABLES = ("name_mapping.csv", "survival_info.csv", "survival_data.csv")
"""Tables of 2018 to 2020, beside the examinations' folders; a row names one in any of its columns."""


@dataclass(frozen=True)
class Layout:
    """Where the files of an examination are.

    Attributes:
        files: sequence, ``label`` or ``brain`` -> globs relative to the examination's folder, one of which
            must match one file; ``{id}`` is the folder's name.
        codes: scheme of the label codes, a key of ``mirage.data.tumour_labels.SCHEMES``.
        subject: expression on the folder's name; its first group is the patient.
    """

    files: Mapping[str, tuple[str, ...]]
    codes: str
    subject: re.Pattern[str]


def _nifti(**stems: str) -> dict[str, tuple[str, ...]]:
    return {key: (f"{stem}.nii.gz", f"{stem}.nii") for key, stem in stems.items()}


def _vsd(**words: str) -> dict[str, tuple[str, ...]]:
    return {key: (f"VSD.*.{word}.*/*.mha",) for key, word in words.items()}


LAYOUTS: dict[str, Layout] = {
    "brats2018": Layout(
        {
            **_nifti(flair="{id}_flair", t1="{id}_t1", t1ce="{id}_t1ce", t2="{id}_t2"),
            # BraTS20_Training_355 holds W39_1998.09.19_Segm.nii instead of its own name.
            "label": ("{id}_seg.nii.gz", "{id}_seg.nii", "*_Segm.nii.gz", "*_Segm.nii"),
        },
        "brats2018",
        re.compile(r"(?i)(brats1[789]_.+)_\d+"),
    ),
    "brats2023": Layout(
        _nifti(flair="{id}-t2f", t1="{id}-t1n", t1ce="{id}-t1c", t2="{id}-t2w", label="{id}-seg"),
        "brats2023",
        re.compile(r"(BraTS-\w+-\d+)-\d+"),
    ),
    "brats2015": Layout(
        _vsd(flair="MR_Flair", t1="MR_T1", t1ce="MR_T1c", t2="MR_T2", label="OT"),
        "brats2015",
        re.compile(r"(brats_.+_pat\d+)_\d+"),
    ),
    "deepmedic": Layout(
        _nifti(
            flair="Flair_subtrMeanDivStd",
            t1="T1_subtrMeanDivStd",
            t1ce="T1c_subtrMeanDivStd",
            t2="T2_subtrMeanDivStd",
            label="OTMultiClass",
            brain="brainmask",
        ),
        "brats2015",
        re.compile(r"(brats_.+_pat\d+)_\d+"),
    ),
}


def _age(text: str) -> float | None:
    """Years, or None where the table has none."""
    try:
        return float(text)
    except ValueError:
        return None


COLUMNS: dict[str, tuple[str, Callable[[str], Any]]] = {"Grade": ("grade", str), "Age": ("age", _age)}
"""Column of a table -> attribute, and how its text is read."""


class Brats(Source):
    """Reader of BraTS-like trees.

    Every folder that holds volumes (of brats2015: folders of volumes), and every empty one, is an
    examination; the examinations of one patient are one subject. A label file may be absent, as in the
    validation sets; a sequence may not. Simulated data are laid out as BraTS 2020, whatever the options say
    of the real ones.
    """

    modality = "brain MRI"

    def __init__(self, options: BratsSource, folder: Path | None = None) -> None:
        real = folder is None
        self.options = options if real else options.model_copy(update={"layout": "auto", "files": {}})
        self.codes = options.codes if real else "auto"
        self.root = Path(options.path) if folder is None else folder
        self.channel_names = list(options.sequences)
        self.labels = labels_of("brats2024" if options.codes == "brats2024" else "brats2023")
        files = self.options.files or {"label": "", "brain": ""}
        self.mask_channels = [channel for channel in ("label", "brain") if channel in files]
        self._namespace = namespace_of("brats", folder)

    @property
    def namespace(self) -> str:
        """``brats``; with ``files``, that and the folder's one true path; or the folder of simulated data."""
        if self.options.files:
            return f"brats@{self.root.resolve().as_posix()}"
        return self._namespace

    def check_layout(self) -> None:
        """Check for the folder."""
        require_directories(self.root, [], "BraTS", OBTAIN)

    def items(self) -> Iterator[SourceItem]:
        """Examinations by folder.

        Raises:
            LayoutError: there is none, or none whose layout is known.
        """
        folders = sorted(self._folders())
        layout = self._layout(folders)
        known = self._known(folders)
        names = Counter(os.path.basename(folder) for folder in folders)
        for folder in folders:
            name = os.path.basename(folder)
            subject, problem = self._subject(folder, layout)
            yield SourceItem(
                item_id=_safe(name if names[name] == 1 else folder),
                subject_id=subject,
                attributes={"file": folder, **known.get(name, {})},
                load=partial(self._load, folder, layout, problem),
            )

    def _folders(self) -> Iterator[str]:
        """Folders of the examinations, relative to the root, with ``/``."""
        if not self.options.files:
            yield from _examinations(self.root)
            return
        for path in set(glob.glob(self.options.folders, root_dir=self.root, recursive=True)):
            if path and os.path.isdir(self.root / path):
                yield path.replace(os.sep, "/").rstrip("/")

    def _layout(self, folders: list[str]) -> Layout:
        options = self.options
        if not folders:
            raise LayoutError(
                f"BraTS: {self.root} holds no examination; expected folders such as "
                "BraTS20_Training_001/BraTS20_Training_001_flair.nii.gz, or name the `files` of yours"
            )
        if options.files:
            files = {key: (pattern,) for key, pattern in options.files.items()}
            return Layout(files, self.codes, re.compile(r"(.+)"))
        name: str = options.layout
        if name == "auto":
            found = (key for folder in folders for key in LAYOUTS if _knows(LAYOUTS[key], self.root / folder))
            name = next(found, name)
        if name not in LAYOUTS:
            raise LayoutError(
                f"BraTS: no folder of {self.root} is laid out as {', '.join(LAYOUTS)}; the first, "
                f"{folders[0]}, holds {', '.join(visible_names(self.root / folders[0])[:6]) or 'nothing'}. "
                "Name its `files`"
            )
        known = LAYOUTS[name]
        return Layout(known.files, known.codes if self.codes == "auto" else self.codes, known.subject)

    def _known(self, folders: list[str]) -> dict[str, dict[str, Any]]:
        """Examination -> grade and age, of the tables and the folders HGG and LGG that some years have."""
        known: dict[str, dict[str, Any]] = {}
        for parent in dict.fromkeys(["", *(os.path.dirname(folder) for folder in folders)]):
            for name in TABLES:
                path = self.root / parent / name
                for row in _rows(path) if path.is_file() else ():
                    values = {
                        key: read(row[column]) for column, (key, read) in COLUMNS.items() if column in row
                    }
                    for cell in row.values():
                        known.setdefault(cell, {}).update(values)
        for folder in folders:
            for grade in set(GRADES) & set(folder.split("/")):
                known.setdefault(os.path.basename(folder), {})["grade"] = grade
        return known

    def _subject(self, folder: str, layout: Layout) -> tuple[str, str | None]:
        """Patient of an examination, and what is wrong with it."""
        if self.options.subject:
            match = re.search(self.options.subject, folder)
            if match is None or not match[1]:
                return _safe(folder), f"`subject` {self.options.subject!r} finds no subject in {folder!r}"
            return match[1], None
        name = os.path.basename(folder) if not self.options.files else folder
        match = layout.subject.fullmatch(name)
        return _safe(match[1] if match else name), None

    def _load(self, folder: str, layout: Layout, problem: str | None) -> RawImage:
        from mirage.sources.images import check_same_grid, read_volume

        path = self.root / folder
        if problem:
            raise DataError(f"{path}: {problem}")
        paths = {name: self._file(path, layout, name) for name in self.options.sequences}
        volumes = {name: read_volume(file) for name, file in paths.items()}
        first, first_path = volumes[self.options.sequences[0]], paths[self.options.sequences[0]]
        for name, volume in volumes.items():
            check_same_grid(volume, paths[name], first, first_path)
        masks = {}
        for channel in self.mask_channels:
            file = _match(path, layout, channel)
            if file is not None:
                mask = read_volume(file)
                check_same_grid(mask, file, first, first_path)
                masks[channel] = _mask(mask.image[0], channel, layout.codes, file)
        image = np.concatenate([volume.image for volume in volumes.values()])
        return RawImage(image, masks, spacing_mm=first.spacing_mm, affine=first.affine)

    def _file(self, folder: Path, layout: Layout, name: str) -> Path:
        """The one file of a sequence."""
        file = _match(folder, layout, name)
        if file is None:
            expected = " or ".join(layout.files[name]).replace("{id}", folder.name)
            there = [key for key in layout.files if _matches(folder, layout, key)]
            raise DataError(
                f"{folder}: has no {name}, expected {expected}; found {', '.join(there) or 'no sequence'}. "
                "Add the file, list in `source.sequences` only what all examinations have, or give "
                "examinations whose names follow another layout than the first's a dataset of their own"
            )
        return file


def _rows(path: Path) -> list[dict[str, str]]:
    try:
        with open(path, encoding="utf-8-sig", newline="") as handle:
            return [{key: value or "" for key, value in row.items() if key} for row in csv.DictReader(handle)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: not a readable CSV in UTF-8 ({error}); mend or remove it") from error


def _mask(values: np.ndarray, channel: str, codes: str, path: Path) -> np.ndarray:
    if channel == "brain":
        return (values > 0.5).astype(np.uint8)
    try:
        return map_labels(values, codes)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error


def _matches(folder: Path, layout: Layout, key: str) -> list[str]:
    """Files that have a name of a sequence or mask, relative to their folder."""
    patterns = [pattern.replace("{id}", glob.escape(folder.name)) for pattern in layout.files.get(key, ())]
    return sorted(path for pattern in patterns for path in glob.glob(pattern, root_dir=folder))


def _match(folder: Path, layout: Layout, key: str) -> Path | None:
    """The one file of a sequence or mask, or None."""
    found = _matches(folder, layout, key)
    if len(found) > 1:
        raise DataError(f"{folder}: has several files for {key}: {', '.join(found)}; keep one")
    return folder / found[0] if found else None


def _knows(layout: Layout, folder: Path) -> bool:
    """Whether any file of an examination has a name of this layout."""
    return any(_matches(folder, layout, key) for key in layout.files)


def _is_volume(name: str) -> bool:
    return name.lower().endswith(VOLUMES)


def _examinations(root: Path, below: str = "", above: frozenset[str] = frozenset()) -> Iterator[str]:
    """Folders that hold volumes, or folders named VSD, or nothing; links in a circle are not followed."""
    here = os.path.realpath(root / below)
    if here in above:
        return
    names = visible_names(root / below)
    folders = [name for name in names if os.path.isdir(root / below / name)]
    vsd = any(name.startswith("VSD.") for name in folders)
    if below and (not names or vsd or any(_is_volume(name) for name in names)):
        yield below
    if not vsd:
        for name in folders:
            yield from _examinations(root, f"{below}/{name}" if below else name, above | {here})


def _safe(text: str) -> str:
    """``text`` in the letters an item id may have."""
    return re.sub(r"[^A-Za-z0-9_./-]", "_", text)
