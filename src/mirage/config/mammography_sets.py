"""Public sets of mammograms."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from mirage.config.mammography import LESIONS, MammographySource


class OutlinedMammographySource(MammographySource):
    """Options of readers of mammograms whose lesions are outlined, not only boxed."""

    masks: bool = Field(
        False,
        description="store a label mask of the lesions that are kept, from their outlines; of two that "
        "overlap the smaller one is seen",
    )

    @property
    def label_table(self) -> dict[int, str]:
        """Numbers of the kinds that are kept; a kind has the same one whatever others are kept."""
        if not self.masks:
            return {}
        return {number: kind for number, kind in enumerate(LESIONS, 1) if kind in self.lesions}


class MiniMiasSource(MammographySource):
    """mini-MIAS: `mdb001.pgm` ... of 1024 x 1024 and `Info.txt`, which gives lesions as circles."""

    known_views = ("MLO",)

    reader: Literal["mini_mias"]
    path: str = Field("resources/mini_mias", description="folder that holds Info.txt and mdb*.pgm")


class InbreastSource(OutlinedMammographySource):
    """INbreast: `AllDICOMs/`, `AllXML/` with outlines of OsiriX, and `INbreast.xls`, `.xlsx` or `.csv`."""

    reader: Literal["inbreast"]
    path: str = Field(
        "resources/inbreast", description="folder that holds AllDICOMs/, AllXML/ and INbreast.xls"
    )
    calcifications: Literal["clusters", "all"] = Field(
        "clusters",
        description="clusters: outlines of clusters only; all: each single calcification outside them too, "
        "of which there are thousands, mostly benign",
    )
    malignant_from: Literal[3, 4, 5, 6] | None = Field(
        4,
        description="BI-RADS category of an image from which its lesions count as malignant, those below as "
        "benign: the spreadsheet holds no pathology. null: malignancy is unknown",
    )


class CbisDdsmSource(OutlinedMammographySource):
    """CBIS-DDSM: `mass_case_description_train_set.csv` ... and TCIA's DICOM tree, or Kaggle's `jpeg/`."""

    reader: Literal["cbis_ddsm"]
    path: str = Field(
        "resources/cbis_ddsm",
        description="folder that holds the four tables (or csv/ with them) and the images' folders, which "
        "may lie deeper, as in manifest-*/CBIS-DDSM/",
    )


class BcdrSource(OutlinedMammographySource):
    """BCDR: folders such as `BCDR-F01_dataset` with `bcdr_f01_img.csv`, `bcdr_f01_outlines.csv` and TIFF."""

    reader: Literal["bcdr"]
    path: str = Field(
        "resources/bcdr", description="folder that holds one or more of BCDR's, or is one of them"
    )
    media: list[Literal["film", "digital"]] = Field(
        ["film", "digital"],
        min_length=1,
        description="film: digitised film (F01, F02 ..., FN01); digital: D01, D02, DN01",
    )
