"""What the report says of feature spaces: the table, the forest plot, maps, and single features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from mirage.config.evaluations import FidelityEvaluation
from mirage.evaluate.fidelity.single_features import LEVEL
from mirage.files import read_json
from mirage.report import feature_figures
from mirage.report.book import Book, Cell, Exhibit
from mirage.report.chapters.base import Chapter, count, listing, words
from mirage.report.numbers import DASH, estimate, number, range_of, setting, significant
from mirage.report.summary import row_key

TITLES = {
    "frechet": "Fréchet distance",
    "frechet_pca": "Fréchet distance, principal components",
    "frechet_infinity": "Fréchet distance, at infinitely many images",
    "frd": "Fréchet radiomics distance (logarithm)",
    "frd_pca": "Fréchet radiomics distance (logarithm), principal components",
    "medigan_fid_ratio_pca": "medigan's FID ratio, principal components",
    "medigan_fid_ratio": "medigan's FID ratio (real-real over real-synthetic)",
    "kid": "kernel distance (KID)",
    "sliced_wasserstein": "sliced Wasserstein distance",
    "feature_wasserstein1": "mean Wasserstein-1 distance of single features (SD)",
    "c2st": "classifier two-sample test (AUC)",
    "precision": "precision",
    "density": "density",
    "recall": "recall",
    "coverage": "coverage",
    "vendi": "Vendi score (effective number of images)",
    "ms_ssim": "likeness of pairs (MS-SSIM)",
}
"""Measures of sets of images, in the order of the table."""
FARTHER_IS_WORSE = (
    "frechet",
    "frechet_pca",
    "kid",
    "sliced_wasserstein",
    "feature_wasserstein1",
    "ms_ssim",
)
LESS_IS_WORSE = ("precision", "density", "recall", "coverage", "vendi")
READING = (
    "Distances (Fréchet, kernel, sliced Wasserstein): how far the cloud of synthetic images lies from that "
    "of real ones. A ratio of 1 is as near as other real images come; larger is worse.",
    "Precision and density: how many synthetic images look like some real one. Recall and coverage: how much "
    "of the variety of real images the synthetic ones reach. Ratios below 1 are worse.",
    "Vendi score: how many really different images the set amounts to. Likeness of pairs: how alike two "
    "images of a set are on average; a ratio above 1 means that synthetic images repeat themselves.",
    "Classifier: how often a simple program tells synthetic from new real images; a half is a coin toss, "
    "1 always. Beside it the same of training images, and the difference.",
)
"""How a clinician may read the table."""
MAPS = {"pca": "principal components", "tsne": "t-SNE", "umap": "UMAP"}
SHOWN_FEATURES = 12


def feature_exhibits(
    chapter: Chapter, name: str, config: FidelityEvaluation, folder: Path, own: pd.DataFrame, book: Book
) -> None:
    """Add all that is shown of the feature spaces of one evaluation.

    Args:
        chapter: gets it.
        name, config: of the evaluation.
        folder: its results.
        own: its rows of the summary.
        book: gets the exhibits.
    """
    facts = read_json(folder / "details/fidelity.json")
    rows = own[own["metric"].isin(TITLES)]
    if len(rows):
        chapter.show(_table(name, config, rows, facts, book))
        plot = _forest(name, config, rows, book)
        if plot is not None:
            chapter.show(plot)
    _protocol(chapter, facts)
    places = pd.read_parquet(folder / "details/embeddings.parquet")
    if len(places):
        chapter.show(_maps(name, config, places, own, facts, book))
    tests = pd.read_parquet(folder / "details/single_features.parquet")
    for encoder, part in tests.groupby("encoder", sort=False):
        chapter.show(_single_features(f"{name}/{encoder}", config, part, book))


def _table(
    name: str, config: FidelityEvaluation, rows: pd.DataFrame, facts: Mapping[str, Any], book: Book
) -> Exhibit:
    found = {(row.metric, row.label, row.arm, row.kind): row for row in rows.itertuples()}
    order = {metric: place for place, metric in enumerate(TITLES)}
    keys = sorted(
        dict.fromkeys(zip(rows["metric"], rows["label"], strict=True)), key=lambda key: order[key[0]]
    )
    table, last = [], ""
    for metric, label in keys:
        synthetic = found[metric, label, "synthetic", "absolute"]
        reference = found.get((metric, label, "reference", "absolute"))
        beside = found.get((metric, label, "synthetic", "difference" if metric == "c2st" else "ratio"))
        equal = 0 if metric == "c2st" else 1
        table.append(
            [
                Cell(TITLES[metric] if metric != last else ""),
                Cell(words(label) if isinstance(label, str) else "pixels"),
                *(_cell(row) for row in (synthetic, reference)),
                _cell(beside, strong=beside is not None and (beside.low > equal or beside.high < equal)),
                Cell(str(int(synthetic.n_items)), number=True),
            ]
        )
        last = metric
    halves = "halves" in set(rows["protocol"])
    against = (
        "one random half of the real patients against the other, for nothing is held out"
        if halves
        else "held-out real images against the training images"
    )
    caption = (
        f"Synthetic images of {words(config.synthetic)} against real training images of "
        f"{words(config.real)}, beside other real images at equal numbers (n, a side): {against}. Ratio: "
        "synthetic over real, bold where its interval excludes 1; the ratio of the kernel distance is that "
        "of its biased form, for the unbiased one is about 0 between real images. The classifier tells "
        "synthetic (real: training) images from held-out ones and stands with the difference of its two "
        "areas, bold where the interval excludes 0; where nothing is held out there is none. In brackets "
        f"95 % intervals over patients, from half samples. k = {facts['neighbours']} neighbours for "
        f"precision, density, recall and coverage; seed {config.seed}."
    )
    head = ["measure", "features", "synthetic", "real", "ratio or difference", "n"]
    return book.table(f"features/{name}", head, table, caption=caption, data=rows)


def _cell(row: Any, strong: bool = False) -> Cell:
    if row is None:
        return Cell(DASH, number=True)
    note = "" if pd.isna(row.low) else range_of(row.low, row.high)
    return Cell(significant(row.estimate), True, strong, row_key(row), note)


def _forest(name: str, config: FidelityEvaluation, rows: pd.DataFrame, book: Book) -> Exhibit | None:
    ratios = rows[(rows["kind"] == "ratio") & (rows["estimate"] > 0)]
    drawn = ratios.assign(
        name=ratios["metric"].map(lambda metric: TITLES[metric].split(" (")[0].split(",")[0]),
        encoder=ratios["label"].fillna("pixels").astype(str),
        order=ratios["metric"].map({metric: place for place, metric in enumerate(TITLES)}),
    ).sort_values("order", kind="stable")
    panels = {
        title: part
        for title, metrics in (
            ("distances and likeness: right of 1 is worse", FARTHER_IS_WORSE),
            ("shares and variety: left of 1 is worse", LESS_IS_WORSE),
        )
        if len(part := drawn[drawn["metric"].isin(metrics)])
    }
    if not panels:
        return None
    encoders = list(drawn["encoder"].unique())
    columns = ["metric", "encoder", "estimate", "low", "high", "protocol", "n_items", "n_subjects"]
    caption = (
        f"Ratios of {words(config.synthetic)} to other real images, with 95 % intervals, by feature space "
        f"({listing([words(one) for one in encoders])}). 1 is as good as real; a filled mark has an interval "
        f"that excludes 1. n = {int(drawn['n_items'].min())} images a side or more."
    )
    alt = "Forest plot of " + "; ".join(
        f"{row.name} in {row.encoder}: {significant(row.estimate)}" for row in drawn.itertuples()
    )
    return book.chart(
        f"ratios/{name}", feature_figures.ratios(panels, encoders), drawn[columns], caption=caption, alt=alt
    )


def _protocol(chapter: Chapter, facts: Mapping[str, Any]) -> None:
    """How features were made and sets compared, and what could not be measured."""
    encoders: Mapping[str, Mapping[str, Any]] = facts["encoders"]
    if encoders:
        told = [(words(encoder), _encoder_words(own)) for encoder, own in encoders.items()]
        chapter.fold("How the features were made", told)
    missing: dict[str, dict[str, list[str]]] = {}
    for space, absent in [
        ("", facts.get("absent", {})),
        *((encoder, own["absent"]) for encoder, own in encoders.items()),
    ]:
        for metric, why in absent.items():
            missing.setdefault(why, {}).setdefault(metric, []).append(words(space))
    if missing:
        items = [
            (why, "; ".join(_in_spaces(*one) for one in metrics.items())) for why, metrics in missing.items()
        ]
        chapter.fold("What could not be measured, and why", items)


def _in_spaces(metric: str, spaces: Sequence[str]) -> str:
    """A measure, and the feature spaces in which it is missing where it is one of features."""
    ratio, name = metric.startswith("ratio of "), metric.removeprefix("ratio of ")
    named = f"{'ratio of ' if ratio else ''}{TITLES.get(name, words(name))}"
    return named if spaces == [""] else f"{named}: {', '.join(spaces)}"


def _encoder_words(own: Mapping[str, Any]) -> str:
    protocol = own.get("protocol") or {}
    size = " x ".join(map(str, protocol.get("size", ())))
    parts = [
        f"encoder {own['encoder']}, {count(own['features'], 'feature')}",
        *([f"images at {size} pixels ({protocol.get('resize')})"] if size else []),
        *(f"{key}: {protocol[key]}" for key in ("range", "region", "scaling") if protocol.get(key)),
        f"weights SHA-256 {str(own.get('weights_sha256'))[:16]}",
        f"fitted on {(own.get('fitted_on') or {}).get('items', 0)} real training images",
    ]
    if "frechet_dimensions" in own:
        dimensions = count(own["frechet_dimensions"], "dimension")
        parts.append(f"Fréchet distance in {dimensions}, n = {own['n']} a side")
    return "; ".join(parts) + "."


def _maps(
    name: str,
    config: FidelityEvaluation,
    places: pd.DataFrame,
    own: pd.DataFrame,
    facts: Mapping[str, Any],
    book: Book,
) -> Exhibit:
    encoders = [str(encoder) for encoder in places["encoder"].unique()]
    maps = {encoder: facts["encoders"][encoder]["maps"] for encoder in encoders}
    drawn = [method for method in MAPS if any(method in maps[encoder] for encoder in encoders)]
    counts = places[places["method"] == drawn[0]].groupby("encoder")["side"].value_counts()
    shown = counts.groupby("side").max()
    looks = feature_figures.group_looks(places["side"])
    numbers = ", ".join(f"{told_as}: {shown[side]}" for side, (told_as, _) in looks.items())
    context = [words(group) for group in config.maps.context if group in looks]
    beside = (
        f" Hollow: {listing(context)}, real images of another kind that enter no measure." if context else ""
    )
    caption = (
        f"Images of {words(config.real)} and {words(config.synthetic)} as points, the same ones on all "
        "maps of a row: the nearer two points, the more alike the images. "
        f"{' '.join(_method(method, maps) for method in drawn)} Look for synthetic points where no real "
        f"ones are, and the other way round, but distances between groups and the size of a cloud on t-SNE "
        "and UMAP are no evidence: that is the area under the curve of a classifier, cross-validated by "
        "patient, that tells synthetic from held-out real images (a half: it cannot)."
        f"{beside} {'. '.join(_judged(encoder, maps[encoder], own, facts) for encoder in encoders)}. Images "
        f"drawn ({numbers}) are at most {config.maps.items} of a group, of as many patients as there are; "
        f"seed {config.seed}."
    )
    alt = f"Maps of images ({numbers}) in {listing([words(encoder) for encoder in encoders])}"
    notes = {
        (encoder, method): f"trustworthiness {number(maps[encoder][method]['trustworthiness'], 2)}"
        for encoder in encoders
        for method in maps[encoder]
    }
    return book.chart(
        f"maps/{name}", feature_figures.maps(places, MAPS, notes), places, caption=caption, alt=alt
    )


def _method(method: str, maps: Mapping[str, Any]) -> str:
    """What a map is, with its parameters."""
    used = next(found[method] for found in maps.values() if method in found)
    if method == "pca":
        return "Principal components: the two directions along which real training images differ most."
    if method == "tsne":
        return f"t-SNE keeps neighbours together (perplexity {setting(used['perplexity'], 3)})."
    return (
        f"UMAP does so too, by another rule ({used['neighbours']} neighbours, least distance "
        f"{setting(used['min_dist'])})."
    )


def _judged(encoder: str, maps: Mapping[str, Any], own: pd.DataFrame, facts: Mapping[str, Any]) -> str:
    """How far the maps of an encoder may be trusted, and whether its features tell synthetic images."""
    kept = ", ".join(f"{MAPS[key]} {number(maps[key]['trustworthiness'], 2)}" for key in MAPS if key in maps)
    areas = own[(own["metric"] == "c2st") & (own["label"] == encoder) & (own["kind"] == "absolute")]
    found = {row.arm: estimate(row.estimate, row.low, row.high, 2) for row in areas.itertuples()}
    if found:
        judged = f"area {found['synthetic']}, of training from held-out images {found['reference']}"
    else:
        absent = facts["encoders"][encoder]["absent"]
        judged = f"no area, for {absent.get('c2st', absent.get('all', 'it was not measured'))}"
    features = count(facts["encoders"][encoder]["features"], "feature")
    return f"{words(encoder)}, {features}: trustworthiness {kept}; {judged}"


def _single_features(id: str, config: FidelityEvaluation, tests: pd.DataFrame, book: Book) -> Exhibit:
    differ, real = int((tests["q"] < LEVEL).sum()), int((tests["real_q"] < LEVEL).sum())
    rows = [
        [
            Cell(words(row.feature)),
            *(
                Cell(significant(value), number=True)
                for value in (row.shift, row.wasserstein1, row.ks, row.q, row.real_wasserstein1, row.real_q)
            ),
        ]
        for row in tests.head(SHOWN_FEATURES).itertuples()
    ]
    caption = (
        f"Radiomic features of {words(config.synthetic)} that differ most from real training images of "
        f"{words(config.real)}: of {len(tests)} features {differ} differ (Kolmogorov-Smirnov, q below "
        f"{number(LEVEL, 2)} after Benjamini and Hochberg), and {real} do between other real images and "
        "the training images. Shift of the median and Wasserstein-1 distance in standard deviations of the "
        f"training images; one image a patient, n = {int(tests['n'].iat[0])} synthetic, "
        f"{int(tests['n_training'].iat[0])} training and {int(tests['real_n'].iat[0])} other real. The CSV "
        "has all features."
    )
    head = ["feature", "shift", "distance", "KS", "q", "distance of real", "q of real"]
    return book.table(f"single_features/{id}", head, rows, caption=caption, data=tests)
