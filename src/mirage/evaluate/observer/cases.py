"""Which images a study shows: from prepared datasets or from folders of images, one a subject first."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from pydantic import ValidationError

from mirage.config.datasets import FolderSource
from mirage.config.observer import ReaderPage, Where
from mirage.data import Dataset, Items
from mirage.data.shards import content_hash
from mirage.errors import ConfigError, DataError
from mirage.sources.base import SourceItem
from mirage.sources.folder import Folder

logger = logging.getLogger(__name__)
WORST_READ = 0.05
"""Share of the files looked at that may be unreadable."""


@dataclass(frozen=True)
class Picture:
    """An image as it is stored.

    Attributes:
        image: (C, H, W), C 1 or 3, of the file's or dataset's own type.
        limits: native values of black and white; None where the type has no range.
    """

    image: np.ndarray
    limits: tuple[float, float] | None


@dataclass(frozen=True)
class Offer:
    """An image that may be shown: where it is from, and how it is read."""

    dataset: str
    item_id: str
    subject_id: str
    load: Callable[[], Picture]


@dataclass(frozen=True)
class Chosen:
    """An image that is shown."""

    dataset: str
    item_id: str
    subject_id: str
    picture: Picture


def offers_of(data: Items, where: Where, *, synthetic: bool = False) -> list[Offer]:
    """Images of a prepared dataset, or of a view of one.

    Args:
        data: 2D images of one or three channels.
        where: attribute -> values of which an item must have one.
        synthetic: whether they are shown as synthetic ones.

    Raises:
        DataError: volumes, another number of channels, an attribute that the dataset does not have, or no
            item left; images that would be shown as synthetic and are not.
    """
    shape, items = data.info.image_shape, data.items
    if len(shape) != 3 or shape[0] not in (1, 3):
        raise DataError(
            f"{data.info.name}: readers are shown 2D images of one or three channels, these are of shape "
            f"{shape}"
        )
    kept = np.ones(len(items), np.bool_)
    for name, values in where.items():
        if name not in items.columns:
            raise DataError(f"{data.info.name} has no attribute {name!r}; it has {', '.join(items.columns)}")
        kept &= items[name].astype(str).isin([str(value) for value in values]).to_numpy()
    if not kept.any():
        raise DataError(f"{data.info.name}: no item is left{f' with {where}' if where else ''}")
    if synthetic:
        _check_synthetic(data, kept)
    columns = zip(items["item_id"], items["subject_id"], strict=True)
    return [
        Offer(data.info.name, item, f"{data.info.namespace}/{subject}", partial(_stored, data, index))
        for index, (item, subject) in enumerate(columns)
        if kept[index]
    ]


def _check_synthetic(data: Items, kept: np.ndarray) -> None:
    others = int((data.items["origin"][kept] != "synthetic").sum())
    if others == kept.sum():
        raise DataError(
            f"{data.info.name} holds no synthetic images{'' if kept.all() else ' of those asked for'}; name "
            "a dataset of synthetic ones as `synthetic`"
        )
    if others:
        raise DataError(
            f"{data.info.name}: {others} of {kept.sum()} images are not synthetic and would be shown as "
            "such; name a dataset of synthetic ones as `synthetic`, or "
            "set `synthetic_where: {origin: [synthetic]}`"
        )


def _stored(data: Items, index: int) -> Picture:
    return Picture(np.asarray(data.image(index)), data.info.value_range)


def offers_in(folder: Path | str, subjects: str | None = None) -> list[Offer]:
    """Image files in a folder and those below it: PNG, TIFF, JPEG, DICOM and slices of NIfTI.

    Args:
        folder: of images of one kind.
        subjects: regular expression on a file's path; its first group is the patient. None: every file is
            of another one.

    Raises:
        ConfigError: no regular expression.
        LayoutError: no such folder, or nothing in it.
    """
    try:
        options = FolderSource(reader="folder", path=str(folder), channels="rgb", subject=subjects)
    except ValidationError as error:
        raise ConfigError(f"subjects: {error.errors()[0]['msg'].removeprefix('Value error, ')}") from error
    source = Folder(options)
    source.check_layout()
    name = Path(folder).resolve().name
    return [Offer(name, item.item_id, item.subject_id, partial(_read, item)) for item in source.items()]


def _read(item: SourceItem) -> Picture:
    raw = item.load()
    image = raw.image
    if image.ndim != 3:
        raise DataError(
            f"{item.attributes['file']}: is a volume of shape {image.shape}; readers are shown 2D images"
        )
    if (image == image[:1]).all():
        image = image[:1]
    return Picture(image, raw.full_range)


def choose(offers: Sequence[Offer], count: int, rng: np.random.Generator, shown: set[str]) -> list[Chosen]:
    """Images drawn at random: one of every subject before a second of any, and none twice.

    Args:
        offers: where from.
        count: how many.
        rng: draws.
        shown: digests of the pixels of images that are shown already, to which these are added.

    Raises:
        DataError: too few, or more than a twentieth of the files cannot be read.
    """
    found, unreadable, looked = list[Chosen](), list[str](), 0
    for offer in _by_subject(offers, rng):
        if len(found) == count:
            break
        looked += 1
        try:
            picture = offer.load()
        except DataError as error:
            logger.warning("%s", error)
            unreadable.append(str(error))
            continue
        digest = content_hash(picture.image)
        if digest in shown:
            logger.warning("%s: %s repeats the pixels of another image", offer.dataset, offer.item_id)
            continue
        shown.add(digest)
        found.append(Chosen(offer.dataset, offer.item_id, offer.subject_id, picture))
    if len(unreadable) > max(1, WORST_READ * looked):
        raise DataError(f"{len(unreadable)} of {looked} images cannot be read, such as {unreadable[0]}")
    if len(found) < count:
        where = offers[0].dataset if offers else "nothing"
        raise DataError(
            f"{where}: {count} images are wanted, {len(found)} different ones of {len(offers)} are there; "
            "ask for fewer (`n`, `practice`), or take another `split`"
        )
    return found


def _by_subject(offers: Sequence[Offer], rng: np.random.Generator) -> Iterator[Offer]:
    """All offers at random, the first of every subject before the second of any."""
    seen: dict[str, int] = {}
    rounds: list[tuple[int, int]] = []
    order = rng.permutation(len(offers))
    for place, index in enumerate(order):
        turn = seen[offers[index].subject_id] = seen.get(offers[index].subject_id, -1) + 1
        rounds.append((turn, place))
    for _, place in sorted(rounds):
        yield offers[order[place]]


def real_part(data: Dataset, page: ReaderPage) -> Dataset:
    """The split of the real dataset that is shown.

    Raises:
        DataError: a synthetic image is among them, or none is there.
    """
    part = data if page.split == "all" else data.select(page.split)
    if not len(part):
        raise DataError(f"{data.info.name}: its split {page.split!r} is empty; name another `split`")
    if (part.items["origin"] == "synthetic").any():
        raise DataError(f"{data.info.name} holds synthetic images; name a dataset of real ones as `real`")
    return part
