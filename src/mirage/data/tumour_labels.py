"""The codes of brain tumour label maps: one table of every scheme in use, and the regions made of the labels.

Code 4 means three different things: enhancing tumour until BraTS 2022, a resection cavity in BraTS 2024, and
nothing in BraTS 2023. Mirage stores 1 NCR, 2 ED, 3 ET, 4 RC, whatever the files hold.
"""

from __future__ import annotations

import numpy as np

from mirage.config.datasets import TUMOUR_LABELS
from mirage.errors import DataError

LABELS = TUMOUR_LABELS
"""Stored code -> name: necrosis and other non-enhancing core, oedema (SNFH), enhancing tumour."""
CAVITY: dict[int, str] = {4: "RC"}
"""The resection cavity, which only post-treatment schemes have; in no region."""
REGIONS: dict[str, tuple[str, ...]] = {"WT": ("NCR", "ED", "ET"), "TC": ("NCR", "ET"), "ET": ("ET",)}
"""Region -> its labels: whole tumour, tumour core, enhancing tumour."""
SCHEMES: dict[str, dict[int, int]] = {
    "brats2015": {1: 1, 2: 2, 3: 1, 4: 3},
    "brats2018": {1: 1, 2: 2, 4: 3},
    "brats2023": {1: 1, 2: 2, 3: 3},
    "brats2024": {1: 1, 2: 2, 3: 3, 4: 4},
    "msd": {1: 2, 2: 1, 3: 3},
}
"""Scheme -> {code in the file: stored code}. brats2015: 1 necrosis, 3 non-enhancing core; 2012 to 2016.
brats2018: 2017 to 2022, where the two are one label. brats2023: 2023 and later before treatment. brats2024:
after treatment. msd: Medical Segmentation Decathlon, Task01."""
WHOLE = 1e-3
"""How far a code stored as a float may lie from a whole number: some files hold 0.9999997 for 1."""
UNKNOWN = 255


def labels_of(scheme: str) -> dict[int, str]:
    """Stored code -> name of every label that a scheme can give."""
    names = {**LABELS, **CAVITY}
    return {code: names[code] for code in sorted(set(SCHEMES[scheme].values()))}


def map_labels(array: np.ndarray, scheme: str) -> np.ndarray:
    """Map the codes of a file to the stored ones.

    Args:
        array: label map of any shape; integers, or floats within ``WHOLE`` of integers; 0 is background.
        scheme: a key of ``SCHEMES``.

    Returns:
        uint8 of the same shape; 1 NCR, 2 ED, 3 ET, and 4 RC where the scheme has it.

    Raises:
        DataError: values that are no whole numbers, or codes that the scheme does not know; the message
            names the schemes that know all codes of the array. It does not name the file.
    """
    codes, table = _whole(array), SCHEMES[scheme]
    lookup = bytearray([UNKNOWN]) * 256
    for code, stored in {0: 0, **table}.items():
        lookup[code] = stored
    # Several times as fast as indexing a table by nine million voxels.
    mapped = np.frombuffer(codes.tobytes().translate(lookup), np.uint8).reshape(codes.shape)
    if mapped.size and mapped.max() == UNKNOWN:
        raise DataError(_unknown(set(np.unique(codes).tolist()) - {0}, scheme))
    return mapped


def _unknown(found: set[int], scheme: str) -> str:
    names = {**LABELS, **CAVITY}
    known = ", ".join(f"{code} {names[stored]}" for code, stored in SCHEMES[scheme].items())
    fitting = [
        f"{name} ({', '.join(f'{code} {names[table[code]]}' for code in sorted(found - {0}))})"
        for name, table in SCHEMES.items()
        if found <= table.keys()
    ]
    hint = (
        f"set `source.codes` to what the release's documentation says, {' or '.join(fitting)}: the codes "
        "alone cannot tell them apart"
        if len(fitting) > 1
        else f"set `source.codes` to {fitting[0]}"
        if fitting
        else "no scheme has all of them"
    )
    return (
        f"holds the label codes {sorted(found)}; {sorted(found - SCHEMES[scheme].keys())} are unknown to the "
        f"scheme {scheme}, which has {known}; {hint}"
    )


def _whole(array: np.ndarray) -> np.ndarray:
    """The array as uint8."""
    if array.dtype == np.uint8:
        return array
    low, high = array.min(), array.max()
    if not (low >= -WHOLE and high <= 255):
        raise DataError(f"labels must be whole numbers in 0..255, found {low:g}..{high:g}")
    if array.dtype.kind != "f":
        return array.astype(np.uint8)
    whole = np.rint(array)
    if np.abs(array - whole).max() > WHOLE:
        raise DataError(
            "labels must be whole numbers, found fractions; was the label map resampled with interpolation? "
            "Resample labels by nearest neighbour"
        )
    return whole.astype(np.uint8)
