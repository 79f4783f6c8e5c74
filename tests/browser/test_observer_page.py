"""Whole observer studies in a headless Chromium, by keyboard and mouse, from the page to the analysis."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from playwright.sync_api import BrowserContext, Page
from typer.testing import CliRunner

from browser.chromium import chromium
from mirage.cli import app

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]
SIDE = 24
READ_CANVAS = """(place) => {
  const viewer = document.querySelectorAll('.viewer')[place];
  const middle = viewer.getContext('2d').getImageData(viewer.width / 2, viewer.height / 2, 1, 1);
  return [...middle.data];
}"""


@pytest.fixture
def browser(program: str, tmp_path: Path) -> Iterator[BrowserContext]:
    """A browser of the test's own, without a network."""
    with chromium(program, tmp_path / "browser") as context:
        yield context


def make(folder: Path, *options: str, kind: type = np.uint8) -> Path:
    """The page of a study of a few images; every image has one grey value of its own in the middle."""
    rng = np.random.default_rng(0)
    top = np.iinfo(kind).max
    for number, name in enumerate(("real", "made")):
        (folder / name).mkdir()
        for index in range(6):
            values = rng.integers(0, top // 3, (SIDE, SIDE))
            values[8:16, 8:16] = top * (0.4 + 0.05 * (2 * index + number))
            Image.fromarray(values.astype(kind)).save(folder / name / f"{name}{index}.png")
    page = folder / "study.html"
    done = CliRunner().invoke(
        app, ["observer", "make", str(folder / "real"), str(folder / "made"), "--out", str(page), *options]
    )
    assert done.exit_code == 0, done.output
    return page


def watched(browser: BrowserContext, file: Path) -> tuple[Page, list[str]]:
    """The page, opened from the file, and all that goes wrong in it or leaves it."""
    page, troubles = browser.pages[0], list[str]()
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("console", lambda message: troubles.append(message.text) if message.type == "error" else None)
    page.on(
        "request",
        lambda request: (
            None if request.url.startswith(("file:", "data:", "blob:")) else troubles.append(request.url)
        ),
    )
    page.goto(file.as_uri())
    page.wait_for_selector("#welcome:visible")
    return page, troubles


def begin(page: Page, reader: str) -> None:
    """Give a name and start."""
    page.get_by_label("Reader").fill(reader)
    page.keyboard.press("Enter")
    page.wait_for_selector("#case:visible")


def saved(page: Page, folder: Path, button: str = "Save answers") -> pd.DataFrame:
    """The file that a button saves."""
    with page.expect_download() as download:
        page.get_by_role("button", name=button).click()
    path = folder / download.value.suggested_filename
    download.value.save_as(path)
    return pd.read_csv(path, keep_default_na=False)


def analyse(folder: Path, *answers: Path) -> pd.DataFrame:
    """Per-reader table of `mirage observer analyse`."""
    arguments = ["observer", "analyse", str(folder / "study_key.csv"), *map(str, answers)]
    done = CliRunner().invoke(app, [*arguments, "--out", str(folder / "result")])
    assert done.exit_code == 0, done.output
    return pd.read_csv(folder / "result" / "readers.csv")


def test_a_study_by_keyboard_ends_in_an_analysis(browser: BrowserContext, tmp_path: Path) -> None:
    """Practice tells the truth, a reload and a pause lose nothing, and the CSV is what `analyse` reads."""
    file = make(tmp_path, "--n", "4", "--practice", "1", "--comments", "--break-every", "2")
    key = pd.read_csv(tmp_path / "study_key.csv", dtype=str).set_index("case")
    page, troubles = watched(browser, file)
    for name in ("-Ann", "left ", "a, b"):
        page.get_by_label("Reader").fill(name)
        assert page.eval_on_selector("#reader", "field => field.validity.patternMismatch"), (
            "no name for a table"
        )
    begin(page, "Reader Å")
    for number in (1, 2):
        assert page.locator("#phase").inner_text() == f"Practice case {number} of 2"
        page.keyboard.press("6")
        page.keyboard.press("Enter")
        said = page.locator("#feedback").inner_text()
        assert ("Right." in said) == ("is synthetic" in said)
        page.keyboard.press("Enter")
    assert "The study begins now: 8 cases" in page.locator("#interlude").inner_text()
    page.keyboard.press("Enter")

    assert page.locator("#next").is_disabled()
    page.keyboard.press("Enter")
    assert page.locator("#case-title").inner_text() == "Case 1 of 8", "an empty answer is none"
    for number in range(3):
        page.keyboard.press("3")
        page.keyboard.press(str(number + 4))
        assert page.locator("input[name=rating]:checked").input_value() == str(number + 4)
        page.keyboard.press("Enter")
        if number == 1:
            page.wait_for_selector("#interlude:visible")
            assert "2 of 8 cases are done" in page.locator("#interlude").inner_text()
            page.keyboard.press("Enter")
    page.keyboard.press("p")
    page.wait_for_selector("#interlude:visible")
    assert not page.locator("#case").is_visible(), "a pause hides the image"
    assert len(saved(page, tmp_path, "Save a copy")) == 3
    page.reload()
    page.wait_for_selector("#saved:visible")
    assert "has answered 3 of 8 cases" in page.locator("#saved-words").inner_text()
    page.get_by_role("button", name="Go on").click()
    assert page.locator("#case-title").inner_text() == "Case 4 of 8"
    page.get_by_label("Comment").fill('a "halo", odd\n=1+1')
    page.locator(".viewer").focus()
    for number in range(4, 9):
        page.wait_for_timeout(50)
        page.keyboard.press("2")
        page.keyboard.press("Enter")
        if number % 2 == 0 and number < 8:
            page.wait_for_selector("#interlude:visible")
            page.keyboard.press("Enter")
    page.wait_for_selector("#end:visible")
    table = saved(page, tmp_path)
    assert troubles == []

    assert list(table["order"]) == list(range(1, 9))
    assert set(table["case"]) == set(key.index[key["phase"] == "study"])
    assert list(table["rating"]) == [4, 5, 6, 2, 2, 2, 2, 2]
    assert table["comment"][3] == 'a "halo", odd\n=1+1'
    assert set(table["reader"]) == {"Reader Å"}
    assert table["seconds"][4:].between(0.05, 30).all()
    truth = key["truth"][table["case"]].to_numpy() == "synthetic"
    right = int(((table["rating"] > 3) == truth).sum())
    readers = analyse(tmp_path, next(tmp_path.glob("answers_*.csv")))
    assert (readers["cases"][0], readers["right"][0]) == (8, right)

    page.get_by_role("button", name="Start as another reader").click()
    page.get_by_role("button", name="Discard").click()
    page.wait_for_selector("#reader-form:visible")
    begin(page, "second")
    assert page.locator("#phase").inner_text() == "Practice case 1 of 2"


def test_pairs_by_mouse(browser: BrowserContext, tmp_path: Path) -> None:
    """Two images side by side, the right one of which lies where the key says."""
    file = make(tmp_path, "--n", "5", "--mode", "2afc")
    key = pd.read_csv(tmp_path / "study_key.csv", dtype=str).set_index("case")
    page, troubles = watched(browser, file)
    begin(page, "pairs")
    seen = []
    for _ in range(5):
        seen.append([page.evaluate(READ_CANVAS, place)[0] for place in (0, 1)])
        page.get_by_text("Right", exact=False).last.click()
        page.get_by_role("button", name="Confirm").click()
    table = saved(page, tmp_path)
    assert troubles == []
    assert set(table["answer"]) == {"right"}
    for case, (left, right) in zip(table["case"], seen, strict=True):
        row = key.loc[case]
        grey = {}
        for prefix, step in (("", 1), ("other_", 0)):
            index = int(row[f"{prefix}item_id"][-1])
            grey[prefix] = round(255 * (0.4 + 0.05 * (2 * index + step)))
        shown = (left, right) if row["truth"] == "left" else (right, left)
        assert np.allclose(shown, (grey[""], grey["other_"]), atol=1), "synthetic first"
    readers = analyse(tmp_path, next(tmp_path.glob("answers_*.csv")))
    assert readers["left"][0] == 0.0


def test_sixteen_bits_can_be_windowed_zoomed_and_moved(browser: BrowserContext, tmp_path: Path) -> None:
    """All grey levels reach the browser: a narrow window tells values apart that 8 bits would merge."""
    file = make(tmp_path, "--n", "5", "--scale", "100", "--finding", "Margin", kind=np.uint16)
    page, troubles = watched(browser, file)
    begin(page, "windows")
    assert page.evaluate("JSON.parse(document.getElementById('study').textContent).bits") == 16
    before = page.evaluate(READ_CANVAS, 0)
    page.keyboard.press("i")
    assert page.evaluate(READ_CANVAS, 0)[0] == pytest.approx(255 - before[0], abs=1)
    page.keyboard.press("0")
    assert page.evaluate(READ_CANVAS, 0) == before
    for _ in range(4):
        page.keyboard.press("b")
    assert page.evaluate(READ_CANVAS, 0)[0] > before[0]
    page.keyboard.press("0")
    page.get_by_label("Contrast").fill("90")
    assert page.evaluate(READ_CANVAS, 0) != before
    page.keyboard.press("0")
    page.locator(".viewer").hover()
    page.mouse.wheel(0, -400)
    assert page.locator("#zoom").inner_text() == "200 %"
    page.keyboard.press("+")
    assert page.locator("#zoom").inner_text() == "250 %"
    box = page.locator(".viewer").bounding_box()
    assert box is not None
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2 + 400, box["y"] + box["height"] / 2, steps=4)
    page.mouse.up()
    assert page.evaluate(READ_CANVAS, 0) != before, "the image was moved off its middle"
    page.keyboard.press("s")
    page.keyboard.press("9")
    page.keyboard.press("ArrowRight")
    assert page.locator("#rating-value").inner_text() == "91"
    assert page.locator("#next").is_disabled(), "plausibility is still missing"
    page.get_by_role("group", name="Margin").get_by_text("4").click()
    page.keyboard.press("Enter")
    assert page.locator("#case-title").inner_text() == "Case 2 of 10"
    page.keyboard.press("p")
    table = saved(page, tmp_path, "Save a copy")
    assert table[["answer", "rating", "plausibility: Margin"]].to_numpy().tolist() == [["synthetic", 91, 4]]
    assert troubles == []


def test_every_reader_has_an_order_of_their_own(browser: BrowserContext, tmp_path: Path) -> None:
    """Two readers see the same cases in another order; the same name gives the same order again."""
    file = make(tmp_path, "--n", "6", "--scale", "2")
    page, _ = watched(browser, file)
    orders = []
    for reader in ("a", "b", "a"):
        begin(page, reader)
        for _ in range(12):
            page.keyboard.press("1")
            page.keyboard.press("Enter")
        orders.append(list(saved(page, tmp_path)["case"]))
        page.get_by_role("button", name="Start as another reader").click()
        page.get_by_role("button", name="Discard").click()
        page.wait_for_selector("#reader-form:visible")
    assert sorted(orders[0]) == sorted(orders[1])
    assert orders[0] != orders[1]
    assert orders[0] == orders[2]
