"""Errors a user can mend.

Every message says where (file or key), what was found, what was expected, and how to mend it.
The command line prints them without a traceback; anything else that escapes is a bug.
"""

from __future__ import annotations


class MirageError(Exception):
    """Base of all errors that are about the user's input rather than about our code."""


class ConfigError(MirageError):
    """The configuration is wrong: an unknown key, a dangling name, a value out of range."""


class LayoutError(MirageError):
    """Raw data do not lie as the reader of that dataset expects."""


class DataError(MirageError):
    """One image, mask or table, or a prepared dataset, breaks its contract."""


class LeakError(MirageError):
    """Something that must stay apart (subjects, donors, synthetic items) was about to be mixed."""


class CheckpointError(MirageError):
    """A model folder or a training state is damaged or belongs to other settings."""


class LedgerError(MirageError):
    """Results cannot be published or brought back: jobs are pending, DVC is missing, a copy is damaged."""


class TimeBudgetReached(Exception):  # noqa: N818 - an outcome, not a fault
    """Training saved its state and stopped before its wall time, or on SIGTERM; run again to go on."""
