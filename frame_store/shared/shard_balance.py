"""How unequal the shards of a cache are."""

import numpy as np
import numpy.typing as npt


def chi2_of_uniform_shards(shard_sizes: npt.ArrayLike) -> float:
    """Chi^2 of drawing a shard uniformly and then one of its frames uniformly, A / H - 1 (SAMPLING.md S3).

    A is the arithmetic mean and H the harmonic mean of `shard_sizes`, shape (S,), in frames. Shards without frames are
    left out. The reference distribution is uniform over frames, so 0 means no bias.

    >>> chi2_of_uniform_shards([10, 10]), round(chi2_of_uniform_shards([1000] * 499 + [100, 0]), 3)
    (0.0, 0.016)
    """
    sizes = np.asarray(shard_sizes)
    sizes = sizes[sizes > 0]
    # A / H - 1 is the sum of (A - n)^2 / n over S A, in which no two numbers of one size are subtracted.
    mean = sizes.mean()
    return float(((sizes - mean) ** 2 / sizes).mean() / mean)
