"""Recipe `extract_and_insert`: extracted lesions in the lungs of healthy radiographs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property, lru_cache, partial
from typing import Any

import numpy as np

from mirage import seeds
from mirage.data import Dataset, Item
from mirage.errors import DataError
from mirage.generators.base import ImageSpec
from mirage.preprocess.lesions import Blended, Lesion, insert, places, transformed
from mirage.preprocess.lungs import LungField, derive_lungs, eroded, is_inverted, lung_boxes
from mirage.recipes.base import Made, Recipe
from mirage.recipes.curation import accepted
from mirage.recipes.extract_lesions import lesion_of

TRIES = 6
"""Lesions, turns and sizes that are drawn for a place in a host before the item is recorded as failed."""
KEPT = 128
"""Lesions that stay cut out in memory: 2 MB each where their windows have 256 pixels."""


class ExtractAndInsert(Recipe):
    """Whole radiographs with a box and a label mask a lesion; every pixel outside the blend is the host's.

    Hosts come in one random order, each once before one comes again. So do lesions, in another order every
    time, so that no host meets the same ones again. The centre of a lesion is drawn evenly from where the
    whole of it lies in a lung and beside the others. Donors are the subjects of the host and of all lesions.
    """

    batch = 1

    @property
    def _lesions(self) -> Dataset:
        return self.datasets[self.options.lesions]

    @cached_property
    def _hosts(self) -> Dataset:
        return self.datasets[self.options.hosts].training_part(self.options)

    @cached_property
    def _usable(self) -> list[int]:
        """Numbers of the lesions that are accepted."""
        if not self.tables:
            raise DataError("no table says which lesions are accepted; name `curation.csv` among the inputs")
        return accepted(self.tables[0], self._lesions)

    @cached_property
    def _cut(self) -> Callable[[int], Lesion]:
        """The lesion with a number; the last ones are kept, for each is inserted many times."""
        return lru_cache(KEPT)(partial(lesion_of, self._lesions))

    @cached_property
    def _host_order(self) -> np.ndarray:
        """Hosts in the order in which they are taken."""
        return seeds.rng(self.options.seed, "recipe/hosts").permutation(len(self._hosts))

    @cached_property
    def _ends(self) -> np.ndarray:
        """Lesions in each radiograph and all before it, for lesions to come in turn over all radiographs."""
        draw = seeds.rng(self.options.seed, "recipe/per_image")
        first, last = self.options.per_image
        return draw.integers(first, last, size=self.count, endpoint=True).cumsum()

    def _in_turn(self, turn: int) -> int:
        """Number of the lesion that has a turn: each once, in an order of its own, before one comes again."""
        times, place = divmod(turn, len(self._usable))
        order = seeds.rng(self.options.seed, "recipe/lesions", times).permutation(self._usable)
        return int(order[place])

    @property
    def count(self) -> int:
        return int(self.options.count)

    @property
    def _labels(self) -> dict[int, str]:
        """Value -> name: one value for each label that the lesions have."""
        names = sorted(self._lesions.items["label"].unique())
        return dict(enumerate((str(name) for name in names), start=1))

    @property
    def spec(self) -> ImageSpec:
        return replace(ImageSpec.of(self._hosts.info), mask_channels=["label"], labels=self._labels)

    @property
    def mask_channels(self) -> list[str]:
        return ["label"]

    def check(self) -> None:
        hosts, lesions = self._hosts.info, self._lesions.info
        for key in ("image_dtype", "value_range"):
            if getattr(hosts, key) != getattr(lesions, key):
                raise DataError(
                    f"{hosts.name} has {key} {getattr(hosts, key)}, {lesions.name} {getattr(lesions, key)}; "
                    "prepare hosts and lesions alike"
                )
        self.check_hosts()
        self._cut(self._usable[0])

    def check_hosts(self) -> None:
        """Refuse hosts that are no grey, healthy radiographs, or that the segmenter of lungs does not fit.

        Raises:
            DataError: says what differs.
        """
        hosts = self._hosts.info
        if hosts.image_shape[0] != 1:
            raise DataError(
                f"{hosts.name} has {hosts.image_shape[0]} channels; lesions go into grey radiographs alone"
            )
        boxed = self._hosts.items["boxes"].map(len) > 0
        if boxed.any():
            named = ", ".join(self._hosts.items["item_id"][boxed][:5])
            raise DataError(
                f"{hosts.name}: {int(boxed.sum())} hosts have boxes of their own ({named} ...), so they are "
                "not healthy; choose hosts by `findings` of the source"
            )
        if self.options.lung.segmenter:
            learnt = self.model(self.options.lung.segmenter)
            if learnt.spec.image_shape != hosts.image_shape or learnt.spec.value_range != hosts.value_range:
                raise DataError(
                    f"lung.segmenter: {self.options.lung.segmenter.generator} was trained on images "
                    f"{learnt.spec.image_shape}, {hosts.name} has {hosts.image_shape}; prepare both alike"
                )

    def make(self, indices: Sequence[int]) -> Iterator[Made]:
        hosts = self._host_order
        for index in indices:
            number = int(hosts[index % len(hosts)])
            host = self._hosts.item(number)
            row = self._hosts.items.iloc[number]
            known: dict[str, Any] = {
                "donor_subject_ids": [f"{self._hosts.info.namespace}/{row['subject_id']}"],
                "mask_origin": "synthetic",
            }
            about = {**host.attributes, "host_item": str(row["item_id"])}
            try:
                yield self._made(index, number, host, known, about)
            except DataError as error:
                reason = f"host {row['item_id']}: {error}"
                failed = self.row(index, status="failed", reason=reason, attributes=about, **known)
                yield Made(failed)

    def _made(
        self, index: int, number: int, host: Item, known: dict[str, Any], about: dict[str, Any]
    ) -> Made:
        rng = seeds.rng(self.options.seed, "recipe/insert", index)
        field = self._lung_field(host, index)
        low, high = self._hosts.info.value_range
        image = host.image[0]
        if field.inverted:
            image = _mirrored(image, low, high)
        lung = eroded(field.mask, self.options.lung.margin * max(image.shape))
        label, taken = np.zeros(image.shape, np.uint8), np.zeros(image.shape, bool)
        boxes: list[dict[str, Any]] = []
        inserted: list[dict[str, Any]] = []
        used: set[int] = set()
        for turn in range(int(self._ends[index - 1]) if index else 0, int(self._ends[index])):
            blended, facts = self._inserted(image, number, lung, taken, turn, used, rng)
            image = blended.image
            label[blended.label > 0] = next(v for v, name in self._labels.items() if name == facts["label"])
            taken |= blended.touched
            boxes.append({**blended.box._asdict(), "label": facts.pop("label")})
            inserted.append(facts)
        if field.inverted:
            image = _mirrored(image, low, high)
        untouched = ~taken
        if not np.array_equal(image[untouched], host.image[0][untouched]):
            raise AssertionError("pixels outside the lesions differ from the host's")
        patients = [facts.pop("donor") for facts in inserted]
        donors = [*known["donor_subject_ids"], *patients]
        row = self.row(
            index,
            **{**known, "donor_subject_ids": list(dict.fromkeys(donors))},
            boxes=boxes,
            attributes={
                **about,
                # Detection holds images out by this: every host is shared by lesions of many patients.
                "donor_group": patients,
                **{key: [facts[key] for facts in inserted] for key in inserted[0]},
            },
        )
        return Made(row, image[None], {"label": label})

    def _inserted(
        self,
        image: np.ndarray,
        host: int,
        lung: np.ndarray,
        taken: np.ndarray,
        turn: int,
        used: set[int],
        rng: np.random.Generator,
    ) -> tuple[Blended, dict[str, Any]]:
        """The image with one more lesion, and what is recorded of that.

        Raises:
            DataError: none of the lesions that are tried has a place.
        """
        smallest = math.inf
        for attempt in range(TRIES):
            fresh = [number for number in self._usable if number not in used] or self._usable
            chosen = self._in_turn(turn) if attempt == 0 else int(rng.choice(fresh))
            if chosen not in fresh:
                continue
            angle = float(rng.uniform(-self.options.rotate_deg, self.options.rotate_deg))
            low, high = self.options.scale
            scale = float(np.exp(rng.uniform(math.log(low), math.log(high))))
            to_host = self._spacing_factor(chosen, host)
            lesion = transformed(self._cut(chosen), angle, scale * to_host)
            radius = max(max(lesion.box.size) / 2, reach(lesion))
            free = places(lung, radius, taken)
            smallest = min(smallest, radius)
            if not len(free):
                continue
            y, x = (int(value) for value in free[int(rng.integers(len(free)))])
            blended = insert(image, lesion, (y, x), self.options.blend, self._hosts.info.value_range)
            used.add(chosen)
            return blended, self._facts(chosen, host, blended, (y, x), angle, scale)
        raise DataError(
            f"no place in the lungs for a lesion of {2 * smallest:.0f} pixels, the smallest of "
            f"{TRIES} draws; lower `scale`, `per_image` or `lung.margin`"
        )

    def _facts(
        self,
        chosen: int,
        host: int,
        blended: Blended,
        place: tuple[int, int],
        angle: float,
        scale: float,
    ) -> dict[str, Any]:
        """What the manifest says of an inserted lesion."""
        row, spacing = self._lesions.items.iloc[chosen], self._hosts.spacing_mm(host)
        diameter = 2 * math.sqrt(int((blended.label > 0).sum()) / math.pi)
        return {
            "label": str(row["label"]),
            "donor": str(row["donor_subject_ids"][0]),
            "lesion_item": str(row["item_id"]),
            "lesion_angle_deg": angle,
            "lesion_scale": scale,
            "lesion_y": place[0],
            "lesion_x": place[1],
            "lesion_contrast": blended.contrast,
            "lesion_diameter_px": diameter,
            "lesion_diameter_mm": diameter * math.sqrt(math.prod(spacing)) if spacing else math.nan,
            "lesion_clipped": blended.clipped,
        }

    def _spacing_factor(self, lesion: int, host: int) -> float:
        """Host pixels to one of the lesion's, for the same size in mm; 1 where a spacing is unknown."""
        own, other = self._lesions.spacing_mm(lesion), self._hosts.spacing_mm(host)
        if not self.options.match_spacing or own is None or other is None:
            return 1.0
        return math.sqrt(math.prod(own) / math.prod(other))

    def _lung_field(self, host: Item, index: int) -> LungField:
        """Where the lungs of a host are, by the way that the recipe says."""
        options, plane = self.options.lung, host.image[0]
        if options.kind == "derived":
            return derive_lungs(plane)
        if options.kind == "boxes":
            return replace(lung_boxes(plane.shape, options.boxes), inverted=is_inverted(plane))
        inverted = is_inverted(plane)
        if inverted:  # the segmenter has learnt from bright bones
            host = replace(host, image=_mirrored(host.image, *self._hosts.info.value_range))
        segmenter = self.model(options.segmenter)
        condition = segmenter.condition(host)
        drawn = segmenter.decode(segmenter.sample(condition[None], [self.seed_of("lung", index)]))[0, 0]
        if not drawn.any():
            raise DataError(f"the segmenter {options.segmenter.generator} finds no lung")
        return LungField((drawn > 0).astype(np.uint8), inverted)


def reach(lesion: Lesion) -> float:
    """Distance of the farthest labelled pixel from the middle of a transformed lesion, pixels."""
    y, x = np.nonzero(lesion.core)
    middle = len(lesion.core) / 2
    return float(np.hypot(y + 0.5 - middle, x + 0.5 - middle).max()) if len(y) else 0.0


def _mirrored(image: np.ndarray, low: float, high: float) -> np.ndarray:
    """Dark bones to bright ones or back; exact for whole numbers."""
    turned: np.ndarray = ((low + high) - image.astype(np.float64)).astype(image.dtype)
    return turned
