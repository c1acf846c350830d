"""Closed forms for the bias of a frame sampler: which frames it shows, and how often.

A law is the share of a batch's slots that each frame fills on average. Where it is uniform, the expected gradient is
that of i.i.d. frames. Where it is not, chi^2 says how far off it can be: a mean over frames is wrong by at most
sqrt(chi^2) standard deviations. `SAMPLING.md` derives the formulas, numbered (S1), (S2), ...
"""

import operator

import numpy as np
import numpy.typing as npt

from frame_store import shared
from frame_store.shared import counted
from loader.errors import SamplingError
from loader.sampling.orders import check_shard_sizes

Reals = npt.NDArray[np.float64]


def chi2_of_uniform_shards(shard_sizes: npt.ArrayLike) -> float:
    """Chi^2 of drawing every shard alike and then its frames alike (S3): see `shard_balance`.

    Raises:
        SamplingError: not shard sizes.
    """
    return shared.chi2_of_uniform_shards(_held(shard_sizes))


def chi2_of_dropped_tail(num_frames: int, num_dropped: int) -> float:
    """Chi^2 of showing all frames alike but the same `num_dropped` never, r / (N - r) (S12).

    >>> chi2_of_dropped_tail(100, 20)
    0.25

    Raises:
        SamplingError: not 0 <= num_dropped < num_frames.
    """
    if not 0 <= operator.index(num_dropped) < operator.index(num_frames):
        raise SamplingError(f"cannot drop {num_dropped} of {counted(num_frames, 'frame')} and show the rest")
    return num_dropped / (num_frames - num_dropped)


def chi2_of_padding(num_frames: int, num_padded: int) -> float:
    """Chi^2 of a sequential epoch that starts again until `num_padded` more slots are filled (S13).

    With b = num_padded mod N it is b (N - b) / (N + num_padded)^2: b frames are shown once more than the others.

    Raises:
        SamplingError: no frames, or a negative number of padded slots.
    """
    if operator.index(num_frames) < 1 or operator.index(num_padded) < 0:
        raise SamplingError(f"cannot pad {counted(num_frames, 'frame')} by {num_padded}")
    again = num_padded % num_frames
    return again * (num_frames - again) / (num_frames + num_padded) ** 2


def _held(shard_sizes: npt.ArrayLike) -> npt.NDArray[np.int64]:
    sizes = check_shard_sizes(shard_sizes)
    return sizes[sizes > 0]


def check_law(law: npt.ArrayLike) -> Reals:
    """The law as float64, flat.

    Raises:
        SamplingError: not one flat list of probabilities, or they do not sum to 1.
    """
    probability = np.asarray(law, np.float64)
    if probability.ndim != 1 or not probability.size or not (probability >= 0).all():
        raise SamplingError(f"a law is a flat list of probabilities, found {probability!r}")
    if abs(probability.sum() - 1) > 1e-9:
        raise SamplingError(f"the probabilities of a law sum to 1, found {probability.sum()}")
    return probability
