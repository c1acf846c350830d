"""The built generations that a cache consists of, however they were joined since."""

import hashlib
from collections.abc import Iterable, Sequence
from typing import Final

from frame_store.frame_findings import Record
from frame_store.manifest.records import require_sha256
from frame_store.shared import counted

MANY_GENERATIONS: Final = 16
"""More than so many generations are worth joining: each has an index, shards and a table of its own to open."""


def many_generations_hint(num_generations: int) -> str | None:
    """What to do about many generations; None for a number that is no burden.

    >>> many_generations_hint(17)
    '17 generations; more than 16 are worth joining: cache-compact, or cache-compact --all'
    """
    if num_generations <= MANY_GENERATIONS:
        return None
    return (
        f"{num_generations} generations; beyond {MANY_GENERATIONS}, joining them is worth it: cache-compact"
    )


class PartEntry(Record, frozen=True, kw_only=True):
    """A generation as a build made it."""

    fingerprint: str
    """SHA-256 of its inputs and its configuration."""
    num_frames: int
    num_videos: int
    shard_sizes: list[tuple[int, int]]
    """Frames per shard as it was built, as runs (frames of each shard, number of such shards)."""

    def __post_init__(self) -> None:
        """Refuse numbers that no generation has."""
        require_sha256("fingerprint of a part", self.fingerprint)
        if self.num_frames < 1 or self.num_videos < 1:
            raise ValueError(f"num_frames of a part is {self.num_frames}, num_videos is {self.num_videos}")
        if any(size < 1 or count < 1 for size, count in self.shard_sizes):
            raise ValueError("shard_sizes of a part are runs of (frames, shards), each 1 or more")
        found = sum(size * count for size, count in self.shard_sizes)
        if found != self.num_frames:
            raise ValueError(
                f"shards of a part hold {counted(found, 'frame')}, the part has {self.num_frames}"
            )


def joined_fingerprint(fingerprints: Sequence[str]) -> str:
    """What identifies built generations that follow each other: of a single one its fingerprint, else SHA-256.

    It does not depend on how they were joined.

    >>> joined_fingerprint(["ab"])
    'ab'
    """
    if len(fingerprints) == 1:
        return fingerprints[0]
    return hashlib.sha256(" ".join(["generations", *fingerprints]).encode()).hexdigest()


def runs_of(sizes: Iterable[int]) -> list[tuple[int, int]]:
    """Numbers as runs (number, how often it comes in a row).

    >>> runs_of([5, 5, 4])
    [(5, 2), (4, 1)]
    """
    runs: list[tuple[int, int]] = []
    for size in sizes:
        if runs and runs[-1][0] == size:
            runs[-1] = (size, runs[-1][1] + 1)
        else:
            runs.append((size, 1))
    return runs
