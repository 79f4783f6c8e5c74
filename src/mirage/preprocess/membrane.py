"""Membranes: values that are known around a region, carried smoothly into it."""

from __future__ import annotations

import numpy as np
from scipy import ndimage, sparse
from scipy.sparse.linalg import spsolve

NEIGHBOURS = ((-1, 0), (1, 0), (0, -1), (0, 1))


def carried_on(values: np.ndarray, ring: np.ndarray, inner: np.ndarray, width: float) -> np.ndarray:
    """Values (H, W) of a ring, smoothed there, and carried on into what it encloses; 0 elsewhere.

    Args:
        values: (H, W), float.
        ring: bool (H, W), where they are known.
        inner: bool (H, W), what it encloses.
        width: standard deviation of the smoothing, pixels.
    """
    weight = ndimage.gaussian_filter(ring.astype(np.float64), width)
    summed = ndimage.gaussian_filter(np.where(ring, values, 0.0), width)
    known = np.divide(summed, weight, out=np.zeros_like(summed), where=ring)
    return solve_poisson(known, inner, np.zeros_like(summed))


def dome(inside: np.ndarray) -> np.ndarray:
    """The membrane (H, W) that an even load bends: 0 outside a region, with a mean of 1 in it.

    Args:
        inside: bool (H, W), somewhere true.
    """
    bent = solve_poisson(np.zeros(inside.shape), inside, inside.astype(np.float64))
    made: np.ndarray = bent / bent[inside].mean()
    return made


def solve_poisson(known: np.ndarray, inside: np.ndarray, drive: np.ndarray) -> np.ndarray:
    """Solve the discrete Poisson equation with SciPy's sparse solver.

    Args:
        known: (H, W) values, kept outside; a pixel on the border of the array has fewer neighbours.
        inside: (H, W) where values are sought; not everywhere.
        drive: (H, W) sum over a pixel's neighbours of its difference to them; 0 gives a membrane.
    """
    if not inside.any():
        return known.copy()
    number = np.full(known.shape, -1)
    number[inside] = np.arange(inside.sum())
    y, x = np.nonzero(inside)
    right, degree = drive[y, x].astype(np.float64), np.zeros(len(y))
    rows, columns, values = [number[y, x]], [number[y, x]], [degree]
    for down, across in NEIGHBOURS:
        row, column = y + down, x + across
        there = (row >= 0) & (row < known.shape[0]) & (column >= 0) & (column < known.shape[1])
        degree += there
        to = (row[there], column[there])
        free = inside[to]
        right[there] += np.where(free, 0.0, known[to])
        rows.append(number[y, x][there][free])
        columns.append(number[to][free])
        values.append(np.full(int(free.sum()), -1.0))
    matrix = sparse.csc_array(
        (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))), shape=(len(y), len(y))
    )
    made = known.copy()
    made[y, x] = spsolve(matrix, right)
    return made
