"""How numbers are printed: three decimals, a true minus sign, and never without their interval."""

from __future__ import annotations

import math

MINUS, DASH, TIMES, NARROW = "\u2212", "\u2013", "\u00d7", "\u202f"


def number(value: float, digits: int = 3, *, sign: bool = False) -> str:
    """A number in fixed notation, or with a power of ten when that would hide it; a dash for none."""
    if not math.isfinite(value):
        return DASH if math.isnan(value) else ("∞" if value > 0 else f"{MINUS}∞")
    if value and not 10.0**-digits <= abs(value) < 1e5:
        text = scientific(value)
        return f"+{text}" if sign and value > 0 else text
    text = f"{value:+.{digits}f}" if sign else f"{value:.{digits}f}"
    return text.replace("-", MINUS)


def significant(value: float) -> str:
    """A number with three significant digits: ``0.00412``, ``19.2``, ``4.21 x 10^-4`` below a thousandth."""
    if not math.isfinite(value) or value == 0 or not 1e-3 <= abs(value) < 1e5:
        return number(value) if not math.isfinite(value) or value == 0 else scientific(value)
    return number(value, max(0, 2 - math.floor(math.log10(abs(value)))))


def range_of(low: float, high: float) -> str:
    """Ends of an interval with three significant digits, in brackets."""
    return f"[{significant(low)}, {significant(high)}]"


def scientific(value: float) -> str:
    """Mantissa with two decimals, times ten to a raised exponent."""
    mantissa, exponent = f"{value:.2e}".split("e")
    raised = str(int(exponent)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"{mantissa.replace('-', MINUS)} {TIMES} 10{raised}"


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
