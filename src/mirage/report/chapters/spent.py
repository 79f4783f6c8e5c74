"""What a study took: time, processors, memory, and with the prices of the configuration energy and money."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import pandas as pd

from mirage.amounts import duration, emissions, energy
from mirage.benchmarks import read_measurements
from mirage.config.cost import Cost
from mirage.report.book import Book, Cell, Exhibit
from mirage.report.chapters.base import count, listing, words
from mirage.report.numbers import DASH

COLUMNS = ["rule", "entry", "job", "seconds", "cpu_seconds", "max_rss_mb", "threads", "gpus"]


def measured(paths: Sequence[Path]) -> pd.DataFrame:
    """One row a run of a job, with the attributes of a measurement and its reserved hours."""
    runs = [run for path in paths for run in read_measurements(path)]
    table = pd.DataFrame([asdict(run) for run in runs], columns=COLUMNS)
    hours = {"core_hours": [run.core_hours for run in runs], "gpu_hours": [run.gpu_hours for run in runs]}
    return table.assign(**hours)


def spent(paths: Sequence[Path], cost: Cost, book: Book) -> Exhibit:
    """The table of what the stages took, and all together."""
    data = measured(paths)
    groups = [(words(str(rule)), jobs) for rule, jobs in data.groupby("rule", sort=False)]
    groups.append(("all stages", data))
    columns = _columns(cost)
    rows = [
        [Cell(name), *(Cell(text(jobs), number=True) for text in columns.values())] for name, jobs in groups
    ]
    return book.table("time", ["stage", *columns], rows, caption=_caption(data, cost), data=data)


def _columns(cost: Cost) -> dict[str, Callable[[pd.DataFrame], str]]:
    """Head of each column -> what it says of some jobs."""
    columns: dict[str, Callable[[pd.DataFrame], str]] = {
        "jobs": lambda jobs: str(len(jobs)),
        "total time": lambda jobs: duration(jobs["seconds"].sum()),
        "longest job": lambda jobs: duration(jobs["seconds"].max()),
        "CPU time": lambda jobs: _or_dash(jobs["cpu_seconds"].sum(min_count=1), duration),
        "peak memory": lambda jobs: _or_dash(jobs["max_rss_mb"].max(), lambda value: f"{value:.0f} MB"),
        "GPU time": lambda jobs: _or_dash(3600 * _all(jobs["gpu_hours"]), duration),
    }
    if cost.watts_per_core is not None or cost.watts_per_gpu is not None:
        columns["energy"] = lambda jobs: _or_dash(_energy(jobs, cost), energy)
        if cost.grams_co2_per_kwh is not None:
            columns["emissions"] = lambda jobs: _or_dash(cost.kilograms_co2(_energy(jobs, cost)), emissions)
    if cost.price_per_core_hour is not None or cost.price_per_gpu_hour is not None:
        columns["price"] = lambda jobs: _or_dash(
            cost.money(_all(jobs["core_hours"]), _all(jobs["gpu_hours"])),
            lambda price: f"{price:.2f} {cost.currency}" if price >= 0.005 else f"< 0.01 {cost.currency}",
        )
    return columns


def _energy(jobs: pd.DataFrame, cost: Cost) -> float | None:
    """Energy of busy cores and held GPUs, kWh."""
    return cost.kilowatt_hours(jobs["cpu_seconds"].sum() / 3600, _all(jobs["gpu_hours"]))


def _all(values: pd.Series) -> float:
    """The sum; NaN when one value is not known."""
    return float(values.sum(skipna=False))


def _or_dash(value: float | None, text: Callable[[float], str]) -> str:
    return DASH if value is None or pd.isna(value) else text(value)


def _caption(data: pd.DataFrame, cost: Cost) -> str:
    caption = (
        f"What the stages took, as Snakemake measured it, {count(len(data), 'job')}. Total time is over "
        "jobs, which may have run side by side. CPU time and memory are sampled, and unknown of jobs too "
        "short for that. GPU time is the time for which jobs held GPUs, busy or not. Of a job that was run "
        "again, such as a training that stopped at its time limit and went on, only the last run is counted."
    )
    plain = int(data["threads"].isna().sum())
    if plain:
        caption += (
            f" Of {count(plain, 'job')} the threads and GPUs are unknown, because Snakemake ran without "
            "--benchmark-extended; so are the sums they belong to."
        )
    rates = [
        (cost.watts_per_core, "W a busy core"),
        (cost.watts_per_gpu, "W a held GPU"),
        (cost.grams_co2_per_kwh, "g of CO\u2082 equivalent a kWh"),
        (cost.price_per_core_hour, f"{cost.currency} a reserved core-hour"),
        (cost.price_per_gpu_hour, f"{cost.currency} a reserved GPU-hour"),
    ]
    given = [f"{rate:g} {what}" for rate, what in rates if rate is not None]
    if given:
        caption += f" Reckoned with {listing(given)}, as configured under `cost`."
    return caption
