"""Amounts as people read them."""

from __future__ import annotations


def duration(seconds: float) -> str:
    """``42 s``, ``12 min``, ``3.5 h`` or ``2.1 d``."""
    for unit, length, until in (("s", 1, 100), ("min", 60, 5400), ("h", 3600, 172800)):
        if seconds < until:
            return f"{seconds / length:.{int(unit == 'h')}f} {unit}"
    return f"{seconds / 86400:.1f} d"


def size(amount: float) -> str:
    """Bytes with a decimal prefix: ``12 kB``, ``3.4 GB``."""
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 999.5:
            return f"{amount:.{int(amount < 10 and unit != 'B')}f} {unit}"
        amount /= 1000
    return f"{amount:.1f} TB"


def energy(kilowatt_hours: float) -> str:
    """``0.13 Wh`` or ``1.3 kWh``."""
    return f"{1000 * kilowatt_hours:.2g} Wh" if kilowatt_hours < 0.1 else f"{kilowatt_hours:.3g} kWh"


def several(number: int, noun: str) -> str:
    """``1 job``, ``2 jobs``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
