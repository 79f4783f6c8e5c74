"""How near to the real image a hole was filled: the hole's own pixels, and no others."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from skimage.metrics import structural_similarity

PEAK_FLOOR = 1e-10
"""Mean squared error below which the signal-to-noise ratio stays at 100 dB."""


def hole_scores(
    real: npt.NDArray[np.floating], made: npt.NDArray[np.floating], hole: npt.NDArray[np.uint8]
) -> dict[str, float]:
    """Agreement of an inpainted image with the real one within the hole.

    Args:
        real: (C, H, W), 0 ... 1 over the value range; sides of 11 or more.
        made: the same, inpainted.
        hole: (H, W), 1 in the hole, which is not empty.

    Returns:
        ``hole_l1``: mean absolute difference, share of the value range. ``hole_psnr``: peak signal-to-noise
        ratio, dB, of the mean squared difference. ``hole_ssim``: mean over the hole of the structural
        similarity (Wang 2004: Gaussian window of 11, sigma 1.5), whose windows also see known pixels.

    Raises:
        ValueError: an empty hole.
    """
    inside = hole.astype(bool)
    if not inside.any():
        raise ValueError("an empty hole has no scores")
    real, made = real.astype(np.float64), made.astype(np.float64)
    difference = (made - real)[:, inside]
    similar = structural_similarity(
        real,
        made,
        channel_axis=0,
        data_range=1.0,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        full=True,
    )[1]
    return {
        "hole_l1": float(np.abs(difference).mean()),
        "hole_psnr": float(-10 * np.log10(max(np.square(difference).mean(), PEAK_FLOOR))),
        "hole_ssim": float(similar[:, inside].mean()),
    }
