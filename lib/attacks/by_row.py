"""c|r| + loss, image by image: `penalized`'s objective for float32 on the CPU, compiled by numba.

The network's own passes stay torch's. What is done with a vector of pixels between them is one walk over it here, where
the operations of torch need ten, and a call each.
"""

import math

import numpy as np

from ..solvers.rowwise import compiled, inner


@compiled
def cross_entropies(logits, targets, rows):
    """Of logits (k, K), those of some rows: the losses (k,) towards the rows' targets, their gradients (k, K), which
    are softmax less one at the target, and the targets' leads (k,).

    nan where a logit is nan.
    """
    num, num_classes = logits.shape
    losses, weights, leads = np.empty(num), np.empty((num, num_classes), np.float32), np.empty(num)
    for i in range(num):
        wanted = targets[rows[i]]
        target, rival = logits[i, wanted], np.float32(-np.inf)
        for k in range(num_classes):
            if k != wanted and not logits[i, k] <= rival:  # nan is a rival that nothing beats
                rival = logits[i, k]
            if math.isnan(rival):
                break
        largest = max(target, rival)
        total = 0.0
        for k in range(num_classes):
            total += math.exp(np.float64(logits[i, k]) - np.float64(largest))
        for k in range(num_classes):
            weights[i, k] = math.exp(np.float64(logits[i, k]) - np.float64(largest)) / total
        weights[i, wanted] -= 1
        losses[i] = math.log(total) + (np.float64(largest) - np.float64(target))
        leads[i] = target - rival
    return losses, weights, leads


@compiled
def add_lengths(images, rows, x, prices, values, gradients, leads, enough, shortest, norms):
    """To the losses and their gradients of `images`, those of some rows of x, add c|r| and its gradient c r/|r|.

    At r = 0 the subgradient is taken that makes the whole shortest (`penalized._shortest_subgradient`). Where the lead
    is enough and the image nearer than the row's shortest so far, it is the shortest.
    """
    for i in range(len(rows)):
        row = rows[i]
        image, origin, gradient, c = images[i], x[row], gradients[i], prices[row]
        squares = 0.0
        for k in range(len(image)):
            squares += np.float64(image[k] - origin[k]) * np.float64(image[k] - origin[k])
        norm = math.sqrt(squares)
        values[i] += c * norm
        if norm > 0:
            scale = np.float32(c / norm)
            for k in range(len(image)):
                gradient[k] += scale * (image[k] - origin[k])
        else:
            _shorten(gradient, image, c)
        if leads[i] > enough[row] and norm < norms[row]:
            norms[row] = norm
            for k in range(len(image)):
                shortest[row, k] = image[k]


@inner
def _shorten(gradient, image, c):
    """Shorten by c what leads down and into the box."""
    squares = 0.0
    for k in range(len(image)):
        squares += 0.0 if _is_blocked(image[k], gradient[k]) else np.float64(gradient[k]) * np.float64(gradient[k])
    length = math.sqrt(squares)
    left = np.float32(1 - min(c, length) / length) if length > 0 else np.float32(1)
    for k in range(len(image)):
        if not _is_blocked(image[k], gradient[k]):
            gradient[k] *= left


@inner
def _is_blocked(pixel, slope):
    return (pixel <= 0 and slope > 0) or (pixel >= 1 and slope < 0)
