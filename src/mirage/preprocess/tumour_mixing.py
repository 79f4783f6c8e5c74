"""One subject's tumour on another's brain: label mixing, CarveMix and copy-paste, on arrays.

Volumes of two subjects are taken as they are stored, cut to the brain or in one space; nothing is registered.
Axes are (D, H, W), W from the patient's right to left.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from mirage.errors import DataError

Window = tuple[slice, ...]
DRAWS = 10
"""Draws of a placement before the one that keeps most of the tumour is taken."""


@dataclass(frozen=True)
class Subject:
    """What is stored of one subject.

    Attributes:
        image: (C, D, H, W), any real type.
        label: (D, H, W), uint8, 0 where there is no tumour.
        brain: (D, H, W), uint8, 0 outside.
    """

    image: np.ndarray
    label: np.ndarray
    brain: np.ndarray

    @property
    def inside(self) -> np.ndarray:
        """The brain as bool."""
        return self.brain > 0

    @property
    def tumour(self) -> np.ndarray:
        """Any label as bool."""
        return self.label > 0


@dataclass(frozen=True)
class Placement:
    """Where a tumour goes: mirrored across the volume's middle, turned and scaled about its centre, shifted.

    Attributes:
        mirror: left and right change places.
        scale: factor of its size, above 0.
        turn_deg: in the axial plane.
        shift: voxels along (D, H, W).
    """

    mirror: bool = False
    scale: float = 1.0
    turn_deg: float = 0.0
    shift: tuple[int, int, int] = (0, 0, 0)


@dataclass(frozen=True)
class Freedom:
    """How far placements are drawn: a mirror image or not, scale in [1 - x, 1 + x], and so on.

    Attributes:
        mirror: mirror half of the tumours.
        scale: in [0, 1).
        turn_deg: rotation in [-x, x] degrees.
        shift: voxels, in [-x, x] along each axis.
    """

    mirror: bool = False
    scale: float = 0.0
    turn_deg: float = 0.0
    shift: int = 0

    def draw(self, rng: np.random.Generator) -> Placement:
        """One placement; the same number of draws whatever the freedom."""
        flip, (scale, turn, *shift) = rng.random() < 0.5, rng.uniform(-1, 1, 5)
        steps = np.rint(np.array(shift) * self.shift).astype(int)
        return Placement(
            self.mirror and bool(flip),
            1 + self.scale * float(scale),
            self.turn_deg * float(turn),
            (int(steps[0]), int(steps[1]), int(steps[2])),
        )


def place_label(
    label: np.ndarray, brain: np.ndarray, freedom: Freedom, rng: np.random.Generator
) -> tuple[np.ndarray, Placement]:
    """Put a tumour on another brain and cut it off at the brain's edge.

    Where there is freedom, the first of ``DRAWS`` placements that lies wholly inside is taken, else the one
    that keeps the largest share of its voxels.

    Args:
        label: tumour of A (D, H, W), uint8, 0 elsewhere.
        brain: brain mask of B (D, H, W).
        freedom: how placements are drawn.
        rng: the item's random numbers.

    Returns:
        Label map on B (D, H, W), uint8, and the placement.

    Raises:
        DataError: A has no tumour, or nothing of it lies inside B.
    """
    if not label.any():
        raise DataError("the tumour's donor has no tumour")
    best, kept = None, 0.0
    for _ in range(1 if freedom == Freedom() else DRAWS):
        placement = freedom.draw(rng)
        moved = move(label, label > 0, placement)
        clipped = moved * (brain > 0)
        share = np.count_nonzero(clipped) / (np.count_nonzero(moved) or 1)
        if share > kept:
            best, kept = (clipped, placement), share
        if kept == 1:
            break
    if best is None:
        raise DataError("nothing of the tumour lies inside the brain that it was put on")
    return best


def move(volume: np.ndarray, tumour: np.ndarray, placement: Placement) -> np.ndarray:
    """Move a tumour and what is around it.

    Args:
        volume: labels (D, H, W), integer, resampled by nearest neighbour; or an image (C, D, H, W), any type,
            resampled linearly and returned as float32.
        tumour: where it is (D, H, W), bool, not empty.
        placement: where it goes.

    Returns:
        The same shape, exact for mirror images and shifts; 0 further from the tumour than it is wide.
    """
    places = np.argwhere(tumour)
    centre, shape = places.mean(axis=0), np.array(tumour.shape)
    reach = np.sqrt(((places - centre) ** 2).sum(axis=1).max()) * 2 * placement.scale + 2
    target = centre + placement.shift
    mirror = np.diag([1.0, 1.0, -1.0 if placement.mirror else 1.0])
    if placement.mirror:
        target[2] = shape[2] - 1 - centre[2] + placement.shift[2]
    turn = np.deg2rad(placement.turn_deg)
    turned = np.eye(3)
    turned[1:, 1:] = [[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]]
    back = mirror @ turned / placement.scale
    low = np.clip(np.floor(target - reach), 0, shape).astype(int)
    high = np.clip(np.ceil(target + reach) + 1, low, shape).astype(int)
    window = tuple(slice(first, last) for first, last in zip(low, high, strict=True))
    # Rounded: a coordinate of -1e-15 would be outside.
    offset = np.round(centre - back @ (target - low), 6)
    labels = volume.ndim == 3
    channels = volume[None] if labels else volume.astype(np.float32)
    moved = np.zeros_like(channels)
    for source, drawn in zip(channels, moved, strict=True):
        drawn[window] = ndimage.affine_transform(
            source, back, offset, output_shape=tuple(high - low), order=0 if labels else 1
        )
    result: np.ndarray = moved[0] if labels else moved
    return result


def carve(tumour: np.ndarray, share: float) -> np.ndarray:
    """The region that CarveMix takes: the tumour shrunk or grown by its signed distance (Zhang et al. 2021).

    With d the distance to the tumour's surface, negative inside, it is d < t, where t is half of ``share``
    times the lowest d for positive shares, and ``share`` times it for negative ones: from half of the
    tumour's depth to as far outside as it is deep.

    Args:
        tumour: (D, H, W), bool, not empty.
        share: in [-1, 1].

    Returns:
        bool (D, H, W).
    """
    depth = ndimage.distance_transform_edt(np.pad(tumour[_around(tumour, 0)], 1)).max()
    window = _around(tumour, int(np.ceil(depth)) + 1)
    # Padded: a tumour that touches the volume's end has its surface there.
    cut = np.pad(tumour[window], 1)
    distance = ndimage.distance_transform_edt(~cut) - ndimage.distance_transform_edt(cut)
    limit = -depth * (share / 2 if share > 0 else share)
    carved = np.zeros(tumour.shape, bool)
    carved[window] = (distance < limit)[1:-1, 1:-1, 1:-1]
    return carved


def carve_mix(
    donor: Subject, host: Subject, share: float, harmonise: bool, value_range: tuple[float, float]
) -> tuple[np.ndarray, np.ndarray]:
    """CarveMix: a region around the donor's tumour replaces the same place of the host, image and label.

    Args:
        donor: whose tumour.
        host: whose brain; its own label stays where nothing is replaced.
        share: see :func:`carve`.
        harmonise: bring the donor's intensities to the host's, see :func:`harmonised`.
        value_range: lowest and highest stored value.

    Returns:
        Image (C, D, H, W), stored type, and label (D, H, W), uint8.

    Raises:
        DataError: the donor has no tumour, or nothing of it lies inside the host's brain.
    """
    if not donor.tumour.any():
        raise DataError("the tumour's donor has no tumour")
    region = carve(donor.tumour, share) & donor.inside & host.inside
    if not (region & donor.tumour).any():
        raise DataError("nothing of the tumour lies inside the brain that it was put on")
    pasted = harmonised(donor, host) if harmonise else donor.image
    image = host.image.copy()
    image[:, region] = _stored(pasted[:, region], image.dtype, value_range)
    return image, np.where(region, donor.label, host.label)


def copy_paste(
    donor: Subject,
    host: Subject,
    freedom: Freedom,
    intensity: float,
    blend: float,
    harmonise: bool,
    value_range: tuple[float, float],
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Copy-paste (after TumorCP, Yang et al. 2021): the donor's tumour, moved, on the host's brain.

    Args:
        donor: whose tumour.
        host: whose brain; its own label stays where nothing is pasted.
        freedom: how the tumour is moved.
        intensity: its values are multiplied by a factor in [1 - x, 1 + x], drawn for each channel.
        blend: standard deviation, voxels, of the Gaussian that softens its edge in the image; 0: hard.
        harmonise: as for :func:`carve_mix`.
        value_range: lowest and highest stored value.
        rng: the item's random numbers.

    Returns:
        Image (C, D, H, W), stored type, and label (D, H, W), uint8.

    Raises:
        DataError: the donor has no tumour, or nothing of it lies inside the host's brain.
    """
    factors = 1 + intensity * rng.uniform(-1, 1, len(donor.image))
    label, placement = place_label(donor.label, host.brain, freedom, rng)
    pasted = harmonised(donor, host) if harmonise else donor.image.astype(np.float32)
    pasted = move(pasted, donor.tumour, placement)
    covered = (move(donor.brain, donor.tumour, placement) > 0) & host.inside
    label = np.where(covered, label, 0).astype(np.uint8)
    if not label.any():
        raise DataError("nothing of the tumour lies inside the brain that it was put on")
    weight = (label > 0).astype(np.float32)
    if blend:
        window = _around(label > 0, int(np.ceil(4 * blend)) + 1)
        weight[window] = ndimage.gaussian_filter(weight[window], blend)
    weight *= covered
    where = weight > 0
    low = value_range[0]
    scaled = (pasted[:, where] - low) * factors[:, None].astype(np.float32) + low
    mixed = weight[where] * scaled + (1 - weight[where]) * host.image[:, where]
    image = host.image.copy()
    image[:, where] = _stored(mixed, image.dtype, value_range)
    return image, np.where(label > 0, label, host.label)


def harmonised(donor: Subject, host: Subject) -> np.ndarray:
    """The donor's image with mean and deviation of each channel's healthy brain as the host has them.

    Returns:
        float32 (C, D, H, W); outside the donor's brain as it was.
    """
    image = donor.image.astype(np.float32)
    own, wanted = (subject.inside & ~subject.tumour for subject in (donor, host))
    if not (own.any() and wanted.any()):
        return image
    for channel, target in zip(image, host.image, strict=True):
        from_mean, from_spread = channel[own].mean(dtype=np.float64), channel[own].std(dtype=np.float64)
        to_mean, to_spread = target[wanted].mean(dtype=np.float64), target[wanted].std(dtype=np.float64)
        factor = to_spread / from_spread if from_spread > 0 else 1.0
        channel[donor.inside] = (channel[donor.inside] - from_mean) * factor + to_mean
    return image


def check_inside(label: np.ndarray, brain: np.ndarray, item: str) -> None:
    """Refuse a label map (D, H, W) with anything outside the brain mask (D, H, W).

    Raises:
        DataError: names the item and the number of voxels.
    """
    outside = np.count_nonzero(label[brain == 0])
    if outside:
        raise DataError(
            f"{item}: {outside} labelled voxels lie outside the brain mask; prepare the donors again, with "
            "their brain masks"
        )


def _around(mask: np.ndarray, margin: int) -> Window:
    """Bounding box of a mask that is not empty, with a margin, cut to the volume."""
    window = []
    for axis, extent in enumerate(mask.shape):
        others: Sequence[int] = [other for other in range(mask.ndim) if other != axis]
        found = np.flatnonzero(mask.any(axis=tuple(others)))
        window.append(slice(max(int(found[0]) - margin, 0), min(int(found[-1]) + 1 + margin, extent)))
    return tuple(window)


def _stored(values: np.ndarray, dtype: np.dtype, value_range: tuple[float, float]) -> np.ndarray:
    """Values in the stored type and range, rounded where it is one of integers."""
    clipped = np.clip(values, *value_range)
    return (np.rint(clipped) if dtype.kind in "iu" else clipped).astype(dtype)
