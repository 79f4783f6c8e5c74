"""Amounts as people read them: time, bytes, energy, mass, and how many of what."""

from __future__ import annotations

import math


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
    """``0.220 Wh`` or ``1.34 kWh``: three significant digits."""
    small = kilowatt_hours < 1
    return f"{_three(1000 * kilowatt_hours)} Wh" if small else f"{_three(kilowatt_hours)} kWh"


def emissions(kilograms: float) -> str:
    """Mass of CO2 equivalent, in grams below a kilogram: three significant digits."""
    return f"{_three(1000 * kilograms)} g" if kilograms < 1 else f"{_three(kilograms)} kg"


def several(number: int, noun: str) -> str:
    """``1 job``, ``2 jobs``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _three(value: float) -> str:
    """Three significant digits, all digits from a thousand up."""
    places = 2 - math.floor(math.log10(value)) if value > 0 else 0
    return f"{value:.{max(0, places)}f}"
