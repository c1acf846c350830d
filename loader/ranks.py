"""Which share of an epoch a process takes, and whether somebody forgot to say so."""

import os
import warnings

from frame_store.arguments import whole_number
from loader.errors import SamplingError


class UnshardedWarning(UserWarning):
    """Several processes train, and each of them reads every frame."""


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
    found = ", ".join(f"{name} {'is not set' if text is None else f'= {text!r}'}" for name, text in texts.items())
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


class RankChoice:
    """`rank` and `world_size` as a caller gave them, or did not; warns once where they should have been given."""

    def __init__(self, *, maker: str, rank: int | None, world_size: int | None) -> None:
        """Check what was given, and warn where several processes train already.

        Args:
            maker: whose options these are, for the messages.
            rank: None where it was not given; then `world_size` must not be given, either.
            world_size: None where it was not given.

        Raises:
            SamplingError: only one of them was given, or one is no whole number.
        """
        if (rank is None) != (world_size is None):
            raise SamplingError(
                f"rank and world_size belong together, found rank={rank} and world_size={world_size}; "
                f"loader.rank_and_world_size() has both"
            )
        self._maker = maker
        self._must_check = rank is None
        self.rank = 0 if rank is None else whole_number("rank", rank, error=SamplingError)
        self.world_size = 1 if world_size is None else whole_number("world_size", world_size, error=SamplingError)

    def warn_if_unsharded(self, *, stacklevel: int) -> None:
        """Warn, once, where no rank was given and several processes train: `torch.distributed` and WORLD_SIZE tell."""
        if not self._must_check:
            return
        num_processes, how_known = _num_training_processes()
        if num_processes > 1:
            self._must_check = False
            warnings.warn(
                f"{num_processes} processes train ({how_known}), and {self._maker} was given no rank: each of them "
                f"reads every frame; give rank, world_size = loader.rank_and_world_size(), or rank=0, world_size=1 "
                f"where each is to read them all",
                UnshardedWarning,
                stacklevel=stacklevel + 1,
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
