# SPDX-License-Identifier: GPL-3.0-or-later
"""Least squares within a box, for many small problems at once."""

from __future__ import annotations

import numpy as np

ACTIVE_SETS = 20
"""Rounds of active sets; five or six are usual."""
SWEEPS = 300
"""Of coordinate descent, for the rare problem that goes in circles."""


def bounded_least_squares(
    a: np.ndarray, b: np.ndarray, low: np.ndarray, high: np.ndarray, start: np.ndarray
) -> np.ndarray:
    """Minimise x·A x / 2 - b·x within low <= x <= high for many small problems at once.

    By primal-dual active sets (Hintermüller, Ito, Kunisch 2002): solve for the unknowns thought free, hold those
    that leave the box, free those that are pulled back in, until nothing changes; the few problems that go in
    circles are finished by coordinate descent.

    Args:
        a: (T, n, n) positive definite. b, start: (T, n). low, high: (n,).
    """
    n = a.shape[1]
    x = np.clip(start, low, high)
    at_low, at_high = x <= low, (x >= high) & (x > low)
    fixed = low == high
    todo = np.arange(len(x))
    for _ in range(ACTIVE_SETS):
        bound = at_low[todo] | at_high[todo]
        held = np.where(at_low[todo], low, np.where(at_high[todo], high, 0.0))
        # Rows and columns of bound unknowns become the identity.
        system = a[todo] * (~bound[:, :, None] & ~bound[:, None, :])
        system[:, np.arange(n), np.arange(n)] += bound
        right = np.where(bound, held, b[todo] - np.einsum("tij,tj->ti", a[todo], held))
        x[todo] = np.linalg.solve(system, right[:, :, None])[:, :, 0]
        slope = np.einsum("tij,tj->ti", a[todo], x[todo]) - b[todo]
        now_low = np.where(bound, at_low[todo] & ((slope > 0) | fixed), x[todo] < low)
        now_high = np.where(bound, at_high[todo] & (slope < 0), x[todo] > high)
        changed = ((now_low != at_low[todo]) | (now_high != at_high[todo])).any(axis=1)
        at_low[todo], at_high[todo] = now_low, now_high
        todo = todo[changed]
        if not len(todo):
            return x
    x[todo] = _coordinate_descent(a[todo], b[todo], low, high, np.clip(x[todo], low, high))
    return x


def _coordinate_descent(
    a: np.ndarray, b: np.ndarray, low: np.ndarray, high: np.ndarray, x: np.ndarray
) -> np.ndarray:
    """As `bounded_least_squares`, slowly and surely, from `x` within the box."""
    slope = np.einsum("tij,tj->ti", a, x) - b
    for _ in range(SWEEPS):
        largest = 0.0
        for i in range(a.shape[1]):
            moved = np.clip(x[:, i] - slope[:, i] / a[:, i, i], low[i], high[i]) - x[:, i]
            x[:, i] += moved
            slope += moved[:, None] * a[:, i]
            largest = max(largest, float(np.abs(moved).max()))
        if largest < 1e-9:
            break
    return x
