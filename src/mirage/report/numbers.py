"""How numbers are printed: three decimals, a true minus sign, and never without their interval."""

from __future__ import annotations

import math

MINUS, DASH, NARROW = "\u2212", "–", "\u202f"


def number(value: float, digits: int = 3, *, sign: bool = False) -> str:
    """A number in fixed notation, or with a power of ten when that would hide it; a dash for none."""
    if not math.isfinite(value):
        return DASH if math.isnan(value) else ("∞" if value > 0 else f"{MINUS}∞")
    if value and not 10.0**-digits <= abs(value) < 1e5:
        text = scientific(value)
        return f"+{text}" if sign and value > 0 else text
    text = f"{value:+.{digits}f}" if sign else f"{value:.{digits}f}"
    return text.replace("-", MINUS)


def scientific(value: float) -> str:
    """``4.2 × 10⁻⁴``."""
    mantissa, exponent = f"{value:.2e}".split("e")
    raised = str(int(exponent)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"{mantissa.replace('-', MINUS)} × 10{raised}"


def interval(low: float, high: float, digits: int = 3, *, sign: bool = False) -> str:
    """``[0.712, 0.731]``, or ``no interval`` where there is none."""
    if math.isnan(low) or math.isnan(high):
        return "no interval"
    return f"[{number(low, digits, sign=sign)}, {number(high, digits, sign=sign)}]"


def estimate(value: float, low: float, high: float, digits: int = 3, *, sign: bool = False) -> str:
    """``0.722 [0.712, 0.731]``; a dash for an undefined value."""
    if math.isnan(value):
        return DASH
    return f"{number(value, digits, sign=sign)} {interval(low, high, digits, sign=sign)}"


def grouped(value: int) -> str:
    """A count with narrow blanks between thousands."""
    return f"{value:,}".replace(",", NARROW)


def duration(seconds: float) -> str:
    """``42 s``, ``12 min`` or ``3.5 h``."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
