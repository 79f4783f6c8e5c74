"""The report of a study: self-contained pages, their figures, and the tables its numbers come from."""

from mirage.report.inputs import Drawing, Finished, ReportInputs
from mirage.report.overview import build_overview
from mirage.report.page import build_report

__all__ = ["Drawing", "Finished", "ReportInputs", "build_overview", "build_report"]
