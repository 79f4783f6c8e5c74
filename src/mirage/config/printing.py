"""What a study's PDFs and LaTeX files say beyond its results: title page, versions, words, fonts."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from mirage.config.base import Options

Template = Literal["thesis", "deliverable"]


class Version(Options):
    """A line of the version log."""

    version: str = Field(description="such as `0.2`")
    date: str = Field(description="as it is to be printed")
    author: str = Field("", description="who made it")
    changes: str = Field("", description="what changed")


class PrintOptions(Options):
    """The printed report of a study. Nothing here changes a result, so a change remakes the print alone.

    Texts may quote a number of the summary as `\\res{evaluation/arm/metric/kind}`; the key is that of the
    page's tables (`data-key`) and of `results.tex`.
    """

    templates: list[Template] = Field(["thesis", "deliverable"], description="PDFs that are made")
    paper: Literal["a4", "us-letter"] = Field("a4", description="size of the pages")
    authors: list[str] = Field(default_factory=list, description="names, as on the title page")
    institution: str = Field("", description="institution of the authors")
    date: str = Field("", description="as it is to be printed; none: that of the last version")
    project: str = Field("", description="acronym and title of the project")
    call: str = Field("", description="programme or call of the grant")
    grant: str = Field("", description="number of the grant agreement")
    deliverable: str = Field("", description="number of the deliverable, such as `D4.4`")
    work_package: str = Field("", description="number and title of the work package")
    dissemination: str = Field("", description="dissemination level, such as `PU - Public`")
    lead: str = Field("", description="lead beneficiary")
    due: str = Field("", description="date on which the deliverable is due")
    versions: list[Version] = Field(default_factory=list, description="the version log, oldest first")
    abstract: list[str] = Field(default_factory=list, description="paragraphs before the first chapter")
    background: list[str] = Field(
        default_factory=list, description="paragraphs of the introduction: background and intended use"
    )
    conclusions: list[str] = Field(
        default_factory=list, description="paragraphs below the conclusions that the verdicts give"
    )
    funding: str = Field("", description="acknowledgement of funding, and its disclaimer")
    acronyms: dict[str, str] = Field(
        default_factory=dict, description="acronym -> meaning, beside those that Mirage knows"
    )
    references: list[str] = Field(
        default_factory=list, description="references beside those that Mirage knows it relies on"
    )
    checklists: dict[str, str] = Field(
        default_factory=dict,
        description="item of an annexed checklist -> answer, where the report cannot know it",
        examples=[{"CLAIM 5": "Retrospective.", "FUTURE-AI General 1": "Radiologists chose the metrics."}],
    )
    fonts: str = Field(
        "", description="folder with fonts for scripts beyond Latin, Greek and Cyrillic; none: no others"
    )
