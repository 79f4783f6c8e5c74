"""Whether the files alone, rather than what the images show, tell real from synthetic."""

from __future__ import annotations

import io
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import stats
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import StratifiedKFold, cross_val_predict

from mirage.evaluate.statistics import Interval, delong, holm

FOLDS = 5
LEAST = 10
"""Images of either kind, below which nothing can be said."""
CLEAR = 0.05
STATISTICS = {
    "encoded_bytes": "bytes of the image as PNG",
    "lowest": "lowest value",
    "highest": "highest value",
    "at_black": "share of pixels that are black",
    "at_white": "share of pixels that are white",
    "levels": "distinct grey levels",
    "odd_levels": "share of pixels on odd grey levels",
    "border": "pixels of one value along the edge",
}


@dataclass(frozen=True)
class Told:
    """How well one statistic tells the kinds apart.

    Attributes:
        name: key of ``STATISTICS``.
        auc, low, high: area under the ROC with DeLong's interval; above 0.5 where it is larger in synthetic
            images.
        p: of the Mann-Whitney test, adjusted for all statistics by Holm.
    """

    name: str
    auc: float
    low: float
    high: float
    p: float


@dataclass(frozen=True)
class Audit:
    """What files tell.

    Attributes:
        auc, low, high: of a random forest on all statistics, cross-validated; NaN with few images.
        told: every statistic for itself.
        warning: what to do about it; empty where nothing was found.
    """

    auc: float
    low: float
    high: float
    told: tuple[Told, ...]
    warning: str

    def facts(self) -> dict[str, object]:
        """As plain data without NaN."""
        known = {name: None if np.isnan(value) else value for name, value in self._ends().items()}
        return {**known, "warning": self.warning, "statistics": [asdict(one) for one in self.told]}

    def _ends(self) -> dict[str, float]:
        return {"auc": self.auc, "low": self.low, "high": self.high}


def audit(pixels: np.ndarray, synthetic: npt.NDArray[np.bool_], bits: int) -> Audit:
    """Tell real from synthetic images by what a program sees of a file without looking at the picture.

    A kind that is really smoother than the other also makes shorter files, and readers may see that too:
    a warning asks for a look, it does not prove a mistake.

    Args:
        pixels: (N, C, H, W) as embedded.
        synthetic: (N,), which of them are.
        bits: of the grey levels.
    """
    table = np.array([_measured(image, bits) for image in pixels])
    fewest = int(min(synthetic.sum(), (~synthetic).sum()))
    nan = float("nan")
    if fewest < LEAST:
        return Audit(nan, nan, nan, (), "")
    told = _each(table, synthetic)
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=0)
    forest = RandomForestClassifier(100, min_samples_leaf=3, random_state=0)
    scores = cross_val_predict(forest, table, synthetic, cv=folds, method="predict_proba")[:, 1]
    joint = delong(scores[synthetic], scores[~synthetic])
    clear = [one for one in told if one.p < CLEAR]
    return Audit(*joint, told, _warning(joint, clear))


def _measured(image: np.ndarray, bits: int) -> list[float]:
    """Values of ``STATISTICS``."""
    top = 2**bits - 1
    return [
        _png_bytes(image),
        float(image.min()),
        float(image.max()),
        float(np.mean(image == 0)),
        float(np.mean(image == top)),
        float(len(np.unique(image))),
        float(np.mean(image & 1)),
        _border(image),
    ]


def _png_bytes(image: np.ndarray) -> float:
    picture = image[0] if len(image) == 1 else np.moveaxis(image, 0, -1)
    if picture.ndim == 3 and picture.dtype == np.uint16:
        picture = np.concatenate(list(image), axis=1)
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG")
    return float(buffer.tell())


def _border(image: np.ndarray) -> float:
    """Rows and columns from the edge inwards, all of whose pixels have one value."""
    height, width = image.shape[1:]
    for edge in range(min(height, width) // 2):
        rows, columns = image[:, [edge, -1 - edge]], image[:, :, [edge, -1 - edge]]
        flat = np.concatenate([rows.ravel(), columns.ravel()])
        if flat.min() != flat.max():
            return float(edge)
    return float(min(height, width) // 2)


def _each(table: npt.NDArray[np.float64], synthetic: npt.NDArray[np.bool_]) -> tuple[Told, ...]:
    found: list[tuple[str, Interval, float]] = []
    for name, values in zip(STATISTICS, table.T, strict=True):
        if values.min() == values.max():
            continue
        own, other = values[synthetic], values[~synthetic]
        found.append((name, delong(own, other), float(stats.mannwhitneyu(own, other).pvalue)))
    adjusted = holm([p for _, _, p in found])
    return tuple(Told(name, *ends, p) for (name, ends, _), p in zip(found, adjusted, strict=True))


def _warning(joint: Interval, clear: list[Told]) -> str:
    separates = joint.low > 0.5
    if not separates and not clear:
        return ""
    found = []
    if separates:
        found.append(
            f"a classifier that sees only statistics of the files tells the kinds apart with an area of "
            f"{joint.estimate:.2f} (95 % interval {joint.low:.2f} to {joint.high:.2f})"
        )
    if clear:
        listed = ", ".join(f"{STATISTICS[one.name]} (area {one.auc:.2f})" for one in clear)
        found.append(f"the kinds differ in {listed}")
    return (
        f"{'; '.join(found)}. Where the images themselves differ so, readers may see it, and that is what "
        "the study is about; where handling made the difference (a border, a range, grey levels, another "
        "size), mend it, by `crop`, `bits` or `side`, or in how the images were prepared"
    )
