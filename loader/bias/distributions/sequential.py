"""The order on disk (`sequential`), the same in every epoch."""

from dataclasses import replace

from loader.bias.checks import Integers
from loader.bias.distributions.last_batch import fixed_order_law
from loader.bias.distributions.law import SamplingLaw
from loader.bias.distributions.uniform import uniform_law
from loader.bias.pairs import sequential_kappa
from loader.sampling import SamplingSpec


def sequential_law(
    sizes: Integers, spec: SamplingSpec, batch_size: int, *, dropped: int, doubled: int
) -> SamplingLaw:
    """Uniform over an epoch of whole batches, certain at each position."""
    num_frames = int(sizes.sum())
    # All ranks' batches together are the order on disk, cut every batch_size positions. A short batch is not counted.
    num_batches = (num_frames - dropped + doubled) // batch_size
    law = uniform_law(
        sizes,
        spec,
        batch_size,
        kappa=sequential_kappa(sizes, batch_size, num_batches),
        because="every epoch shows every frame once, always at the same position and in the same batch",
        dropped=dropped,
        doubled=doubled,
    )
    certain = float(num_frames - 1)  # one frame has all the probability
    return replace(
        fixed_order_law(law),
        chi2_at_start=certain,
        chi2_at_middle=certain,
        chi2_at_end=certain,
        # A batch may be one picture, and the frames in no whole batch may be equal to the mean.
        proven_worst_effect=num_frames * -(-num_batches * batch_size // num_frames) / max(1, num_batches),
    )
