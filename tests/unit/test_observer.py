"""Observer studies: pages that give nothing away, keys, answers as people send them, and what is said."""

from __future__ import annotations

import base64
import json
import re
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from pydantic import ValidationError
from typer.testing import CliRunner

from mirage.cli import app
from mirage.config.evaluations import ObserverEvaluation
from mirage.config.model import Config
from mirage.config.observer import ReaderPage
from mirage.data import Dataset
from mirage.errors import DataError
from mirage.evaluate import observer, run_set
from mirage.evaluate.features.bank import FeatureBank
from mirage.evaluate.observer.analysis import analyse
from mirage.evaluate.observer.answers import read_answers
from mirage.evaluate.observer.audit import audit
from mirage.evaluate.observer.cases import Picture, offers_in, offers_of
from mirage.evaluate.observer.key import Key, read_key
from mirage.evaluate.observer.page import Made, make_study, pack, steps_of
from mirage.evaluate.observer.pictures import make_alike
from mirage.report import Finished
from mirage.report.book import Book
from mirage.report.evaluators.observer_chapter import observer_chapter

EIGHT, SIXTEEN = (0.0, 255.0), (0.0, 65535.0)


def texture(rng: np.random.Generator, side: int = 32, top: int = 255) -> np.ndarray:
    """Smooth noise that uses most grey levels."""
    coarse = rng.random((side // 4 + 1, side // 4 + 1))
    grown = np.kron(coarse, np.ones((4, 4)))[:side, :side] * 0.8 + rng.random((side, side)) * 0.15
    return np.rint(np.clip(grown, 0.02, 0.98) * top)


def folders(folder: Path, count: int = 14, real: type = np.uint8, made: type = np.uint8) -> tuple[Path, Path]:
    """Two folders of PNG files of one distribution, of different types if so asked, with telling names."""
    rng = np.random.default_rng(0)
    for name, kind in (("real_patients", real), ("gan_output", made)):
        (folder / name).mkdir()
        for index in range(count):
            values = texture(rng, top=np.iinfo(kind).max).astype(kind)
            Image.fromarray(values).save(folder / name / f"{name}_{index:02d}.png")
    return folder / "real_patients", folder / "gan_output"


def study(folder: Path, paths: tuple[Path, Path], **options: object) -> tuple[str, pd.DataFrame, Made]:
    """Text of the page, key and facts of a study of two folders."""
    page = ReaderPage.model_validate({"n": 10, **options})
    out, key = folder / "page.html", folder / "key.csv"
    made = make_study(offers_in(paths[0]), offers_in(paths[1]), page, out, key)
    return out.read_text(encoding="utf-8"), pd.read_csv(key, dtype=str, keep_default_na=False), made


def embedded(text: str) -> tuple[dict, np.ndarray]:
    """Data and images (N, C, H, W) of a page, unpacked as its script does."""
    data = json.loads(re.search(r'<script type="application/json"[^>]*>(.*?)</script>', text, re.S)[1])
    packed = re.search(r'<script type="text/plain"[^>]*>(.*?)</script>', text, re.S)[1]
    content = np.frombuffer(zlib.decompress(base64.b64decode(packed)), np.uint8)
    planes = 2 if data["bits"] > 8 else 1
    shape = (-1, planes, data["channels"], data["height"], data["width"])
    steps = content.reshape(shape).astype(np.uint16)
    joint = steps[:, 0] + (steps[:, 1] << 8 if planes == 2 else 0)
    values = np.cumsum(joint, axis=-1, dtype=np.uint16 if planes == 2 else np.uint8)
    return data, values


def test_the_page_holds_the_images_and_not_the_truth(tmp_path: Path) -> None:
    """No name, folder, item or truth; every image has the same number of bytes; nothing is loaded."""
    text, key, made = study(tmp_path, folders(tmp_path), own_order=False, practice=1)
    data, images = embedded(text)
    assert len(images) == 22
    assert made.cases == len(data["cases"]) == 20
    for word in ("real_patients", "gan_output", str(tmp_path), *key["item_id"]):
        assert word not in text
    truths = dict(zip(key["case"], key["truth"], strict=True))
    told = [one["case"] for one in data["practice"]]
    assert all(truths[one["case"]] == one["truth"] for one in data["practice"])
    assert not set(told) & set(data["cases"])
    bare = re.sub(r'"practice": \[[^]]*\]', "", json.dumps(data))
    assert "synthetic" not in bare
    assert "real" not in bare
    outside = re.findall(
        r"""(?:src|href)=["'](?!#|data:)|https?://|@import|\bfetch\(|XMLHttp|<link(?! rel="icon")""", text
    )
    assert outside == []
    assert "default-src 'none'" in text


def test_the_images_are_those_of_the_key(tmp_path: Path) -> None:
    """Pixel for pixel, at the place that the case has."""
    paths = folders(tmp_path)
    text, key, _ = study(tmp_path, paths, practice=1)
    data, images = embedded(text)
    cases = [one["case"] for one in data["practice"]] + data["cases"]
    known = key.set_index("case")
    for case, shown in zip(cases, images, strict=True):
        folder = {"real": paths[0], "synthetic": paths[1]}[known["truth"][case]]
        stored = np.asarray(Image.open(folder / f"{known['item_id'][case]}.png"))
        assert (shown[0] == stored).all()
    assert (key["phase"] == "practice").sum() == 2


def test_nothing_of_order_or_ids_tells_the_truth(tmp_path: Path) -> None:
    """Truths are mixed in the page and in the key, and ids do not sort by them."""
    text, key, _ = study(tmp_path, folders(tmp_path, 40), n=40)
    data, _ = embedded(text)
    truth = key.set_index("case")["truth"] == "synthetic"
    assert all(re.fullmatch("c[0-9a-f]{8}", case) for case in key["case"]), "no number to a spreadsheet"
    for order in (data["cases"], sorted(data["cases"]), list(key["case"])):
        runs = np.abs(np.diff(truth[order].astype(int))).sum()
        assert 25 <= runs <= 55, "80 cases, 40 changes expected"
        assert 0.3 < np.mean(np.flatnonzero(truth[order]) / 79) < 0.7


def test_the_seed_alone_does_not_give_the_order_away(tmp_path: Path) -> None:
    """The same images give the same study; one other image mixes all anew, and so do swapped kinds."""
    paths = folders(tmp_path)
    text, key, made = study(tmp_path, paths)
    again, _, _ = study(tmp_path, paths)
    assert again == text
    _, swapped_key, other = study(tmp_path, (paths[1], paths[0]))
    assert other.study != made.study
    assert not set(swapped_key["case"]) & set(key["case"])
    words, words_key, reworded = study(tmp_path, paths, title="Other words", comments=True)
    assert reworded.study == made.study, "mended words leave answers valid"
    assert words != text
    assert words_key.equals(key)


def test_types_and_sizes_are_made_alike(tmp_path: Path) -> None:
    """16-bit scans beside an 8-bit generator: all have 256 levels, and no kind has gaps."""
    text, key, made = study(tmp_path, folders(tmp_path, real=np.uint16))
    data, images = embedded(text)
    assert data["bits"] == 8
    assert any("Grey levels differed (real 16; synthetic 8 bits)" in one for one in made.remarks)
    truth = key.set_index("case")["truth"][data["cases"]].to_numpy()
    levels = {
        kind: np.bincount(images[truth == kind].ravel(), minlength=256) for kind in ("real", "synthetic")
    }
    inner = slice(20, 200)
    assert (levels["real"][inner] > 0).mean() == (levels["synthetic"][inner] > 0).mean() == 1
    even = [levels[kind][0::2].sum() / levels[kind].sum() for kind in levels]
    assert even == pytest.approx([0.5, 0.5], abs=0.03)


def test_sixteen_bits_are_kept_where_both_kinds_have_them(tmp_path: Path) -> None:
    """And the first window leaves out the outermost values of all images, not of each."""
    text, key, _ = study(tmp_path, folders(tmp_path, real=np.uint16, made=np.uint16))
    data, images = embedded(text)
    assert data["bits"] == 16
    assert data["window"] == [int(np.quantile(images, 0.005)), int(np.ceil(np.quantile(images, 0.995)))]
    stored = {item: np.asarray(Image.open(next(tmp_path.glob(f"*/{item}.png")))) for item in key["item_id"]}
    place = data["cases"].index(key["case"][0])
    assert (images[place, 0] == stored[key["item_id"][0]]).all()


def alike(real: list[np.ndarray], made: list[np.ndarray], limits: tuple = (EIGHT, EIGHT), **options: object):
    """``make_alike`` of arrays (C, H, W)."""
    kinds = [
        [Picture(image, limit) for image in own] for own, limit in zip((real, made), limits, strict=True)
    ]
    return make_alike(kinds[0], kinds[1], ReaderPage.model_validate(options), np.random.default_rng(0))


def test_values_on_a_level_stay_and_others_are_rounded_in_proportion() -> None:
    """8 bits stored in 16 come back exactly; a flat value between two levels becomes both of them."""
    rng = np.random.default_rng(0)
    small = texture(rng)[None].astype(np.uint8)
    stack = alike([small.astype(np.uint16) * 257], [small], (SIXTEEN, EIGHT))
    assert stack.bits == 8
    assert (stack.pixels[0] == stack.pixels[1]).all()
    assert (stack.pixels[0] == small).all()
    flat = np.full((1, 32, 32), round(65535 * 100.25 / 255), np.uint16)
    flat[0, :8] = texture(rng, 32, 65535)[:8]
    stack = alike([flat], [small], (SIXTEEN, EIGHT))
    values, counts = np.unique(stack.pixels[0, 0, 8:], return_counts=True)
    assert values.tolist() == [100, 101]
    assert counts[1] / counts.sum() == pytest.approx(0.25, abs=0.06)


def test_twelve_bits_colours_sizes_borders_and_floats() -> None:
    """What differs is levelled and said; what cannot be is said."""
    rng = np.random.default_rng(1)
    twelve = np.rint(texture(rng, 32, 4095) * 65535 / 4095)[None].astype(np.uint16)
    sixteen = texture(rng, 32, 65535)[None].astype(np.uint16)
    assert alike([twelve], [sixteen], (SIXTEEN, SIXTEEN)).bits == 12
    grey, colour = texture(rng)[None].astype(np.uint8), rng.integers(0, 255, (3, 32, 32)).astype(np.uint8)
    stack = alike([grey], [colour])
    assert stack.pixels.shape == (2, 1, 32, 32)
    assert "Colours were in 0 of 1 real and 1 of 1 synthetic images; all are grey now." in stack.remarks
    stack = alike([colour], [colour])
    assert (stack.pixels.shape, stack.remarks) == ((2, 3, 32, 32), ())
    for stack in (alike([grey], [colour], channels="rgb"), alike([grey, colour], [colour, colour])):
        assert stack.pixels.shape[1:] == (3, 32, 32)
        assert any("are shown, so they tell the kinds apart" in one for one in stack.remarks)
    large = texture(rng, 64)[None].astype(np.uint8)
    stack = alike([large], [grey])
    assert stack.pixels.shape == (2, 1, 32, 32)
    assert any("different sizes" in one for one in stack.remarks)
    wide = np.repeat(grey, 2, axis=2)
    assert alike([wide], [wide]).pixels.shape == (2, 1, 32, 64)
    assert alike([wide], [grey]).pixels.shape == (2, 1, 32, 32)
    assert alike([wide], [wide], side=16).pixels.shape == (2, 1, 8, 16)
    assert alike([grey], [grey], crop=3).pixels.shape == (2, 1, 26, 26)
    with pytest.raises(DataError, match="crop: 16 leaves nothing"):
        alike([grey], [grey], crop=16)
    floats = [rng.normal(0, 1, (1, 32, 32)).astype(np.float32) for _ in range(2)]
    stack = alike([floats[0]], [floats[1]], (None, None))
    assert (stack.pixels.min(), stack.pixels.max()) == (0, 65535), "one window for both kinds"
    narrow = alike([floats[0]], [floats[1]], (None, None), window=(-0.5, 0.5))
    assert (narrow.pixels == 0).mean() > 0.2


def test_the_audit_sees_what_handling_leaves_behind() -> None:
    """A border of one kind, clipped values or combed levels raise the alarm; two halves do not."""
    rng = np.random.default_rng(2)
    images = np.stack([texture(rng)[None] for _ in range(60)]).astype(np.uint8)
    synthetic = np.arange(60) >= 30
    assert audit(images, synthetic, 8).warning == ""
    bordered = images.copy()
    bordered[synthetic, :, 0] = bordered[synthetic, :, -1] = 0
    bordered[synthetic, :, :, 0] = bordered[synthetic, :, :, -1] = 0
    found = audit(bordered, synthetic, 8)
    assert found.low > 0.5
    assert "pixels of one value along the edge (area 1.00)" in found.warning
    combed = np.where(synthetic[:, None, None, None], images & 254, images).astype(np.uint8)
    assert "share of pixels on odd grey levels" in audit(combed, synthetic, 8).warning
    few = audit(bordered[25:35], synthetic[25:35], 8)
    assert few.facts()["auc"] is None
    json.dumps(found.facts(), allow_nan=False)


def test_sixteen_bits_are_packed_so_that_the_page_unpacks_them() -> None:
    """Differences wrap around."""
    pixels = np.random.default_rng(0).integers(0, 65536, (3, 3, 5, 7)).astype(np.uint16)
    data = {"bits": 16, "channels": 3, "height": 5, "width": 7}
    text = f'<script type="application/json">{json.dumps(data)}</script>'
    text += f'<script type="text/plain">{pack(pixels)}</script>'
    assert (embedded(text)[1] == pixels).all()


def test_pairs_are_balanced_and_the_key_says_which_is_where(tmp_path: Path) -> None:
    """As many synthetic images on the left as on the right, each image once."""
    paths = folders(tmp_path)
    text, key, made = study(tmp_path, paths, mode="2afc")
    data, images = embedded(text)
    assert made.cases == len(key) == 10
    assert (key["truth"] == "left").sum() == 5
    assert key["item_id"].is_unique
    assert key["other_item_id"].is_unique
    known = key.set_index("case")
    for place, case in enumerate(data["cases"]):
        row, pair = known.loc[case], images[2 * place : 2 * place + 2]
        synthetic, real = pair if row["truth"] == "left" else pair[::-1]
        assert (synthetic[0] == np.asarray(Image.open(paths[1] / f"{row['item_id']}.png"))).all()
        assert (real[0] == np.asarray(Image.open(paths[0] / f"{row['other_item_id']}.png"))).all()


def test_images_come_from_different_patients_and_not_twice(
    tmp_path: Path, toy_dataset: Callable[..., Dataset]
) -> None:
    """A second image of a patient only when all have one; attributes choose; repeats are left out."""
    paths = folders(tmp_path, 12)
    for index in range(12):
        image = paths[0] / f"real_patients_{index:02d}.png"
        image.rename(paths[0] / f"p{index // 3}_{index}.png")
    offers = offers_in(paths[0], r"(p\d+)_")
    page = ReaderPage(n=4)
    make_study(offers, offers_in(paths[1]), page, tmp_path / "a.html", tmp_path / "a.csv")
    key = pd.read_csv(tmp_path / "a.csv")
    assert key[key["truth"] == "real"]["subject_id"].nunique() == 4
    for index in range(3):
        (paths[1] / f"copy{index}.png").write_bytes((paths[1] / "gan_output_00.png").read_bytes())
    _, key, _ = study(tmp_path, paths, n=12)
    copies = key["item_id"].str.startswith("copy") | (key["item_id"] == "gan_output_00")
    assert copies.sum() == 1
    few = offers_in(paths[1])
    with pytest.raises(DataError, match=r"13 images are wanted, 12 different ones of 15 are there"):
        make_study(few, offers, ReaderPage(n=13), tmp_path / "b.html", tmp_path / "b.csv")
    toy = toy_dataset("toy", channels=1)
    assert len(offers_of(toy, {"sex": ["F"]})) == (toy.items["sex"] == "F").sum()
    with pytest.raises(DataError, match="no attribute 'vendor'"):
        offers_of(toy, {"vendor": ["A"]})
    with pytest.raises(DataError, match="no item is left"):
        offers_of(toy, {"sex": ["X"]})


def test_options_that_cannot_be_are_refused() -> None:
    """Scales with a middle need a plain answer."""
    for wrong in (
        {"scale": 10},
        {"scale": 5, "plain_answer": False},
        {"window": (2, 1)},
        {"findings": ["a,b"]},
    ):
        with pytest.raises(ValidationError):
            ReaderPage.model_validate(wrong)
    assert not ReaderPage().asks_answer
    assert ReaderPage(scale=5).asks_answer
    assert ReaderPage(scale=2).asks_answer
    assert not ReaderPage(scale=2).asks_rating
    assert steps_of(5) == [
        "surely real",
        "probably real",
        "cannot tell",
        "probably synthetic",
        "surely synthetic",
    ]


def test_volumes_are_refused_before_anything_runs() -> None:
    """Readers see 2D images; the message says which dataset holds volumes."""
    datasets = {
        "brains": {
            "source": {"reader": "brats", "path": "resources/brats"},
            "prepare": {"kind": "volume", "size": [64, 64, 64]},
        },
        "made": {
            "source": {"reader": "folder", "path": "made", "channels": "grey"},
            "prepare": {"size": 32, "fov": "none"},
        },
    }
    entry = {"evaluator": "observer", "real": "brains", "synthetic": "made"}
    study = {"title": "T", "question": "Q", "evaluations": ["seen"]}
    whole = {"run": ["s"], "datasets": datasets, "evaluations": {"seen": entry}, "studies": {"s": study}}
    with pytest.raises(ValidationError, match=r"evaluations\.seen: is for 2D images, 'brains' holds volumes"):
        Config.model_validate(whole)


def published_key(folder: Path) -> Key:
    """75 real and 75 synthetic patches."""
    table = pd.DataFrame({"case": [f"c{index:03d}" for index in range(150)]})
    table["truth"] = np.repeat(["real", "synthetic"], 75)
    table.assign(study="s").to_csv(folder / "key.csv", index=False)
    return read_key(folder / "key.csv")


def by_counts(folder: Path, reader: str, hits: int, rejections: int) -> Path:
    """Plain answers of a reader of the published study."""
    said = ["real"] * rejections + ["synthetic"] * (75 - rejections)
    said += ["synthetic"] * hits + ["real"] * (75 - hits)
    table = pd.DataFrame(
        {"reader": reader, "case": [f"c{index:03d}" for index in range(150)], "answer": said}
    )
    table.to_csv(folder / f"{reader}.csv", index=False)
    return folder / f"{reader}.csv"


def test_the_published_study_put_through_analyse(tmp_path: Path) -> None:
    """72 of 150: p = 0.68, 39.8 to 56.3 %; 91 of 150: p = 0.011, 52.4 to 68.5 %, d' about 0.54."""
    published_key(tmp_path)
    paths = [by_counts(tmp_path, "V", 36, 36), by_counts(tmp_path, "J", 46, 45)]
    arguments = ["observer", "analyse", str(tmp_path / "key.csv"), *map(str, paths)]
    done = CliRunner().invoke(app, [*arguments, "--out", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    readers = pd.read_csv(tmp_path / "out/readers.csv").set_index("reader")
    assert readers["p"].round(3).to_dict() == {"V": 0.683, "J": 0.011}
    ends = (100 * readers[["accuracy_low", "accuracy_high"]]).round(1)
    assert ends.loc["V"].tolist() == [39.8, 56.3]
    assert ends.loc["J"].tolist() == [52.4, 68.5]
    assert readers["d_prime"]["J"] == pytest.approx(0.54, abs=0.01)
    assert readers["word"].to_dict() == {"V": "equivalent", "J": "told_apart"}
    assert "J told the kinds apart: 91 of 150 right (60.7 %, 95 % interval 52.4 to 68.5 %" in done.output
    assert "V did as guessing does, within 10 points: 72 of 150 right" in done.output
    closer = CliRunner().invoke(app, [*arguments, "--out", str(tmp_path / "closer"), "--margin", "0.05"])
    assert "V: inconclusive, neither a difference nor guessing is shown: 72 of 150 right" in closer.output
    page = (tmp_path / "out/result.html").read_text(encoding="utf-8")
    for said in (done.output, page):
        assert "ndistinguishable" not in said
    assert "215, 227" in done.output
    counts = ["hits", "misses", "false_alarms", "correct_rejections"]
    assert readers.loc["J", counts].tolist() == [46, 29, 30, 45]


def test_guessing_is_said_only_where_it_is_shown(tmp_path: Path) -> None:
    """Half right of very many is equivalent to guessing; always the wrong way round is telling apart."""
    key = published_key(tmp_path)
    half = analyse(key, read_answers([by_counts(tmp_path, "half", 38, 37)], key), 0.15)
    assert half.overall == "equivalent"
    assert "did as guessing does, within 15 points" in half.sentences[0]
    assert analyse(key, read_answers([tmp_path / "half.csv"], key), 0.05).overall == "inconclusive"
    wrong = analyse(key, read_answers([by_counts(tmp_path, "wrong", 10, 12)], key), 0.1)
    assert wrong.overall == "told_apart"
    assert "sees a difference, named the wrong way round" in wrong.sentences[0]
    both = analyse(key, read_answers([tmp_path / "half.csv", tmp_path / "wrong.csv"], key), 0.15)
    assert both.overall == "told_apart"
    assert analyse(key, pd.DataFrame(), 0.1).overall == "waiting"


def rated(key: Key, reader: str, shift: float, seed: int, scale: int = 6) -> pd.DataFrame:
    """Ratings of a reader to whom synthetic images look so much more synthetic."""
    rng = np.random.default_rng(seed)
    seen = rng.normal(0, 1, len(key.cases)) + shift * (key.cases["truth"] == "synthetic").to_numpy()
    steps = np.clip(np.rint(seen - shift / 2 + (scale + 1) / 2), 1, scale)
    table = key.cases[["case"]].assign(reader=reader, rating=steps.astype(int))
    return table.assign(answer="", seconds=2.0)


def test_three_readers_have_a_mean_for_readers_like_them(tmp_path: Path) -> None:
    """Every number of the specification is there, in tidy rows, and agrees with the statistics."""
    key = published_key(tmp_path)
    for seed, (name, shift) in enumerate({"a": 1.0, "b": 1.4, "c": 1.2}.items()):
        rated(key, name, shift, seed).to_csv(tmp_path / f"{name}.csv", index=False)
    answers = read_answers([tmp_path / f"{name}.csv" for name in "abc"], key, scale=6)
    result = analyse(key, answers, 0.1)
    rows = pd.DataFrame(result.rows).set_index(["arm", "metric"])
    own = {"accuracy", "d_prime", "criterion", "auc", "kappa", "kappa_max", "pabak", "equivalence_p", "hits"}
    assert own <= {metric for arm, metric in rows.index if arm == "a"}
    assert {"accuracy", "auc", "fleiss_kappa", "equivalence_p"} <= {
        m for arm, m in rows.index if arm == "readers"
    }
    mean = rows.loc[("readers", "auc")]
    assert mean["value"] == pytest.approx(np.mean([rows.loc[(name, "auc")]["value"] for name in "abc"]))
    assert mean["low"] < mean["value"] < mean["high"]
    assert len(result.pairs) == 3
    assert result.overall == "told_apart"
    assert set(result.roc["reader"]) == {"a", "b", "c"}


def write(folder: Path, text: str) -> Path:
    """A file of answers."""
    path = folder / "answers.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_answers_as_spreadsheets_leave_them(tmp_path: Path) -> None:
    """Semicolons, decimal commas, a byte order mark, a middle rating that decides nothing, missing cases."""
    (tmp_path / "key.csv").write_text(
        "study,scale,case,truth\ns,5,1,real\ns,5,2,synthetic\ns,5,3,synthetic\n"
    )
    key = read_key(tmp_path / "key.csv")
    path = write(tmp_path, "\ufeffstudy;reader;case;rating;seconds\ns; Ann ;1;2;3,5\ns;Ann;2;3;1,5\n")
    found = read_answers([path], key)
    assert found["reader"].tolist() == ["Ann", "Ann"]
    assert found["answer"].tolist() == ["real", ""]
    assert found["seconds"].tolist() == [3.5, 1.5]
    result = analyse(key, found, 0.1)
    assert result.readers["right"].tolist() == [1]
    assert any("answered 2 of 3 cases" in one for one in result.remarks)
    assert any("left 1 case in the middle of the scale" in one for one in result.remarks)


@pytest.mark.parametrize(
    "text",
    [
        "Reader;Case;Answer;;\n;;;;\nA; 1 ;Real;;\nA;2;synthetic;;\n;;;;\n",
        "reader,case,answer\nA,1,real,\nA,2,Synthetic,\n",
        "reader\tcase\tanswer\r\n\r\nA\t1\treal\r\nA\t2\tsynthetic\r\n",
    ],
)
def test_empty_rows_and_cells_blanks_and_capitals_do_no_harm(text: str, tmp_path: Path) -> None:
    """In answers and in keys, which spreadsheets pad with separators."""
    (tmp_path / "key.csv").write_text("case,truth\n1,real\n2,synthetic\n")
    path = write(tmp_path, text)
    found = read_answers([path], read_key(tmp_path / "key.csv"))
    assert found[["case", "answer"]].to_numpy().tolist() == [["1", "real"], ["2", "synthetic"]]
    (tmp_path / "other.csv").write_text(re.sub("(?i)answer", "truth", text))
    assert read_key(tmp_path / "other.csv").cases.to_numpy().tolist() == [["1", "real"], ["2", "synthetic"]]


def test_a_table_of_another_encoding_says_how_to_save_it(tmp_path: Path) -> None:
    """As spreadsheets write CSV where nobody asks for UTF-8."""
    (tmp_path / "key.csv").write_text("case,truth\n1,real\n2,synthetic\n")
    path = write(tmp_path, "")
    path.write_bytes("reader;case;answer\nJosé;1;real\n".encode("cp1252"))
    with pytest.raises(DataError, match=r"answers\.csv: is not in UTF-8 .*save it as `CSV UTF-8`"):
        read_answers([path], read_key(tmp_path / "key.csv"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no header"),
        ("reader,case,answer\n", "holds no answers"),
        ("reader,case,case,answer\nA,1,1,real\n", "has two columns 'case'"),
        ("reader,case,answer\nSmith, Ann,1,real\n", "row 2: has 4 values and the header 3; put quotes"),
        ("case,rating\n1,2\n", "expected columns `reader`"),
        ("reader,case,rating\nA,9,2\n", "case '9' is not in the key"),
        ("reader,case,rating\nA,1,7\n", r"rating 7 does not lie in 1 to 5"),
        ("reader,case,rating\nA,1,x\n", "'x' in column 'rating' is no number"),
        ("reader,case,answer\nA,1,fake\n", "answer 'fake' is neither real nor synthetic"),
        ("reader,case,answer\nA,1,\n", "neither an answer nor a rating"),
        ("reader,case,answer\nA,1,real\nA,1,real\n", "has answered case '1' already"),
        ("study,reader,case,answer\nt,A,1,real\n", "answers study t, the key is that of s"),
        ("reader,case,answer\na/b,1,real\n", "no name of a reader"),
        ("reader,case,answer\nreaders,1,real\n", "no name of a reader"),
        ("reader,case,truth,rating\nA,1,synthetic,2\n", "the truth of case '1' is another one in the key"),
    ],
)
def test_answers_that_do_not_fit_are_refused(text: str, message: str, tmp_path: Path) -> None:
    """With the file, what was found and what was expected."""
    (tmp_path / "key.csv").write_text("study,scale,case,truth\ns,5,1,real\ns,5,2,synthetic\n")
    with pytest.raises(DataError, match=message):
        read_answers([write(tmp_path, text)], read_key(tmp_path / "key.csv"))


def test_a_table_with_the_truth_is_key_and_answers_in_one(tmp_path: Path) -> None:
    """`reader, case, truth, rating`, as other reader pages write it; the scale has to be told."""
    lines = [
        f"{r},{c},{'real' if c < 3 else 'synthetic'},{40 * (c > 2) + r * 10}"
        for r in (1, 2)
        for c in range(6)
    ]
    path = write(tmp_path, "reader,case,truth,rating\n" + "\n".join(lines) + "\n")
    key = read_key(path)
    with pytest.raises(DataError, match="does not say on which scale"):
        read_answers([path], key)
    result = analyse(key, read_answers([path], key, scale=100), 0.1)
    assert result.readers["auc"].tolist() == [1.0, 1.0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n", "no column 'case'"),
        ("case,truth\n", "holds no case"),
        ("case,truth\n1,real\n1,synthetic\n", "case '1' stands there twice"),
        ("case,truth\n1,real\n2,fake\n", "expected real and synthetic"),
        ("study,case,truth\na,1,real\nb,2,real\n", "of several studies"),
    ],
)
def test_keys_that_are_none_are_refused(text: str, message: str, tmp_path: Path) -> None:
    """With the file and what was expected."""
    (tmp_path / "key.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        read_key(tmp_path / "key.csv")


def test_pairs_are_analysed_as_forced_choice(tmp_path: Path) -> None:
    """Accuracy, d' and a bias of place, without confusion table or ratings."""
    lines = [f"{index},{'left' if index % 2 else 'right'}" for index in range(40)]
    (tmp_path / "key.csv").write_text("case,truth\n" + "\n".join(lines) + "\n")
    key = read_key(tmp_path / "key.csv")
    said = ["left" if index % 2 or index % 3 else "right" for index in range(40)]
    answers = "\n".join(f"A,{index},{one}" for index, one in enumerate(said))
    found = read_answers([write(tmp_path, f"reader,case,answer\n{answers}\n")], key)
    result = analyse(key, found, 0.1)
    right = sum(one == ("left" if index % 2 else "right") for index, one in enumerate(said))
    assert result.readers["right"].tolist() == [right]
    assert "hits" not in result.readers
    assert any("a bias of place" in one for one in result.remarks)


def test_a_dataset_study_runs_through_the_evaluation(
    tmp_path: Path, toy_dataset: Callable[..., Dataset]
) -> None:
    """Page and key, then tidy tables whose rows trace to items; the key names datasets of the study."""
    real = toy_dataset("real", channels=1, splits={"train": 4, "test": 8})
    made = toy_dataset("made", channels=1, seed=5, splits={"train": 8}, origin="synthetic")
    config = ObserverEvaluation(evaluator="observer", real="real", synthetic="made", n=6, findings=["Disc"])
    data = {"real": real, "made": made}
    out = tmp_path / "out"
    observer.make(config, "seen", data, out)
    files = [out / observer.KEY, out / observer.MADE]
    run_set(config, "seen", data, FeatureBank(), out, files=files)
    facts = json.loads((out / "details/observer.json").read_text())
    assert (facts["word"], facts["readers"]) == ("waiting", 0)
    assert set(pd.read_parquet(out / "metrics.parquet")["metric"]) == {"cases"}
    key = read_key(files[0])
    items = key.cases[key.cases["truth"] == "real"]["item_id"]
    assert set(items) <= set(real.select("test").items["item_id"])
    rng = np.random.default_rng(0)
    table = rated(key, "Ann", 0.5, 0).assign(**{"plausibility: Disc": rng.integers(1, 6, len(key.cases))})
    table.to_csv(tmp_path / "ann.csv", index=False)
    run_set(config, "seen", data, FeatureBank(), out, files=[*files, tmp_path / "ann.csv"])
    rows = pd.read_parquet(out / "metrics.parquet")
    assert set(rows["evaluation"]) == {"seen"}
    assert "Disc" in set(rows[rows["metric"] == "plausibility"]["label"])
    chapter = observer_chapter({"seen": Finished(config, [out])}, data, Book(tmp_path / "report"))
    shown = {block.exhibit.id for block in chapter.blocks if block.exhibit}
    kinds = ("readers", "confusion", "accuracy", "ratings", "plausibility", "misled", "planning")
    assert shown == {f"{kind}/seen" for kind in kinds}
    cases = pd.read_parquet(out / "details/cases.parquet")
    assert set(cases["dataset"]) == {"real", "made"}
    assert cases["plausibility: Disc"].between(1, 5).all()
    train = config.model_copy(update={"split": "train"})
    with pytest.raises(DataError, match="holds synthetic images; name a dataset of real ones"):
        observer.make(train, "seen", {"real": made, "made": made}, tmp_path / "none")
    with pytest.raises(DataError, match="holds no synthetic images"):
        observer.make(config, "seen", {"real": real, "made": real}, tmp_path / "none")
    made.items.loc[made.items.index[:2], "origin"] = "real"
    with pytest.raises(DataError, match="2 of 8 images are not synthetic and would be shown as such"):
        observer.make(config, "seen", data, tmp_path / "none")
    alone = config.model_copy(update={"synthetic_where": {"origin": ["synthetic"]}})
    observer.make(alone, "seen", data, tmp_path / "alone")


def test_the_command_refuses_in_one_line(tmp_path: Path) -> None:
    """Options and folders that cannot be; nothing is written."""
    paths = folders(tmp_path, 4)
    for arguments, message in (
        (["--scale", "11"], "a scale has 2 to 9 steps"),
        (["--n", "9"], "9 images are wanted, 4 different ones"),
        (["--window", "5", "2"], "--window: black must lie below white"),
        (["--finding", "a,b"], "--finding: String should match"),
        (["--n", "2", "--subjects", "("], "subjects: not a regular expression"),
        (["--n", "2", "--subjects", r"patient(\d)"], "finds no subject"),
        (["--n", "2", "--key", str(tmp_path / "page.html")], "cannot be the page and its key"),
    ):
        out = tmp_path / "page.html"
        done = CliRunner().invoke(app, ["observer", "make", *map(str, paths), "--out", str(out), *arguments])
        assert done.exit_code == 1
        assert message in done.output
        assert not out.exists()
    for first, second in ((paths[0], paths[0]), (tmp_path, paths[1])):
        done = CliRunner().invoke(app, ["observer", "make", str(first), str(second), "--out", str(out)])
        assert done.exit_code == 1
        assert "name two that lie side by side" in done.output
    (tmp_path / "page_key.csv").write_text("case,truth\n1,real\n")
    done = CliRunner().invoke(app, ["observer", "make", *map(str, paths), "--out", str(out), "--n", "2"])
    assert done.exit_code == 1
    assert "page_key.csv is there" in done.output
    assert (tmp_path / "page_key.csv").read_text() == "case,truth\n1,real\n", "a key is not overwritten"
