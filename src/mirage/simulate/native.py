"""Write phantoms in the native layouts of the readers: file names, formats, modes and tables."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import xlwt
from PIL import Image

from mirage import seeds
from mirage.config.datasets import SimulateOptions
from mirage.simulate.cells import Outline, draw_mask, redraw, simulate_cell
from mirage.simulate.fundus import Camera, Fundus, simulate_fundus

Truth = dict[str, dict[str, Any]]
DRIVE = Camera(aspect=565 / 584, field=45, diameter=0.925, tint=(0.88, 1.1, 0.85))
CHASE = Camera(
    aspect=999 / 960,
    field=30,
    diameter=0.96,
    disc_centred=True,
    calibre=0.75,
    tint=(0.78, 0.78, 0.25),
    contrast=1.25,
    choroid=1.3,
)
MESSIDOR = Camera(aspect=1440 / 960, field=45, diameter=0.97, tint=(0.82, 0.95, 0.5), choroid=0.8)
SQUARE = Camera(aspect=1.0, field=45, diameter=0.97)
DEPARTMENTS = ("Service Ophtalmologie Lariboisière", "CHU de St Etienne", "LaTIM - CHU de BREST")
GRADE_SHARES = (0.455, 0.1275, 0.206, 0.2115)
"""Shares of retinopathy grades 0 to 3 in MESSIDOR (546, 153, 247 and 254 of 1200)."""


def write_drive(options: SimulateOptions, folder: Path) -> Truth:
    """DRIVE: subjects go to `training` and `test` in turn, so that both grow with their number."""
    truth: Truth = {}
    for subject in range(options.subjects):
        part, number = _drive_number(subject)
        eye = int(seeds.rng(options.seed, "simulate-eye", subject).integers(2))
        phantom = simulate_fundus(options.seed, subject, eye, DRIVE, options.size)
        base = folder / part
        _save(phantom.image, base / "images" / f"{number:02d}_{part}.tif")
        _save(phantom.vessels * 255, base / "1st_manual" / f"{number:02d}_manual1.gif")
        _save(phantom.fov * 255, base / "mask" / f"{number:02d}_{part}_mask.gif")
        if part == "test":
            _save(phantom.observer2 * 255, base / "2nd_manual" / f"{number:02d}_manual2.gif")
        truth[f"{number:02d}_{part}"] = phantom.truth
    for part in ("training", "test"):
        for name in ("images", "1st_manual", "mask"):
            (folder / part / name).mkdir(parents=True, exist_ok=True)
    return truth


def _drive_number(subject: int) -> tuple[str, int]:
    """Native numbers are 21 to 40 for training and 1 to 20 for test; more subjects count on from 41."""
    part = "test" if subject % 2 else "training"
    if subject >= 40:
        return part, subject + 1
    return part, subject // 2 + (1 if part == "test" else 21)


def write_chasedb1(options: SimulateOptions, folder: Path) -> Truth:
    """CHASE_DB1: a flat folder, both eyes of every child."""
    truth: Truth = {}
    for subject in range(options.subjects):
        for eye, letter in enumerate("RL"):
            phantom = simulate_fundus(options.seed, subject, eye, CHASE, options.size)
            stem = f"Image_{subject + 1:02d}{letter}"
            _save(phantom.image, folder / f"{stem}.jpg", quality=95)
            _save(phantom.vessels, folder / f"{stem}_1stHO.png", mode="1")
            _save(phantom.observer2, folder / f"{stem}_2ndHO.png", mode="1")
            truth[stem] = phantom.truth
    return truth


def write_messidor(options: SimulateOptions, folder: Path) -> Truth:
    """MESSIDOR: three departments, a hundred photographs a folder, and a table of grades in each folder."""
    truth: Truth = {}
    tables: dict[str, list[list[Any]]] = {}
    for subject in range(options.subjects):
        rng = seeds.rng(options.seed, "simulate-grade", subject)
        grade = int(rng.choice(4, p=GRADE_SHARES))
        edema = 0 if grade < 2 else int(rng.choice(3, p=(0.55, 0.15, 0.30)))
        phantom = simulate_fundus(
            options.seed, subject, int(rng.integers(2)), MESSIDOR, options.size, grade=grade
        )
        department, count = subject % 3, subject // 3
        base = f"Base{department + 1}{count // 100 % 4 + 1}"
        name = f"20051020_{40000 + subject:05d}_0100_PP.tif"
        _save(phantom.image, folder / base / name)
        tables.setdefault(base, []).append([name, DEPARTMENTS[department], grade, edema])
        truth[f"{base}/{name[:-4]}"] = {**phantom.truth, "macular_edema_risk": edema}
    for base, rows in tables.items():
        _write_grades(folder / base / f"Annotation_{base}.xls", rows)
    return truth


def _write_grades(path: Path, rows: list[list[Any]]) -> None:
    header = ["Image name", "Ophthalmologic department", "Retinopathy grade", "Risk of macular edema "]
    book = xlwt.Workbook()
    sheet = book.add_sheet("Feuil1")
    for row, line in enumerate([header, *rows]):
        for column, value in enumerate(line):
            sheet.write(row, column, value)
    book.save(str(path))


def write_folder(options: SimulateOptions, folder: Path) -> Truth:
    """A plain folder: `images`, `masks`, `fov` and `table.csv`; both eyes of every third subject."""
    rows = []
    for subject in range(options.subjects):
        rng = seeds.rng(options.seed, "simulate-person", subject)
        age, sex = int(rng.integers(18, 90)), "FM"[int(rng.integers(2))]
        for eye in range(2 if subject % 3 == 2 else 1):
            phantom = simulate_fundus(options.seed, subject, eye, SQUARE, options.size)
            stem = f"subject{subject:04d}{'RL'[eye]}"
            _save_square(phantom, folder, stem)
            rows.append([f"images/{stem}.png", f"subject{subject:04d}", age, sex])
    with open(folder / "table.csv", "w", encoding="utf-8", newline="") as handle:
        csv.writer(handle, lineterminator="\n").writerows([["file", "subject_id", "age", "sex"], *rows])
    return {}


def _save_square(phantom: Fundus, folder: Path, stem: str) -> None:
    _save(phantom.image, folder / "images" / f"{stem}.png")
    _save(phantom.vessels * 255, folder / "masks" / f"{stem}_mask.png")
    _save(phantom.fov * 255, folder / "fov" / f"{stem}_fov.png")


def write_bubil(options: SimulateOptions, folder: Path) -> Truth:
    """BU-BIL Dataset 1 with its quirks: black cells, mixed modes, `Seg_` names, one image of another size."""
    truth: Truth = {}
    for cell in range(options.subjects):
        factor = 1030 / 811 if cell == 1 else 1.0
        height, width = round(options.size * factor), round(options.size * factor * 1024 / 811)
        image, outline = simulate_cell(options.seed, cell, height, width)
        name = f"B{cell + 1:02d}"
        gold = draw_mask(outline, height, width)
        _save(image, folder / "RawImages" / f"{name}.png", mode="P" if cell == 1 else None)
        _save(1 - gold, folder / "GoldStandard" / f"seg_{name}.png", mode="1")
        _write_experts(options.seed, cell, outline, (height, width), folder / "ExpertsAnnotations")
        truth[name] = {"cell_share": round(float(gold.mean()), 4)}
    return truth


def _write_experts(seed: int, cell: int, outline: Outline, size: tuple[int, int], folder: Path) -> None:
    """Five experts with two tools; each has a bias, ImageJ makes coarser polygons than Amira."""
    for person in range(1, 6):
        bias = float(seeds.rng(seed, "simulate-expert", person).normal(0.001, 0.0025))
        for tool, (name, vertices) in enumerate((("Amira", 192), ("ImageJ", 48))):
            rng = seeds.rng(seed, "simulate-outline", cell, person, tool)
            mask = (1 - draw_mask(redraw(outline, rng, bias, 0.003, vertices), *size)) * np.uint8(255)
            rgb = name == "ImageJ" or person == 2 or (person == 5 and cell % 12 == 3)
            if person == 5 and name == "Amira" and cell == 4:
                mask[0, 0] = 200  # the stray grey value of the original
            prefix = "Seg" if person == 3 and name == "Amira" and cell % 12 == 2 else "seg"
            path = folder / f"Person{person}_{name}" / f"{prefix}_B{cell + 1:02d}.png"
            _save(mask, path, mode="RGB" if rgb else None)


def _save(values: np.ndarray, path: Path, mode: str | None = None, **options: Any) -> None:
    """Write (H, W) or (H, W, 3) uint8; mode ``1`` takes 0 and 1."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(values * np.uint8(255) if mode == "1" else values)
    if mode == "P":
        picture = picture.convert("P")
    elif mode == "1":
        picture = picture.convert("1", dither=Image.Dither.NONE)
    elif mode is not None:
        picture = picture.convert(mode)
    picture.save(path, **options)
