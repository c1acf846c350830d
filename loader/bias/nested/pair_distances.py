"""How far apart two slots of a batch of a nested order are on the circle, and what follows from it for any data.

Two frames that are d places apart, clockwise, are the frames of two slots with a probability that depends on d alone,
because the circle is turned by a uniform number of places. So the distribution of d says which pairs meet (S66), and
its spectrum says how large the variance of a batch's mean can be.
"""

from collections.abc import Iterator
from typing import Final

import numpy as np

from frame_store.shared import counted
from loader.bias.checks import Integers, Reals, check_batch_size
from loader.bias.nested.mixture import level_shares
from loader.bias.nested.tree_runs import TreeRuns, run_distance_law
from loader.errors import SamplingError
from loader.sampling.orders import draw_without_replacement, epoch_keys, words_at

MAX_PLACES_SUMMED: Final = 1 << 20
"""Limit of places times batches for sums over all batches of an epoch: less than 1 s on one core."""
MAX_ITEMS: Final = 1 << 22
"""Limit of places for sums over some batches."""
_LEAST_BATCHES: Final = 4
"""Batches that are drawn if those of an epoch are too many to sum."""


def is_power_of_two(number: int) -> bool:
    """Whether a number is 1, 2, 4, 8, ..."""
    return number > 0 and number & (number - 1) == 0


def can_sum_batches(num_items: int, *, num_batches: int) -> bool:
    """Whether sums over all batches of an epoch take at most seconds."""
    return num_items * num_batches <= MAX_PLACES_SUMMED


def some_batches(num_items: int, *, num_batches: int, at_least: int) -> Integers:
    """Numbers of different batches of an epoch, as many as `MAX_PLACES_SUMMED` allows, all if possible: int64, (n,).

    They are drawn at random: the starts of batches at equal distances would have equal low bits.
    """
    wanted = min(max(at_least, MAX_PLACES_SUMMED // num_items), num_batches)
    if wanted == num_batches:
        return np.arange(num_batches)
    (key,) = epoch_keys(seed=0, epoch=0, num_keys=1)
    return draw_without_replacement(words_at(key, np.arange(wanted, dtype=np.uint64)), num_batches)


def batch_distances(num_items: int, *, batch_size: int, batches: Integers) -> Iterator[Reals]:
    """`run_distance_law` of batches of an epoch, by their numbers: batch b has the positions from b M on.

    A batch that `pad` fills goes on at the first position.

    Raises:
        SamplingError: a batch of no slot, or of more than there are items.
    """
    _check(num_items, batch_size)
    runs = TreeRuns()
    for batch in batches.tolist():
        start = batch * batch_size % num_items
        yield run_distance_law(num_items, start=start, num_positions=batch_size, runs=runs)


def mean_distances(num_items: int, *, batch_size: int, num_batches: int) -> Reals:
    """The mean of `batch_distances` over the first `num_batches` batches: float64, shape (N,)."""
    if is_power_of_two(num_items):
        num_batches = 1  # all batches have the same
    total = np.zeros(num_items)
    for distances in batch_distances(num_items, batch_size=batch_size, batches=np.arange(num_batches)):
        total += distances
    return total / num_batches


def worst_nested_effect(num_items: int, *, batch_size: int, num_batches: int) -> float | None:
    """The greatest design effect that any data can give, exact, in the mean over the batches of an epoch (S65).

    It is 1 for N = 2^m. For other N it is the largest value of the spectrum 1 + (1/M) sum_d D(d) cos(2 pi k d / N) over
    k > 0, and data that vary as a cosine with k waves attain it. None if the batches of an epoch are too many to sum.

    >>> worst_nested_effect(48, batch_size=16, num_batches=3) > 1
    True

    Raises:
        SamplingError: a batch of no slot, or of more than there are items.
    """
    _check(num_items, batch_size)
    if is_power_of_two(num_items):
        return 1.0
    if not can_sum_batches(num_items, num_batches=num_batches):
        return None
    distances = mean_distances(num_items, batch_size=batch_size, num_batches=num_batches)
    spectrum = np.fft.rfft(distances).real[1:]
    return max(0.0, 1 + float(spectrum.max()) / batch_size)


def nested_pair_chi2(num_items: int, *, batch_size: int, num_batches: int) -> tuple[float, bool] | None:
    """Chi^2 of two slots of a batch against independent pairs, and whether it is exact or an estimate (S66).

    N sum_d P(d)^2 - 1 over the N distances clockwise. It is the same for all batches of N = 2^m items. For other N, P
    is a mean over the batches of an epoch. If these are too many (`can_sum_batches`), the result is an unbiased
    estimate from a few of them, and None for more than `MAX_ITEMS` items.

    Raises:
        SamplingError: a batch without a pair, or of more slots than there are items.
    """
    _check(num_items, batch_size)
    if batch_size < 2:
        raise SamplingError("a batch of one frame holds no pair")
    if is_power_of_two(num_items):
        return _sum_of_squares(num_items, batch_size) - 1, True
    if num_items > MAX_ITEMS:
        return None
    batches = some_batches(num_items, num_batches=num_batches, at_least=_LEAST_BATCHES)
    total, squares = np.zeros(num_items), 0.0
    for distances in batch_distances(num_items, batch_size=batch_size, batches=batches):
        law = distances / (batch_size * (batch_size - 1))
        total += law
        squares += float(law @ law)
    drawn = len(batches)
    own, different = squares / drawn, (float(total @ total) - squares) / max(1, drawn * (drawn - 1))
    # The mean over all pairs of batches: of one with itself, and of two different ones.
    mean = own / num_batches + different * (1 - 1 / num_batches)
    return num_items * mean - 1, drawn == num_batches


def limit_pair_chi2(batch_size: int) -> float:
    """Chi^2 of two of M neighbouring points on a continuous circle against independent points (S66), (S67).

    Frames that share the circle by weight have at most this chi^2, because a frame is a function of a point. It is
    also the limit of `nested_pair_chi2` for N = 2^m, m growing.

    Raises:
        SamplingError: fewer than two points.
    """
    if batch_size < 2:
        raise SamplingError("a batch of one frame holds no pair")
    shares = level_shares(batch_size)
    edges = np.append(0.0, 0.5 ** np.arange(len(shares), 0.0, -1.0))
    density = (_density(edges, shares) + _density(1 - edges, shares)) / 2
    left, right = density[:-1], density[1:]
    return 2 * float(np.diff(edges) @ (left**2 + left * right + right**2)) / 3 - 1


def _sum_of_squares(num_items: int, batch_size: int) -> float:
    """N sum_d P(d)^2 for N = 2^m: P is linear between the distances N / 2^j, and the same clockwise and back."""
    shares = level_shares(batch_size)
    edges = num_items >> np.arange(len(shares), 0, -1)
    edges = np.append(0, edges)
    values = (_density(edges / num_items, shares) + _density(1 - edges / num_items, shares)) / 2
    counts, steps = np.diff(edges).astype(np.float64), np.diff(values)
    # The sum over the distances after an edge, up to the next: left + i step / count for i = 1, ..., count.
    left = values[:-1]
    sums = (
        counts * left**2
        + left * steps * (counts + 1)
        + steps**2 * (counts + 1) * (2 * counts + 1) / (6 * counts)
    )
    return (
        2 * float(sums.sum()) - float(values[-1]) ** 2
    ) / num_items  # the distance N / 2 is its own reverse


def _density(distances: Reals, shares: Reals) -> Reals:
    """Density of the distance of two points in one arc of level v, each uniform in another half of it, mixed over v."""
    widths = 0.5 ** np.arange(1.0, len(shares) + 1)[:, None]
    triangles = np.maximum(widths - np.abs(distances - widths), 0) / widths**2
    mixed: Reals = shares @ triangles
    return mixed


def _check(num_items: int, batch_size: int) -> None:
    check_batch_size(batch_size)
    if batch_size > num_items:
        raise SamplingError(f"no batch of {batch_size} in an order of {counted(num_items, 'item')}")
