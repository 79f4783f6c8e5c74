"""Write phantom mammograms in the layout of OMI-DB: JSON files, headers, DICOM files, a table of marks.

Vendors differ in grey-scale curve, words of views, display window and compression. Every other client has
raw images beside the processed ones. Odd things of the real tree are there too: images without a header in
JSON, calibration images, a study that is listed twice, corners of marks as text.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mirage import seeds
from mirage.config.datasets import SimulateOptions
from mirage.files import write_json
from mirage.simulate.breast_lesions import DrawnLesion
from mirage.simulate.mammogram import Mammogram, Side
from mirage.simulate.mammogram_files import FOR_PRESENTATION, FOR_PROCESSING, write_dicom
from mirage.simulate.native import Truth
from mirage.simulate.women import SIDES, VIEWS, WIDTH, Woman, truth_of

ROOT = "1.2.826.0.1.3680043.9.3218.1.1"
"""Start of all UIDs."""
SITES = ("adde", "jarv", "stge")
JPEG_LS = "1.2.840.10008.1.2.4.80"
MAGNIFICATION = 1.07
"""The breast lies this much nearer to the tube than the detector."""
HIGHEST = 4095
RAW = 16383
MARGINS = {
    "circumscribed": "well_defined",
    "obscured": "ill_defined",
    "indistinct": "ill_defined",
    "spiculated": "spiculated",
}
BENIGN = {"punctate": "round_and_punctate", "coarse": "coarse_or_popcorn-like"}
DESCRIPTIONS = {
    "mass": "Mass",
    "calcification": "Calcification only",
    "distortion": "Distortion",
    "asymmetry": "Asymmetry",
}
FLAGS = {
    "Mass": "mass",
    "SuspiciousCalcifications": "suspicious_calcifications",
    "OtherBenignCluster": "other_benign_cluster",
    "ArchitecturalDistortion": "architectural_distortion",
    "FocalAsymmetry": "focal_asymmetry",
}
"""Flag of a mark -> word of the table."""
COLUMNS = (
    "client_id",
    "status",
    "site",
    "study_id",
    "serie_id",
    "image_id",
    "view",
    "laterality",
    "age",
    "mark_id",
    "lesion_id",
    "conspicuity",
    "x1",
    "x2",
    "y1",
    "y2",
    "pathologies",
    "manufacturer",
)
"""Of ``marks.xlsx``."""


@dataclass(frozen=True)
class Vendor:
    """What a vendor writes into its headers.

    Attributes:
        manufacturer, model: words.
        look: of its processed images.
        window: how the values are to be shown: LINEAR and SIGMOID windows, LUT, or none.
        sided: whether the word for the view begins with the side.
        compression: transfer syntax, or None.
    """

    manufacturer: str
    model: str
    look: str
    window: str
    sided: bool = False
    compression: str | None = None


SELENIA = Vendor("HOLOGIC, Inc.", "Lorad Selenia", "hologic", "LINEAR")
VENDORS = (
    SELENIA,
    Vendor("GE MEDICAL SYSTEMS", "Senographe Essential ADS_54.11", "ge", "SIGMOID", sided=True),
    SELENIA,
    Vendor("HOLOGIC, Inc.", "Selenia Dimensions", "hologic", "LINEAR"),
    SELENIA,
    Vendor("SIEMENS", "Mammomat Inspiration", "siemens", "LUT"),
    SELENIA,
    Vendor("Philips Digital Mammography Sweden AB", "L30", "philips", "none", compression=JPEG_LS),
)
"""Vendors, which clients have in turn: half of them the one of the study."""


@dataclass
class _Client:
    """One client while she is written."""

    woman: Woman
    folder: Path
    size: tuple[int, int]

    @property
    def number(self) -> int:
        return self.woman.number

    @property
    def name(self) -> str:
        return f"demd{self.number + 1}"

    @property
    def vendor(self) -> Vendor:
        return VENDORS[self.number % len(VENDORS)]

    @property
    def site(self) -> str:
        return SITES[self.number % len(SITES)]

    @property
    def study(self) -> str:
        return f"{ROOT}.{self.number + 1}.1"

    @property
    def raw_too(self) -> bool:
        return self.number % 2 == 1


@dataclass(frozen=True)
class _Image:
    """One image of a client."""

    uid: str
    series: str
    made: Mammogram
    raw: bool


def write_optimam(options: SimulateOptions, folder: Path) -> Truth:
    """OMI-DB: one screening study a client, both views of both breasts, one client at a time."""
    import pandas as pd

    truth: Truth = {}
    rows: list[dict[str, Any]] = []
    for number in range(options.subjects):
        size = (options.size, round(WIDTH * options.size))
        client = _Client(Woman(options.seed, number), folder, size)
        found: dict[tuple[Side, int], DrawnLesion] = {}
        series: dict[str, dict[str, Any]] = {}
        lines = []
        for image in _images(client):
            _write_image(client, image)
            marks = _marks(client, image, found)
            series.setdefault(image.series, {})[image.uid] = marks or {}
            lines += [_row(client, image, mark) for mark in marks.values() or [{}]]
            truth[f"{client.name}/{image.uid}"] = {**truth_of(image.made), "raw": image.raw}
        if number % 8 == 1:
            series[f"{client.study}.9"] = {_flat_field(client): {}}
        status = _write_records(client, series, found)
        rows += [{**line, "status": status} for line in lines]
        for key, entry in truth.items():
            if key.startswith(f"{client.name}/"):
                entry["status"] = status
    pd.DataFrame(rows, columns=list(COLUMNS)).to_excel(folder / "marks.xlsx", index=False, sheet_name="marks")
    return truth


def _images(client: _Client) -> Iterator[_Image]:
    """Processed images, then raw ones, which show the same breast."""
    looks = [client.vendor.look, "raw"] if client.raw_too else [client.vendor.look]
    for part, look in enumerate(looks):
        for number, (side, view) in enumerate((side, view) for side in SIDES for view in VIEWS):
            series = f"{client.study}.{1 + part}"
            made = client.woman.mammogram(side, view, client.size, look)
            yield _Image(f"{series}.{number + 1}", series, made, look == "raw")


def _write_image(client: _Client, image: _Image) -> None:
    """The DICOM file, and its header in JSON, which every ninth client lacks of one image."""
    made, vendor = image.made, client.vendor
    values, tags = _raw(made.image) if image.raw else _processed(made.image, vendor)
    path = client.folder / "images" / client.name / client.study / f"{image.uid}.dcm"
    write_dicom(
        path,
        values,
        uid=image.uid,
        bits=14 if image.raw else 12,
        spacing_mm=made.spacing_mm * MAGNIFICATION,
        storage=FOR_PROCESSING if image.raw else FOR_PRESENTATION,
        compression=vendor.compression,
        StudyInstanceUID=client.study,
        SeriesInstanceUID=image.series,
        PresentationIntentType="FOR PROCESSING" if image.raw else "FOR PRESENTATION",
        Manufacturer=vendor.manufacturer,
        ManufacturerModelName=vendor.model,
        PatientID=client.name,
        PatientAge=f"{client.woman.age:03d}Y",
        ImageLaterality=made.side,
        ViewPosition=f"{made.side}{made.view}" if vendor.sided else made.view,
        BodyPartThickness=f"{made.thickness_mm:.0f}",
        BreastImplantPresent="NO",
        EstimatedRadiographicMagnificationFactor=f"{MAGNIFICATION:g}",
        PatientOrientation=["A", "R"] if made.side == "L" else ["P", "L"],
        **tags,
    )
    if client.number % 9 != 4 or not image.uid.endswith(".1.2"):
        _write_header(client, path)


def _write_header(client: _Client, path: Path) -> None:
    """The header of a DICOM file in JSON, without what is long."""
    import pydicom

    header = pydicom.dcmread(path, stop_before_pixels=True)
    if "VOILUTSequence" in header:
        del header.VOILUTSequence
    syntax = {"00020010": {"vr": "UI", "Value": [str(header.file_meta.TransferSyntaxUID)]}}
    ending = ".dcm.json" if client.number % 7 == 6 else ".json"
    target = client.folder / "data" / client.name / client.study / f"{path.stem}{ending}"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps({**syntax, **header.to_json_dict()}), encoding="utf-8")


def _processed(image: np.ndarray, vendor: Vendor) -> tuple[np.ndarray, dict[str, Any]]:
    """Stored values of 12 bits, and the tags that say how they are to be shown: as the phantom is."""
    from pydicom.dataset import Dataset

    tags: dict[str, Any] = {}
    if vendor.window == "LINEAR":
        stored = 300 + 3400 * image
        tags = {"WindowCenter": "2000.5", "WindowWidth": "3401", "VOILUTFunction": "LINEAR"}
    elif vendor.window == "SIGMOID":
        shown = np.clip(image, 0.001, 0.999)
        stored = 2048 + 280 * np.log(shown / (1 - shown))
        tags = {"WindowCenter": "2048", "WindowWidth": "1120", "VOILUTFunction": "SIGMOID"}
    elif vendor.window == "LUT":
        stored = HIGHEST * np.sqrt(image)
        table = Dataset()
        table.add_new("LUTDescriptor", "US", [HIGHEST + 1, 0, 16])
        entries = np.rint((np.arange(HIGHEST + 1) / HIGHEST) ** 2 * 65535).astype("<u2")
        table.add_new("LUTData", "OW", entries.tobytes())
        tags = {"VOILUTSequence": [table]}
    else:
        stored = HIGHEST * (1 - image)
        tags = {"PhotometricInterpretation": "MONOCHROME1"}
    return np.clip(np.rint(stored), 0, HIGHEST).astype(np.uint16), tags


def _raw(image: np.ndarray) -> tuple[np.ndarray, dict[str, Any]]:
    """Counts of the detector, 14 bits, which are to be shown dark where there are many."""
    return np.rint(image * RAW).astype(np.uint16), {"PhotometricInterpretation": "MONOCHROME1"}


def _marks(
    client: _Client, image: _Image, found: dict[tuple[Side, int], DrawnLesion]
) -> dict[str, dict[str, Any]]:
    """Marks of an image; ``found`` learns the lesions of the client, numbered within each breast."""
    marks: dict[str, dict[str, Any]] = {}
    for place, lesion in enumerate(image.made.lesions):
        number = next(
            (
                known
                for (side, known), other in found.items()
                if side == image.made.side and other.shape.seed == lesion.shape.seed
            ),
            1 + sum(side == image.made.side for side, _ in found),
        )
        found.setdefault((image.made.side, number), lesion)
        mark = int(image.uid.rsplit(".", 3)[-2] + image.uid.rsplit(".", 1)[-1]) * 10 + place
        marks[f"{client.number + 1}{mark:04d}"] = _mark(client, image, lesion, mark, number)
    return marks


def _mark(client: _Client, image: _Image, lesion: DrawnLesion, mark: int, number: int) -> dict[str, Any]:
    """From the lower left to the upper right corner; numbers are text for every other client."""
    x0, y0, x1, y1 = lesion.box
    words = lesion.shape.words
    fields: dict[str, Any] = {
        "MarkID": (client.number + 1) * 10000 + mark,
        "LesionID": lesion.shape.seed,
        "LinkedNBSSLesionNumber": str(number),
        "X1": x0,
        "Y1": y1,
        "X2": x1,
        "Y2": y0,
        "Width": x1 - x0,
        "Height": y1 - y0,
        "Conspicuity": "Obvious" if lesion.shape.contrast > 0.26 else "Subtle",
    }
    if lesion.kind == "mass":
        fields |= {"Mass": 1, "MassClassification": MARGINS[words["margin"]]}
    elif lesion.kind == "calcification" and lesion.malignant:
        fields |= {"SuspiciousCalcifications": 1}
    elif lesion.kind == "calcification":
        fields |= {"OtherBenignCluster": 1, "BenignClassification": BENIGN[words["morphology"]]}
    else:
        fields |= {"ArchitecturalDistortion" if lesion.kind == "distortion" else "FocalAsymmetry": 1}
    if client.number % 2:
        fields |= {key: key for key, value in fields.items() if value == 1 and key in FLAGS}
        fields |= {key: str(fields[key]) for key in ("X1", "Y1", "X2", "Y2", "Width", "Height")}
    return fields


def _row(client: _Client, image: _Image, mark: dict[str, Any]) -> dict[str, Any]:
    """A row of the table; of an image without marks the fields of marks are empty."""
    corners = {key.lower(): int(mark[key]) for key in ("X1", "X2", "Y1", "Y2") if mark}
    return {
        "client_id": client.name,
        "site": client.site,
        "study_id": client.study,
        "serie_id": image.series,
        "image_id": image.uid,
        "view": image.made.view,
        "laterality": image.made.side,
        "age": client.woman.age,
        "mark_id": mark.get("MarkID"),
        "lesion_id": mark.get("LesionID"),
        "conspicuity": mark.get("Conspicuity"),
        **corners,
        "pathologies": " ".join(word for flag, word in FLAGS.items() if flag in mark) or None,
        "manufacturer": client.vendor.manufacturer,
    }


def _flat_field(client: _Client) -> str:
    """A calibration image; its UID."""
    uid = f"{client.study}.9.1"
    path = client.folder / "images" / client.name / client.study / f"{uid}.dcm"
    rng = seeds.rng(client.woman.seed, "simulate-flat-field", client.number)
    values = rng.normal(3000, 12, client.size).astype(np.uint16)
    write_dicom(
        path,
        values,
        uid=uid,
        bits=14,
        storage=FOR_PROCESSING,
        StudyInstanceUID=client.study,
        PresentationIntentType="FOR PROCESSING",
        Manufacturer=client.vendor.manufacturer,
        ManufacturerModelName=client.vendor.model,
        ImageLaterality="L",
        ViewPosition="FLATFIELD",
    )
    _write_header(client, path)
    return uid


def _write_records(
    client: _Client, series: dict[str, Any], found: dict[tuple[Side, int], DrawnLesion]
) -> str:
    """Both records of a client; her status."""
    malignant = any(lesion.malignant for lesion in found.values())
    interval = malignant and client.number % 6 == 5
    status = "Interval" if interval else "Malignant" if malignant else "Benign" if found else "Normal"
    date, episode = f"{2010 + client.number % 8}-03-{1 + client.number % 28:02d}", f"{90000 + client.number}"
    study: dict[str, Any] = {"StudyDate": date, **series}
    if client.number % 4 != 3:  # the others are linked by the date
        study["EpisodeID"] = episode
    studies = {client.study: study}
    if client.number % 11 == 5:
        studies[f"{ROOT}.{client.number + 1}.2"] = {**study, "StudyDate": date}
    folder = client.folder / "data" / client.name
    folder.mkdir(parents=True, exist_ok=True)
    records = {
        "imagedb": {"Site": client.site, "STUDIES": studies},
        "nbss": {episode: _episode(date, interval, found)},
    }
    for kind, record in records.items():
        word = kind.upper() if client.number % 10 == 9 else kind
        write_json(folder / f"{word}_{client.name}.json", record)
    return status


def _episode(date: str, interval: bool, found: dict[tuple[Side, int], DrawnLesion]) -> dict[str, Any]:
    """A screening, and where there is a lesion what biopsies said of it."""
    taken = {"DateTaken": date, "Opinion": "R Normal"}
    screening: dict[str, Any] = {"L": taken, "R": taken, "left_opinion": None, "right_opinion": None}
    record: dict[str, Any] = {"EpisodeType": "R", "EpisodeIsClosed": "Y", "SCREENING": screening}
    if interval:
        record |= {"EpisodeType": "CI", "IntervalCancerDateOfDiagnosis": f"{int(date[:4]) + 1}{date[4:]}"}
    if not found:
        return record
    biopsy: dict[str, Any] = {"dateperformed": date, "Opinion": None}
    lesions: dict[str, dict[str, Any]] = {}
    for side, name in (("L", "left_opinion"), ("R", "right_opinion")):
        own = [lesion for (where, _), lesion in found.items() if where == side]
        malignant = any(lesion.malignant for lesion in own)
        biopsy[name] = ("Malignant" if malignant else "Benign") if own else None
    for (side, number), lesion in found.items():
        lesions.setdefault(side, {})[str(number)] = {"LesionDescription": DESCRIPTIONS[lesion.kind]}
        opinion = {"Opinion": "B5", "MalignancyType": "b"} if lesion.malignant else {"Opinion": "B2"}
        biopsy.setdefault(side, {})[str(number)] = {**opinion, "DatePerformed": date, "SideCode": side}
    return {**record, "LESION": lesions, "BIOPSYWIDE": biopsy}
