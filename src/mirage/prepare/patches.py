"""Cut squares at random places out of a prepared image."""

from __future__ import annotations

import numpy as np

from mirage import seeds
from mirage.config.datasets import Patches
from mirage.data.manifest import IMAGE_HASH
from mirage.data.shards import content_hash
from mirage.prepare.stored import Prepared
from mirage.preprocess.geometry import Box, boxes_after


def names(options: Patches | None, item_id: str) -> list[str]:
    """Item ids of what is stored of an image: its own, or ``<item>/p00``, ``<item>/p01`` ... of patches."""
    if options is None:
        return [item_id]
    return [f"{item_id}/p{number:02d}" for number in range(options.count)]


def places(options: Patches, size: int, item_id: str) -> list[tuple[int, int]]:
    """Top and left edge of each patch, pixels of an image of side ``size``.

    They depend on the seed, the item's id and the number of the patch alone: not on the dataset's name, the
    shard, or how many patches are cut.
    """
    left, top, right, bottom = options.within
    low = np.ceil(np.array([top, left]) * size - 1e-6)
    high = np.floor(np.array([bottom, right]) * size + 1e-6) - options.side
    drawn = seeds.rng(options.seed, f"patches/{item_id}").random((options.count, 2))
    edges = np.floor(low + drawn * (high - low + 1)).astype(int)
    return [(int(row), int(column)) for row, column in np.minimum(edges, high.astype(int))]


def cut(prepared: Prepared, options: Patches | None, item_id: str) -> list[Prepared]:
    """The patches of a prepared image, as views of it; the image itself without options.

    Boxes are moved and clipped; a patch has those that it holds a part of. Attributes ``patch_x`` and
    ``patch_y`` are its left and top edge in the prepared image, ``image_hash`` the digest of that.
    """
    if options is None:
        return [prepared]
    side, digest = options.side, content_hash(prepared.image)
    parts = []
    for top, left in places(options, prepared.image.shape[-1], item_id):
        window = np.s_[:, top : top + side, left : left + side]
        parts.append(
            Prepared(
                image=prepared.image[window],
                masks=None if prepared.masks is None else prepared.masks[window],
                has_label=prepared.has_label,
                spacing_mm=prepared.spacing_mm,
                boxes=boxes_after(prepared.boxes, Box(top, left, side, side), (side, side)),
                boxes_outside=prepared.boxes_outside,
                attributes={
                    **prepared.attributes,
                    "patch_x": left,
                    "patch_y": top,
                    IMAGE_HASH: digest,
                },
            )
        )
    return parts
