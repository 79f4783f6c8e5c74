"""Average precision and recall as COCO defines them, by MONAI's ``COCOMetric``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from monai.apps.detection.metrics.coco import COCOMetric
from monai.apps.detection.metrics.matching import matching_batch

from mirage.errors import DataError
from mirage.metrics.hits import Floats, overlaps

MARKS = 100
"""Marks of an image that are looked at, the highest first."""
OPTIONS: dict[str, Any] = {
    "iou_range": (0.5, 0.95, 0.05),
    "max_detection": (MARKS,),
    "per_class": False,
    "verbose": False,
}


def coco_scores(
    marks: Sequence[Floats], scores: Sequence[Floats], lesions: Sequence[Floats]
) -> dict[str, float]:
    """COCO's scores of one class, of at most 100 marks an image.

    Args:
        marks: (M, 4) boxes of each image, x0, y0, x1, y1 in pixels.
        scores: (M,) of each image.
        lesions: (L, 4) boxes of each image.

    Returns:
        ``map``: average precision, 101 points, mean over IoU 0.50, 0.55 ... 0.95; ``ap50`` and ``ap20``: at
        IoU 0.5 and 0.2; ``ar100``: recall, mean over the same IoUs.

    Raises:
        DataError: there are no lesions.
    """
    if not sum(map(len, lesions)):
        raise DataError("average precision: there are no lesions to be found; name images with boxes")
    if not sum(map(len, marks)):
        return {"map": 0.0, "ap50": 0.0, "ap20": 0.0, "ar100": 0.0}
    # MONAI's mean recall is over all its IoUs, so 0.2 must be no part of the first.
    standard = _scores(COCOMetric(["lesion"], (0.5,), **OPTIONS), marks, scores, lesions)
    loose = _scores(COCOMetric(["lesion"], (0.2,), **OPTIONS), marks, scores, lesions)
    return {
        "map": standard["mAP_IoU_0.50_0.95_0.05_MaxDet_100"],
        "ap50": standard["AP_IoU_0.50_MaxDet_100"],
        "ap20": loose["AP_IoU_0.20_MaxDet_100"],
        "ar100": standard["mAR_IoU_0.50_0.95_0.05_MaxDet_100"],
    }


def _scores(
    metric: COCOMetric, marks: Sequence[Floats], scores: Sequence[Floats], lesions: Sequence[Floats]
) -> dict[str, float]:
    found, _ = metric(
        matching_batch(
            iou_fn=overlaps,
            iou_thresholds=metric.iou_thresholds,
            pred_boxes=[_boxes(boxes) for boxes in marks],
            pred_classes=[np.zeros(len(boxes), int) for boxes in marks],
            pred_scores=[np.asarray(values, np.float64) for values in scores],
            gt_boxes=[_boxes(boxes) for boxes in lesions],
            gt_classes=[np.zeros(len(boxes), int) for boxes in lesions],
            max_detections=MARKS,
        )
    )
    return dict(found)


def _boxes(boxes: Floats) -> npt.NDArray[np.float64]:
    return np.asarray(boxes, np.float64).reshape(-1, 4)
