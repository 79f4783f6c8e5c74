"""The report of a study: one self-contained page, its figures, and the tables its numbers come from."""

from mirage.report.inputs import Drawing, Finished, ReportInputs
from mirage.report.page import build_report

__all__ = ["Drawing", "Finished", "ReportInputs", "build_report"]
