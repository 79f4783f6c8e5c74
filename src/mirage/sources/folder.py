"""Any folder of images, with masks found by a name pattern and attributes from a table."""

from __future__ import annotations

import os
import re
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np

from mirage.config.datasets import FolderSource
from mirage.errors import DataError, LayoutError
from mirage.sources.base import RawImage, Source, SourceItem
from mirage.sources.images import CHANNEL_NAMES, check_affine, read_aligned_mask, read_image
from mirage.sources.layout import require_directories, visible_names
from mirage.sources.table import Table, read_table


class Folder(Source):
    """Reader of a folder of images and its sub-folders.

    Every visible file that ``images`` matches is an item, except masks, the table and what ``exclude``
    matches; a file that turns out to be no image fails when it is loaded, and is thus reported.
    """

    def __init__(self, options: FolderSource, folder: Path | None = None) -> None:
        self.options = options
        self.root = Path(options.path) if folder is None else folder
        self.modality = options.modality
        self.channel_names = CHANNEL_NAMES[options.channels]
        self.labels = dict(options.labels) if options.masks else {}
        self.mask_channels = [name for name, pattern in self._patterns().items() if pattern]

    def _patterns(self) -> dict[str, str | None]:
        return {"label": self.options.masks, "fov": self.options.fov}

    @property
    def namespace(self) -> str:
        """As configured, else ``folder@`` and the folder's one true path, however it is written or linked."""
        return self.options.namespace or f"folder@{self.root.resolve().as_posix()}"

    def check_layout(self) -> None:
        """Check for the folder, the table, and the fixed part of the patterns' folders."""
        fixed = [str(PurePosixPath(pattern).parent) for pattern in self._patterns().values() if pattern]
        require_directories(
            self.root,
            [name for name in fixed if "{" not in name and name != "."],
            "Image folder",
            "wherever your images are",
        )
        if self.options.table and not (self.root / self.options.table).is_file():
            raise LayoutError(
                f"Image folder: the table {self.root / self.options.table} is missing; expected a CSV with a "
                "column `file`. Write it there, or drop `source.table`"
            )

    def items(self) -> Iterator[SourceItem]:
        """Items by path.

        Raises:
            LayoutError: no file is left to be an item.
            DataError: the table names a file that is no item, or is damaged.
        """
        files = self._files()
        if not files:
            raise LayoutError(
                f"Image folder: no file in {self.root} matches `images: {self.options.images}` and is not a "
                "mask, the table, or excluded"
            )
        table = read_table(self.root / self.options.table) if self.options.table else None
        if table is not None:
            table.check_files(files)
        same_id = _repeated(_identifier(file) for file in files)
        same_mask = _repeated(path for file in files for path in self._mask_paths(file).values())
        for file in files:
            item_id = _identifier(file)
            shared = [path for path in self._mask_paths(file).values() if hash(path) in same_mask]
            problem = f"{shared[0]} is also the mask of another image; use {{parent}}" if shared else None
            yield self._item(file, _safe(file) if hash(item_id) in same_id else item_id, table, problem)

    def doubts(self) -> list[str]:
        """Images in folders that may be patients, where nobody has said what a subject is."""
        table = read_table(self.root / self.options.table) if self.options.table else None
        if self.options.subject or (table is not None and "subject_id" in table.columns):
            return []
        folders = Counter(PurePosixPath(file).parent for file in self._files())
        shared = [folder for folder, count in folders.items() if count > 1]
        if len(folders) < 2 or not shared:
            return []
        return [
            f"Every image counts as a subject of its own, and {len(shared)} of {len(folders)} folders hold "
            f"several, such as {shared[0]}. If a folder is a patient, images of "
            "one patient are in training and in test: set `source.subject` to an expression that finds the "
            "patient in the path, such as '^([^/]+)/', or give a column `subject_id`. If every image is a "
            "patient, say so by `subject: '(.+)'`."
        ]

    def _mask_paths(self, file: str) -> dict[str, str]:
        """Mask channel -> path of the image's mask, relative to the folder; it need not exist."""
        return {channel: mask_of(pattern, file) for channel, pattern in self._patterns().items() if pattern}

    def _files(self) -> list[str]:
        wanted, excluded = _glob(self.options.images), [_glob(glob) for glob in self.options.exclude]
        masks = [_mask_regex(pattern) for pattern in self._patterns().values() if pattern]
        table = PurePosixPath(self.options.table).as_posix() if self.options.table else None
        files = [
            file
            for file in _walk(self.root)
            if file != table
            and wanted.fullmatch(file)
            and not any(expression.fullmatch(file) for expression in [*excluded, *masks])
        ]
        patterns = [pattern for pattern in self._patterns().values() if pattern and ".." in pattern]
        up = {os.path.normpath(mask_of(pattern, file)) for pattern in patterns for file in files}
        return [file for file in files if os.path.normpath(file) not in up]

    def _item(self, file: str, item_id: str, table: Table | None, problem: str | None) -> SourceItem:
        listed = table.row(file) if table else {}
        subject = listed.pop("subject_id", None)
        if subject is None and self.options.subject:
            match = re.search(self.options.subject, file)
            subject = match[1] if match else None
            if not subject:
                problem = f"the `subject` expression {self.options.subject!r} finds no subject in {file!r}"
        split = listed.pop("split", None)
        return SourceItem(
            item_id=item_id,
            subject_id=str(subject) if subject is not None else item_id,
            split=split,
            attributes={"file": file, **listed},
            load=partial(self._load, file, problem),
        )

    def _load(self, file: str, problem: str | None) -> RawImage:
        if problem:
            raise DataError(f"{self.root / file}: {problem}")
        raw = read_image(self.root / file, self.options.channels)
        check_affine(raw, self.root / file)
        for channel, relative in self._mask_paths(file).items():
            path = self.root / relative
            if path.exists():
                raw.masks[channel] = self._mask(path, channel, raw, self.root / file)
        return raw

    def _mask(self, path: Path, channel: str, raw: RawImage, image_path: Path) -> np.ndarray:
        if channel == "fov":
            return read_aligned_mask(path, raw, image_path)
        polarity = self.options.mask_polarity
        mask = read_aligned_mask(path, raw, image_path, polarity)
        if polarity != "labels":
            return mask * np.uint8(next(iter(self.labels)))
        unknown = set(np.unique(mask).tolist()) - {0, *self.labels}
        if unknown:
            raise DataError(
                f"{path}: holds the labels {sorted(unknown)}, which `labels` does not name "
                f"(it names {sorted(self.labels)})"
            )
        return mask


def _walk(root: Path, below: str = "", above: frozenset[str] = frozenset()) -> Iterator[str]:
    """Visible files below ``root`` as paths with ``/``, in a fixed order.

    Links to folders are followed, but for those to a folder that the path is already in.
    """
    above |= {os.path.realpath(root / below)}
    for name in visible_names(root / below):
        path = f"{below}/{name}" if below else name
        if os.path.isdir(root / path):
            if os.path.realpath(root / path) not in above:
                yield from _walk(root, path, above)
        else:
            yield path


def _repeated(texts: Iterable[str]) -> frozenset[int]:
    """Hashes of the texts that occur more than once; takes eight bytes a text, however many there are."""
    hashes, counts = np.unique(np.fromiter(map(hash, texts), np.int64), return_counts=True)
    return frozenset(hashes[counts > 1].tolist())


def stem_of(file: str) -> str:
    """What ``{stem}`` stands for: the file's name without its suffix."""
    name = PurePosixPath(file).name
    return name[:-7] if name.lower().endswith(".nii.gz") else PurePosixPath(name).stem


def _identifier(file: str) -> str:
    """Path without its suffix, in the letters an item id may have."""
    return _safe((PurePosixPath(file).parent / stem_of(file)).as_posix())


def _safe(text: str) -> str:
    """``text`` with other letters replaced, and marked by a checksum then, so that it stays unique."""
    safe = re.sub(r"[^A-Za-z0-9_./-]", "_", text)
    return safe if safe == text else f"{safe}-{zlib.crc32(text.encode('utf-8', 'surrogateescape')):08x}"


def mask_of(pattern: str, file: str) -> str:
    """Path of a mask by its pattern, of an image; both relative to the folder."""
    path = PurePosixPath(file)
    return pattern.format(stem=stem_of(file), parent=path.parent.as_posix(), name=path.name)


def _mask_regex(pattern: str) -> re.Pattern[str]:
    """Every path that a mask pattern can give, also for masks whose image is not there."""
    fields = {"{parent}": ".*", "{stem}": "[^/]+", "{name}": "[^/]+"}
    parts = re.split(r"(\{parent\}/|\{\w+\})", PurePosixPath(pattern).as_posix())
    return re.compile(
        "".join("(?:.+/)?" if part == "{parent}/" else fields.get(part, re.escape(part)) for part in parts)
    )


def _glob(glob: str) -> re.Pattern[str]:
    """Glob of a relative path: ``*`` and ``?`` stop at ``/``, ``**/`` is any folders, none included.

    A glob without ``/`` matches names in every folder.
    """
    if "/" not in glob:
        glob = f"**/{glob}"
    tokens = {"**/": "(?:.+/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    parts = re.split(r"(\*\*/|\*\*|\*|\?|\[[^\]]+\])", glob)
    return re.compile(
        "".join(
            tokens.get(part) or (part.replace("[!", "[^") if part.startswith("[") else re.escape(part))
            for part in parts
        )
    )
