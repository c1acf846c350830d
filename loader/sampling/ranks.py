"""The rank of this process, and a warning if several processes train and the loader was given no rank."""

import os

from frame_store.shared import whole_number
from loader.errors import SamplingError, UnshardedWarning, warn_caller


def rank_and_world_size() -> tuple[int, int]:
    """The values to give as `rank` and `world_size`.

    They come from `torch.distributed` if it is set up, otherwise from the environment variables RANK and WORLD_SIZE,
    which torchrun and `accelerate launch` set. Without either they are (0, 1).

    Raises:
        SamplingError: only one of RANK and WORLD_SIZE is set, or they are not 0 <= rank < world size.
    """
    ranks = _ranks_of_torch()
    return ranks if ranks is not None else _ranks_of_environment()


def _ranks_of_torch() -> tuple[int, int] | None:
    """Rank and world size of `torch.distributed`; None if it is not set up."""
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
            f"set both, or call this after torch.distributed is set up (with Lightning: in train_dataloader)"
        )
    return rank, world_size


def check_ranks(rank: int | None, world_size: int | None) -> None:
    """Refuse a rank without a world size, and a world size without a rank.

    Raises:
        SamplingError: only `rank` or only `world_size` was given, or a value is not a whole number.
    """
    for name, value in (("rank", rank), ("world_size", world_size)):
        if value is not None:
            whole_number(name, value, error=SamplingError)
    if (rank is None) != (world_size is None):
        raise SamplingError(
            f"rank and world_size belong together, found rank={rank} and world_size={world_size}; "
            f"loader.rank_and_world_size() gives both"
        )


class ShardingCheck:
    """Warns once if a loader was given no rank and several processes train."""

    def __init__(self, *, maker: str, is_rank_given: bool) -> None:
        """For a loader that `maker` makes; never warns if its rank was given."""
        self._maker = maker
        self._is_done = is_rank_given

    def warn_if_unsharded(self) -> None:
        """Warn if `torch.distributed` is set up for several processes, or WORLD_SIZE is above 1."""
        if self._is_done:
            return
        num_processes, how_known = _num_training_processes()
        if num_processes > 1:
            self._is_done = True
            warn_caller(
                f"{num_processes} processes train ({how_known}), and {self._maker} was given no rank, so each of "
                f"them reads every frame; give rank and world_size, from loader.rank_and_world_size(), or "
                f"rank=0, world_size=1 if each shall read all frames (or if a framework shards the batches)",
                UnshardedWarning,
            )


def _num_training_processes() -> tuple[int, str]:
    """How many processes train together, and the source of this number."""
    ranks = _ranks_of_torch()
    if ranks is not None:
        return ranks[1], "torch.distributed is set up for them"
    try:
        return int(os.environ.get("WORLD_SIZE", "1")), "WORLD_SIZE is that number"
    except ValueError:
        return 1, "WORLD_SIZE is not a number"
