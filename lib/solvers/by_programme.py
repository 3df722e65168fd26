"""The ascent of `quadratic`, programme by programme: for the CPU, compiled by numba.

There a step goes over the slopes of all programmes; here one programme's stay in the processor's cache from its first
step to its last, and no more than the rows that press enter its Newton system. All of it in float64. (Copies are loops:
numba takes seconds to compile an assignment of arrays.)
"""

import math

import numpy as np

from .rowwise import compiled, inner

HALVINGS = 40  # of a step, until the dual rises
RIDGE = 1e-9  # without it rows that depend on each other, or all of whose pixels are clipped, have a singular system
EPS = float(np.finfo(np.float64).eps)
TINY = float(np.finfo(np.float64).tiny)


@compiled
def ascend(multipliers, slopes, bounds, lower, upper, tolerance, max_iterations, armijo):
    """Move multipliers (N, k) up the dual of N programmes, in place, to its top.

    slopes : (N, k, n), rows of length 1 or 0; bounds : (N, k); lower, upper : (N, n); tolerance, max_iterations : as in
    `quadratic.project`; armijo : the part of the promised rise that a step has to bring.
    """
    num, k, n = slopes.shape
    y, trial, slack, trial_slack = np.empty(k), np.empty(k), np.empty(k), np.empty(k)
    r, inside = np.empty(n), np.empty(n)
    for p in range(num):
        A, b, low, high = slopes[p], bounds[p], lower[p], upper[p]
        for i in range(k):
            y[i] = multipliers[p, i]
        value, length = _dual(y, A, b, low, high, r, inside, slack)
        for _ in range(max_iterations):
            if not _violation(y, slack, length) > tolerance:
                break
            step = _newton_step(y, A, inside, slack)
            size, risen = 1.0, False
            for _ in range(HALVINGS):
                promised = 0.0
                for i in range(k):
                    trial[i] = max(y[i] + size * step[i], 0.0)
                    promised += slack[i] * (trial[i] - y[i])
                trial_value, trial_length = _dual(trial, A, b, low, high, r, inside, trial_slack)
                risen = trial_value >= value + armijo * promised - 8 * EPS * abs(value)
                if risen:
                    break
                size /= 2
            if not risen:  # bent where multipliers reach 0, a Newton step may lead down; this one does not
                for i in range(k):
                    trial[i] = max(y[i] + slack[i] / k, 0.0)
                trial_value, trial_length = _dual(trial, A, b, low, high, r, inside, trial_slack)
            for i in range(k):
                y[i], slack[i] = trial[i], trial_slack[i]
            value, length = trial_value, trial_length
        for i in range(k):
            multipliers[p, i] = y[i]


@inner
def _dual(y, A, b, low, high, r, inside, slack):
    """The dual's value at y and |r| of the r that tells it. Into r, where it is not clipped, and b - A r."""
    k, n = A.shape
    for j in range(n):
        r[j] = 0.0
    for i in range(k):
        if y[i] != 0:
            for j in range(n):
                r[j] += y[i] * A[i, j]
    squares = 0.0
    for j in range(n):
        unclipped = r[j]
        r[j] = min(max(unclipped, low[j]), high[j])
        inside[j] = np.float64(r[j] == unclipped)
        squares += r[j] * r[j]
    value = squares / 2
    for i in range(k):
        product = 0.0
        for j in range(n):
            product += A[i, j] * r[j]
        slack[i] = b[i] - product
        value += y[i] * slack[i]
    return value, math.sqrt(squares)


@inner
def _violation(y, slack, length):
    largest = 0.0
    for i in range(len(y)):
        largest = max(largest, abs(slack[i]) if y[i] > 0 else slack[i])
    return largest / max(length, TINY)


@inner
def _newton_step(y, A, inside, slack):
    """Up the dual in the multipliers that are free to move, 0 in the others, (k,); by Cholesky's factors."""
    k, n = A.shape
    free, size, step = np.empty(k, np.int64), 0, np.zeros(k)
    for i in range(k):
        if y[i] > 0 or slack[i] > 0:
            free[size] = i
            size += 1
    L, u = np.empty((size, size)), np.empty(size)
    for a in range(size):
        for c in range(a + 1):
            total = RIDGE if a == c else 0.0
            for j in range(n):
                total += inside[j] * A[free[a], j] * A[free[c], j]
            for i in range(c):
                total -= L[a, i] * L[c, i]
            L[a, c] = total / L[c, c] if c < a else math.sqrt(max(total, RIDGE))
        u[a] = slack[free[a]]
        for i in range(a):
            u[a] -= L[a, i] * u[i]
        u[a] /= L[a, a]
    for a in range(size - 1, -1, -1):
        for i in range(a + 1, size):
            u[a] -= L[i, a] * u[i]
        u[a] /= L[a, a]
        step[free[a]] = u[a]
    return step
