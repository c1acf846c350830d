"""The report on plain `webdataset` over the same shards, in the same terms as that on our samplers."""

from dataclasses import dataclass

import numpy.typing as npt

from frame_store.shared import chi2_of_uniform_shards, counted
from loader.bias.checks import Integers
from loader.bias.distributions import SamplingLaw
from loader.bias.pairs import pair_chi2_of_classes
from loader.bias.report import NEEDS_RHO, BiasReport, report_of_effects, stream_design_effect
from loader.bias.rho import RhoEstimate
from loader.bias.webdataset.kappa import is_exact_kappa, webdataset_kappa
from loader.errors import SamplingError
from loader.sampling.orders import check_shard_sizes


@dataclass(frozen=True, kw_only=True)
class WebDatasetSpec:
    """Shards in a random order, split among workers. Each worker reads its shards through a shuffle buffer.

    This is the order of `loader.webdataset_batches`, and of plain webdataset,
    `webdataset.WebDataset(urls, shardshuffle=True).shuffle(Q, initial=I)`.

    Raises:
        SamplingError: a number below 1.
    """

    shuffle_buffer: int = 1000
    """Frames in the buffer of each worker, Q."""
    initial: int | None = None
    """Frames in the buffer before the first leaves it; None for a full buffer."""
    num_workers: int = 1
    """DataLoader workers of each rank. A batch comes from one of them."""

    def __post_init__(self) -> None:
        """Check the numbers."""
        for name in ("shuffle_buffer", "initial", "num_workers"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise SamplingError(f"{name} must be 1 or more, found {value}")

    def __str__(self) -> str:
        return f"webdataset shuffle_buffer={self.shuffle_buffer} num_workers={self.num_workers}"


def webdataset_report(
    shard_sizes: npt.ArrayLike,
    spec: WebDatasetSpec,
    *,
    batch_size: int,
    world_size: int = 1,
    rho: RhoEstimate | None,
) -> BiasReport:
    """Law and design effect of a global batch: one batch of `batch_size` frames from each of `world_size` ranks.

    Every frame is shown once an epoch, but frames of small shards are more likely at its ends. Ranks own different
    shards, so slots of two ranks never share one: kappa of the global batch is (B - 1) / (R B - 1) times that of a
    rank's batch (S48).

    By steps (S50) a short last batch of a worker weighs more. Then chi^2 is computed by slots, and marked so. The
    chi^2 of pairs is a lower bound (S52).

    Raises:
        SamplingError: fewer shards than workers of all ranks together, or no whole batch.
    """
    sizes = check_shard_sizes(shard_sizes)
    held = sizes[sizes > 0]
    num_readers = spec.num_workers * world_size
    if num_readers > len(held):
        raise SamplingError(
            f"{counted(num_readers, 'worker')} of all ranks together cannot share the "
            f"{counted(len(held), 'shard that holds', 'shards that hold')} frames"
        )
    kappa_of_a_rank = webdataset_kappa(
        held,
        shuffle_buffer=spec.shuffle_buffer,
        initial=spec.initial,
        batch_size=batch_size,
        num_workers=num_readers,
    )
    slots = batch_size * world_size
    kappa = kappa_of_a_rank * (batch_size - 1) / max(1, slots - 1)
    is_exact = is_exact_kappa(held, num_workers=num_readers)
    at_ends = chi2_of_uniform_shards(held)  # the first shard is drawn uniformly (S10)
    law = SamplingLaw(
        name=str(spec),
        num_frames=int(sizes.sum()),
        slots_per_batch=slots,
        slots_per_visit=1,
        shard_probability=sizes / sizes.sum(),
        chi2=0.0,
        chi2_over_windows=None,
        total_variation=0.0,
        max_over_representation=1.0,
        chi2_at_start=at_ends,
        chi2_at_middle=0.0 if at_ends == 0 else None,
        chi2_at_end=at_ends,
        kappa={"shard": kappa},
        visit_kappa=None,
        num_positions_dropped=0,
        num_positions_doubled=0,
        because="every frame is shown once an epoch; at its ends, before the buffer, all shards are equally likely",
        kappa_is_exact=is_exact,
        chi2_of_pairs=pair_chi2_of_classes(kappa_of_a_rank, held) if batch_size > 1 else None,
        chi2_of_pairs_is_exact=False,
        chi2_of_pairs_is_bound=is_exact,
        chi2_is_by_slots=not _all_batches_are_whole(held, batch_size, num_workers=num_readers),
    )
    if rho is None:
        return report_of_effects(law, None, rho=None, why=NEEDS_RHO, bias=0.0)
    effects = [stream_design_effect(law, held, value) for value in (rho.rho, rho.low, rho.high)]
    why = "from rho, as for equal shards whose frames lie in random order"
    return report_of_effects(law, effects, rho=rho, basis="approximate", why=why, bias=0.0)


def _all_batches_are_whole(sizes: Integers, batch_size: int, *, num_workers: int) -> bool:
    """Whether every worker's frames fill whole batches, for every way to deal the shards."""
    if num_workers == 1:
        return bool(sizes.sum() % batch_size == 0)
    if sizes.min() != sizes.max():
        return not (sizes % batch_size).any()
    numbers = {len(sizes) // num_workers, -(-len(sizes) // num_workers)}
    return not any(number * int(sizes[0]) % batch_size for number in numbers)
