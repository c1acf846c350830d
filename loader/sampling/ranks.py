"""Which share of an epoch a process takes, and whether somebody forgot to say so."""

import os

from frame_store.shared import whole_number
from loader.errors import SamplingError, UnshardedWarning, warn_caller


def rank_and_world_size() -> tuple[int, int]:
    """What to give as `rank` and `world_size`: as `torch.distributed` says, where it is set up.

    Else as the environment says (RANK and WORLD_SIZE, which torchrun and `accelerate launch` set), and (0, 1) where it
    says nothing.

    Raises:
        SamplingError: only one of RANK and WORLD_SIZE is set, or they are no rank of a world size.
    """
    ranks = _ranks_of_torch()
    return ranks if ranks is not None else _ranks_of_environment()


def _ranks_of_torch() -> tuple[int, int] | None:
    """Rank and world size of `torch.distributed`, None where it is not set up."""
    from torch import distributed

    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    return None


def _ranks_of_environment() -> tuple[int, int]:
    texts = {name: os.environ.get(name) for name in ("RANK", "WORLD_SIZE")}
    if all(text is None for text in texts.values()):
        return 0, 1
    found = ", ".join(
        f"{name} {'is not set' if text is None else f'= {text!r}'}" for name, text in texts.items()
    )
    try:
        rank, world_size = (int(text) for text in texts.values() if text is not None)
    except ValueError:
        rank, world_size = 0, 0
    if not 0 <= rank < world_size:
        raise SamplingError(
            f"the environment must hold whole numbers 0 <= RANK < WORLD_SIZE, or neither of the two; found {found}; "
            f"set both, or ask once torch.distributed is set up (with Lightning: in train_dataloader)"
        )
    return rank, world_size


def check_ranks(rank: int | None, world_size: int | None) -> None:
    """Refuse half of what belongs together.

    Raises:
        SamplingError: only one of them was given, or one is no whole number.
    """
    for name, value in (("rank", rank), ("world_size", world_size)):
        if value is not None:
            whole_number(name, value, error=SamplingError)
    if (rank is None) != (world_size is None):
        raise SamplingError(
            f"rank and world_size belong together, found rank={rank} and world_size={world_size}; "
            f"loader.rank_and_world_size() says both"
        )


class ShardingCheck:
    """Whether a loader that was given no rank is one of several processes that train; says so once."""

    def __init__(self, *, maker: str, is_rank_given: bool) -> None:
        """For a loader that `maker` makes; silent where its rank was given."""
        self._maker = maker
        self._is_done = is_rank_given

    def warn_if_unsharded(self) -> None:
        """Warn where `torch.distributed` is set up for several processes, or else WORLD_SIZE speaks of them."""
        if self._is_done:
            return
        num_processes, how_known = _num_training_processes()
        if num_processes > 1:
            self._is_done = True
            warn_caller(
                f"{num_processes} processes train ({how_known}), and {self._maker} was given no rank, so each of "
                f"them reads every frame; give rank and world_size, as loader.rank_and_world_size() says them, or "
                f"rank=0, world_size=1 where each is to read them all (or a framework shards what it reads)",
                UnshardedWarning,
            )


def _num_training_processes() -> tuple[int, str]:
    """How many processes evidently train together, and how that is known."""
    ranks = _ranks_of_torch()
    if ranks is not None:
        return ranks[1], "torch.distributed is set up for them"
    try:
        return int(os.environ.get("WORLD_SIZE", "1")), "WORLD_SIZE says so"
    except ValueError:
        return 1, "WORLD_SIZE is no number"
