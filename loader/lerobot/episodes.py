"""Which row of the cache an index of LeRobot means, also where episodes were left out."""

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Final

import numpy as np

from frame_store.errors import FrameIdError
from frame_store.lerobot_statement import LeRobotStatement
from frame_store.shared import counted
from frame_store.source_order import Int64s, SourceOrder
from frame_store.video_table import VideoTable
from loader.errors import LeRobotError

NOT_STORED: Final = -1
_PREFIX: Final = "episode_"


class EpisodeRows:
    """Positions of a data set as rows of source order. Without a choice of episodes, a position is LeRobot's `index`.

    With a choice, positions count the frames of these episodes alone, in the order of `index`, as LeRobot's do.
    """

    def __init__(
        self,
        statement: LeRobotStatement,
        videos: VideoTable,
        order: SourceOrder,
        *,
        chosen: Iterable[int] | None,
        where: str,
        forgotten: Collection[int] = (),
    ) -> None:
        """Look up the episodes by the names of their videos; those of `forgotten` videos are not stored.

        Raises:
            LeRobotError: a video is no episode, an episode has another length than the data set states, or a chosen
                one does not exist or is not in the cache.
        """
        self._where = where
        self._first_row = order.first_row
        self._length = statement.length
        self.video_of = np.full(len(statement.length), NOT_STORED, np.int64)
        """Row in the table of videos of each episode; `NOT_STORED` where the cache has no frame of it: (episodes,)."""
        num_rows, forgotten = np.diff(order.first_row), frozenset(forgotten)
        self.forgotten_episodes: set[int] = set()
        """Episodes whose videos the cache has forgotten. They may be stored, too, where they came again."""
        for video_id, path in enumerate(videos.column("path").tolist()):
            episode = _episode_of(path)
            if video_id in forgotten and episode >= len(self.video_of):
                continue  # the data set no longer has it
            if not 0 <= episode < len(self.video_of):
                raise LeRobotError(f"{where}: video {path!r} is no episode of the data set")
            if video_id in forgotten:
                self.forgotten_episodes.add(episode)
            elif num_rows[video_id]:
                self.video_of[episode] = video_id
        stored = np.flatnonzero(self.video_of != NOT_STORED)
        differs = stored[num_rows[self.video_of[stored]] != self._length[stored]]
        if len(differs):
            episode = int(differs[0])
            raise LeRobotError(
                f"{where}: episode {episode} has {counted(int(num_rows[self.video_of[episode]]), 'frame')}, and the "
                f"data set states {self._length[episode]}; run cache-verify"
            )
        self.stored_episodes: list[int] = stored.tolist()
        """The episodes in the cache, ascending."""
        shown = np.arange(len(self.video_of)) if chosen is None else self._checked(chosen)
        self._episodes = shown[np.argsort(statement.dataset_from_index[shown], kind="stable")]
        """Of the positions, in their order."""
        if chosen is None:
            self._starts = statement.dataset_from_index[self._episodes]
            self._end = int(statement.dataset_to_index.max(initial=0))
        else:
            lengths = self._length[self._episodes]
            self._starts = np.cumsum(lengths) - lengths
            self._end = int(lengths.sum())

    @property
    def stored_videos(self) -> list[int]:
        """Rows in the table of videos that positions are of, in their order, without those that are not stored."""
        videos = self.video_of[self._episodes]
        found: list[int] = videos[videos != NOT_STORED].tolist()
        return found

    def __len__(self) -> int:
        """Positions, also those of episodes that the cache left out."""
        return self._end

    def rows_of(
        self, positions: Sequence[int], reason_of: Callable[[int], str]
    ) -> tuple[Int64s, Int64s, Int64s]:
        """Rows of these positions, and the first and the last row of their episodes: int64, shape (B,) each.

        Raises:
            FrameIdError: (an IndexError) a position outside, or of an episode that the cache left out; `reason_of` says
                why.
        """
        wanted = np.asarray(positions, np.int64)
        is_outside = (wanted < -self._end) | (wanted >= self._end)
        if is_outside.any():
            raise FrameIdError(
                f"Invalid key: {wanted[np.argmax(is_outside)]} is out of bounds for size {self._end}"
            )
        wanted = np.where(wanted < 0, wanted + self._end, wanted)
        number = np.searchsorted(self._starts, wanted, side="right") - 1
        episodes = self._episodes[number]
        frames = wanted - self._starts[number]
        videos = self.video_of[episodes]
        lacks = (videos == NOT_STORED) | (number < 0) | (frames >= self._length[episodes])
        if lacks.any():
            at = int(np.argmax(lacks))
            if number[at] < 0 or frames[at] >= self._length[episodes[at]]:
                raise FrameIdError(f"index {wanted[at]} belongs to no episode of the data set")
            raise FrameIdError(
                f"index {wanted[at]} is frame {frames[at]} of episode {episodes[at]}, which {self._where} left out: "
                f"{reason_of(int(episodes[at]))}; LeRobotFrames(cache, episodes=frames.stored_episodes) has the others"
            )
        first = self._first_row[videos]
        return first + frames, first, first + self._length[episodes] - 1

    def _checked(self, chosen: Iterable[int]) -> Int64s:
        episodes = np.unique(np.fromiter(map(int, chosen), np.int64))
        if not len(episodes):
            raise LeRobotError("episodes must be a list of one or more episodes, or None for all")
        unknown = episodes[(episodes < 0) | (episodes >= len(self.video_of))]
        if len(unknown):
            raise LeRobotError(
                f"episodes: the data set has {counted(len(self.video_of), 'episode')}, found {unknown[0]}"
            )
        missing = episodes[self.video_of[episodes] == NOT_STORED]
        if len(missing):
            raise LeRobotError(
                f"episodes: {self._where} left out episode {missing[0]}; "
                f"stored are {', '.join(map(str, self.stored_episodes[:20]))}"
            )
        return episodes


def _episode_of(path: str) -> int:
    """The number in the name of an episode's video, -1 for any other name.

    >>> _episode_of("episode_000012"), _episode_of("clip.mp4")
    (12, -1)
    """
    digits = path.removeprefix(_PREFIX)
    is_episode = path.startswith(_PREFIX) and digits.isascii() and digits.isdigit() and len(digits) <= 18
    return int(digits) if is_episode else -1
