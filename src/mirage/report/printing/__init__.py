"""A study's report as PDF: the chapters of the page in the order of a thesis or of a deliverable."""

from mirage.report.printing.study import print_study

__all__ = ["print_study"]
