"""How much of a nodule's mass extraction gives back with a trained inpainter, on phantoms new to it.

    python benchmarks/lesion_mass.py results/models/small_inpainter/seed-0 --side 256 --out lesion-mass.md

Each nodule is cut out of its phantom twice: with the inpainter's bias learnt at healthy places of the same
phantom, as the recipe does, and without. Intervals are of 95 %, by bootstrap over phantoms. `total` is the
sum of all extracted masses over the sum of all true ones, with 0 for nodules that were not found.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from mirage.generators.checkpoint import load_generator
from mirage.generators.inpainting import Inpainter
from mirage.recipes.recovery import recovered

DRAWS = 2000


def total(table: pd.DataFrame) -> float:
    return float(table["mass"].sum() / table["true_mass"].sum())


def of_found(statistic: Callable[[pd.Series], float]) -> Callable[[pd.DataFrame], float]:
    return lambda table: float(statistic(table.loc[table["reason"] == "", "ratio"]))


STATISTICS: dict[str, Callable[[pd.DataFrame], float]] = {
    "found": lambda table: float((table["reason"] == "").mean()),
    "median ratio": of_found(lambda ratio: ratio.median()),
    "total": total,
    "spread of ratios": of_found(lambda ratio: ratio.std()),
    "within 10 %": of_found(lambda ratio: ((ratio - 1).abs() <= 0.1).mean()),
    "within 20 %": of_found(lambda ratio: ((ratio - 1).abs() <= 0.2).mean()),
}


def with_intervals(table: pd.DataFrame, draws: int = DRAWS) -> dict[str, str]:
    """Each statistic with its interval."""
    rng = np.random.default_rng(0)
    subjects = dict(tuple(table.groupby("subject")))
    drawn = rng.choice(list(subjects), (draws, len(subjects)))
    resampled = [pd.concat([subjects[subject] for subject in own]) for own in drawn]
    found = {}
    for name, statistic in STATISTICS.items():
        low, high = np.percentile([statistic(one) for one in resampled], [2.5, 97.5])
        found[name] = f"{statistic(table):.3f} ({low:.3f} to {high:.3f})"
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path, help="folder of a trained inpainter")
    parser.add_argument(
        "--side", type=int, required=True, help="of the phantoms: that of its training images"
    )
    parser.add_argument("--subjects", type=int, default=200, help="phantoms, two nodules each")
    parser.add_argument("--seed", type=int, default=11, help="of the phantoms")
    parser.add_argument("--places", type=int, default=16, help="healthy places, as `healthy_places`")
    parser.add_argument("--context", type=float, default=0.35, help="as `context`")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, help="Markdown file; the terminal by default")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    model = load_generator(options.model)
    if not isinstance(model, Inpainter):
        parser.error(f"{options.model} is a {model.arch}, which fills no holes")
    tables = {
        name: recovered(
            model.fill,
            model.size,
            model.box_side,
            side=options.side,
            subjects=options.subjects,
            context=options.context,
            places=places,
            seed=options.seed,
        )
        for name, places in (("bias learnt", options.places), ("bias left", 0))
    }
    columns = {name: with_intervals(table) for name, table in tables.items()}
    learnt = tables["bias learnt"]
    lines = [
        f"# Mass of extracted nodules, {date.today()}",
        "",
        f"`benchmarks/lesion_mass.py {options.model} --side {options.side} --subjects {options.subjects} "
        f"--seed {options.seed} --places {options.places} --context {options.context}`: {len(learnt)} "
        f"nodules; {model.arch}. Ratios are extracted over true mass; 95 % intervals by bootstrap over "
        "phantoms.",
        "",
        "| | " + " | ".join(columns) + " |",
        "| --- |" + " --- |" * len(columns),
        *(f"| {name} | " + " | ".join(own[name] for own in columns.values()) + " |" for name in STATISTICS),
        "",
        f"Healthy places used: median {learnt['places'].median():.0f}, fewest {learnt['places'].min():.0f}. "
        f"Trust: median {learnt['trust'].median():.2f}; offset: median {learnt['offset'].median():.2f} "
        "stored units.",
    ]
    text = "\n".join(lines) + "\n"
    print(text)
    if options.out:
        options.out.write_text(text)


if __name__ == "__main__":
    main()
