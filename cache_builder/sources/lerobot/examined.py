"""A data set while it is compared with itself: its metadata, and what is known against each episode."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cache_builder.sources.lerobot.episodes import Episodes
from cache_builder.sources.lerobot.info import LeRobotInfo


class Problems:
    """The first reason against each episode. An episode with a problem is left out of every camera."""

    def __init__(self, num_episodes: int) -> None:
        """Nothing is known yet."""
        self._texts: list[str | None] = [None] * num_episodes

    def add(self, episode: int, text: str) -> None:
        """Note a reason, unless there is one."""
        if self._texts[episode] is None:
            self._texts[episode] = text

    def add_all(self, episodes: Iterable[int], text: str) -> None:
        """Note a reason for several episodes."""
        for episode in episodes:
            self.add(episode, text)

    def of(self, episode: int) -> str | None:
        """The reason; None if nothing is known against the episode."""
        return self._texts[episode]

    @property
    def any(self) -> bool:
        """Whether an episode has one."""
        return any(text is not None for text in self._texts)

    def fine(self) -> npt.NDArray[np.int64]:
        """The episodes without a problem, ascending."""
        return np.flatnonzero([text is None for text in self._texts])


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Examined:
    """A data set in the folder `root`, and the problems found so far."""

    root: Path
    info: LeRobotInfo
    episodes: Episodes
    problems: Problems = field(init=False)

    def __post_init__(self) -> None:
        """Begin with no problems."""
        object.__setattr__(self, "problems", Problems(len(self.episodes)))

    @property
    def max_rows(self) -> int:
        """The most rows that a data file may have: its size in memory is bounded by what the metadata promises.

        That is twice the promise, so that a few rows too many are told of their episode, and not of the whole file.
        """
        lengths = np.maximum(self.episodes.length, 0)
        return 2 * int(max(self.info.total_frames, lengths.sum(), self.episodes.to_index.max()))
