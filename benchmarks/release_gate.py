"""How often the release gate passes new images and fails copies, over simulated experiments.

    python benchmarks/release_gate.py --seeds 20 --sizes 400 400 1000
    python benchmarks/release_gate.py --quick --sizes 200 200 200

Every experiment draws training, held-out and fresh pictures (smooth random fields with noise, 32 x 32) and
judges synthetic sets: the fresh ones; these with 5 % of them replaced by copies of training pictures, turned,
lit otherwise and noised; and nothing but such copies. Printed is a line for each, with the limits
that do not pass, then how often each word was said. Pictures are compared, no features and no masks.
`--quick` tells instead how often a new set passes the limits on flagged copies and on one attack.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import ndimage, stats

from mirage.config.evaluations import PrivacyEvaluation
from mirage.config.privacy import Gate
from mirage.data import Dataset
from mirage.evaluate import privacy
from mirage.evaluate.features.bank import FeatureBank
from mirage.evaluate.sensitivity import Images, write_images
from mirage.evaluate.statistics import delong, exceedance
from mirage.files import read_json
from mirage.metrics.neighbours import orient

SIDE = 32
SETS = ("fresh", "few", "copies")
FEW = 0.05
"""Share of copies in the second set."""


def copies(images: Images, count: int, rng: np.random.Generator) -> Images:
    """So many copies, each turned, up to a fifth brighter or darker, and noised by 5 % of the range."""
    grey, masks = [], []
    for place in np.resize(rng.permutation(len(images.grey)), count):
        turn = int(rng.integers(1, 8))
        lit = orient(images.grey[place], turn) * rng.uniform(0.8, 1.2)
        grey.append(np.clip(lit + rng.normal(0, 0.05 * 255, lit.shape), 0, 255).astype(np.uint8))
        masks.append(orient(images.masks[place], turn))
    return Images(np.stack(grey), np.stack(masks))


def judged(
    folder: Path, seed: int, sizes: Sequence[int], sets: Sequence[str]
) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """Name, word and limits of every set of one experiment."""
    rng = np.random.default_rng(seed)
    training, heldout, fresh = (pictures(rng, count) for count in sizes)
    real = write_images(folder / "real", {"train": training, "test": heldout})
    copied, few = copies(training, sizes[2], rng), round(FEW * sizes[2])
    mixed = [np.concatenate([a[:few], b[few:]]) for a, b in zip(_both(copied), _both(fresh), strict=True)]
    learnt = sorted(real.select("train").subjects())
    given = {"fresh": fresh, "few": Images(*mixed), "copies": copied}
    for name in sets:
        images, out = given[name], folder / name
        made = write_images(folder / f"made_{name}", {"train": images}, learnt)
        yield name, *_gate({"real": real, "made": made}, out)


def pictures(rng: np.random.Generator, count: int) -> Images:
    """Smooth random fields with noise, of random brightness; masks are empty."""
    fields = ndimage.zoom(rng.standard_normal((count, 8, 8)), (1, SIDE / 8, SIDE / 8), order=3)
    grey = rng.normal(128, 15, (count, 1, 1)) + 30 * fields + rng.normal(0, 5, fields.shape)
    return Images(np.clip(grey, 0, 255).astype(np.uint8), np.zeros(fields.shape, np.uint8))


def _both(images: Images) -> tuple[np.ndarray, np.ndarray]:
    return images.grey, images.masks


def _gate(datasets: Mapping[str, Dataset], out: Path) -> tuple[str, pd.DataFrame]:
    options = {"evaluator": "privacy", "real": "real", "synthetic": "made", "encoders": []}
    options |= {"compare": "image", "bootstrap": 50}
    privacy.run(PrivacyEvaluation.model_validate(options), "private", datasets, FeatureBank(), out)
    return read_json(out / "details/privacy.json")["gate"], pd.read_parquet(out / "details/gate.parquet")


def expected(sizes: Sequence[int], draws: int, rng: np.random.Generator) -> tuple[float, float]:
    """Shares of sets without copies of which the limit on flagged copies passes, and that of one attack.

    Items are exchangeable, so their ratios and scores may come from any distribution.
    """
    limits, rank = Gate(), int(0.05 * (sizes[1] + 1))
    most = max(
        (
            hits
            for hits in range(sizes[2] // 5)
            if exceedance(hits, sizes[2], rank, sizes[1]).high <= limits.flagged
        ),
        default=-1,
    )
    below = stats.betabinom(sizes[2], rank, sizes[1] + 1 - rank).cdf(most)
    areas = [delong(rng.random(sizes[0]), rng.random(sizes[1])).high for _ in range(draws)]
    return float(below), float(np.mean(np.array(areas) <= limits.attack_auc_pass))


def main() -> None:
    """Simulate, judge and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20, help="experiments")
    parser.add_argument("--first", type=int, default=0, help="seed of the first one")
    parser.add_argument(
        "--sizes", type=int, nargs=3, default=[400, 400, 1000], metavar=("TRAINING", "HELDOUT", "SYNTHETIC")
    )
    parser.add_argument("--quick", action="store_true", help="only the two limits that number decides")
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    arguments = parser.parse_args()
    if arguments.quick:
        flagged, attacked = expected(arguments.sizes, 1000, np.random.default_rng(0))
        print(f"of new sets pass: copies flagged {flagged:.1%}, an attack {attacked:.1%}")
        return
    said: dict[str, Counter[str]] = {}
    unsettled: dict[str, Counter[str]] = {}
    for seed in range(arguments.first, arguments.first + arguments.seeds):
        with tempfile.TemporaryDirectory() as folder:
            for name, word, limits in judged(Path(folder), seed, arguments.sizes, arguments.sets):
                open_ = limits[limits["word"].isin(("fail", "inconclusive"))]
                named = [
                    f"{own.limit} ({own.space}) {own.word} {own.value:.3f} [{own.low:.3f}, {own.high:.3f}]"
                    for own in open_.itertuples()
                ]
                print(f"{seed} | {name} | {word} | {'; '.join(named)}", flush=True)
                said.setdefault(name, Counter()).update([word])
                unsettled.setdefault(name, Counter()).update(open_["limit"])
    for name, words in said.items():
        print(f"{name}: {dict(words)}; not passed: {dict(unsettled[name])}")


if __name__ == "__main__":
    main()
