"""The shards of a cache as far as they lie in a bounded folder, and what has them downloaded there."""

import threading
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from frame_store.remote.folder import BoundedFolder
from frame_store.remote.held_file import HeldFile
from frame_store.remote.parts import PartDownloads
from frame_store.remote.requests import ObjectClient
from frame_store.remote.shards.feed import ShardFeed, ShardObject
from frame_store.shared import counted

_OTHERS_SECONDS: Final = 120.0
"""How long a download by another process is waited for. Its frames are read by ranges then."""


class FolderWarning(UserWarning):
    """A folder of downloaded shards does not do what it is for; frames are read by ranges, which is slower."""


class ShardFolder:
    """The shards of a cache as far as they lie in a folder, and what downloads them. Threads may share it.

    Each process makes its own, and all share the files.
    """

    def __init__(
        self,
        client: ObjectClient,
        folder: BoundedFolder,
        shards: Sequence[ShardObject],
        *,
        num_frames: npt.NDArray[np.int64],
    ) -> None:
        """Of shards with `num_frames` frames each, int64, shape (S,), in the order of frame ids. Asks for nothing."""
        self.client, self.folder, self.shards = client, folder, shards
        self._ends = np.cumsum(num_frames)
        self._downloads = PartDownloads()
        mean = sum(shard.num_bytes for shard in shards) // max(1, len(shards))
        self._parts_per_shard = max(1, -(-mean // self._downloads.part_bytes))
        self._feeds: list[ShardFeed] = []
        self._lock = threading.Lock()
        self._has_warned = False

    def shards_of(self, frame_ids: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """The shard of each frame: int64, of the same shape."""
        return np.searchsorted(self._ends, frame_ids, side="right")

    def feed(self, upcoming: Iterator[npt.NDArray[np.int64]], *, num_in_flight: int) -> ShardFeed:
        """Begin to download what the batches `upcoming` want; each is the ids of its frames, shape (B,).

        `num_in_flight` batches are read at the same time.
        """
        feed = ShardFeed(self, upcoming, num_in_flight=num_in_flight)
        with self._lock:
            self._feeds = [*self._feeds, feed]
        feed.start()
        return feed

    def held(self, shard: int) -> HeldFile | None:
        """The file of a shard that is read now; None where its frames are to be read by ranges.

        Waits for a shard that is, or is about to be, downloaded for a feed that wants much of it.
        """
        name = self.shards[shard].name
        held = self.folder.held(name)
        if held is not None:
            return held
        for feed in self._feeds:
            if feed.waits_for(shard):
                return self.folder.held(name)
        return None

    def not_expected(self, frame_ids: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Those frames whose shards will not be in the folder when they are read."""
        of_frame = self.shards_of(frame_ids)
        missing = [shard for shard in set(of_frame.tolist()) if not self._is_expected(shard)]
        return frame_ids[np.isin(of_frame, missing)] if missing else frame_ids[:0]

    def _is_expected(self, shard: int) -> bool:
        return any(feed.expects(shard) for feed in self._feeds) or self.folder.has(self.shards[shard].name)

    def condemn(self, shard: int) -> None:
        """The file of a shard has wrong bytes: have it removed, and read by ranges until it was downloaded again."""
        for feed in self._feeds:
            feed.give_up(shard)
        self.folder.condemn(self.shards[shard].name)

    def close(self) -> None:
        """Close the feeds that are open."""
        for feed in self._feeds:
            feed.close()

    def download(self, shard: int, *, passes: bool, leaves_bytes: int | None) -> HeldFile | None:
        """The shard's file, downloaded where it is not there; None without room. Raises as `BoundedFolder.fetched`."""
        each = self.shards[shard]

        def fetch(path: Path) -> None:
            self._downloads.fetch(self.client, each.key, each.num_bytes, path)

        return self.folder.fetched(
            each.name,
            each.num_bytes,
            fetch,
            waits=False,
            passes=passes,
            leaves_bytes=leaves_bytes,
            wait_seconds=_OTHERS_SECONDS,
        )

    def warn(self, text: str) -> None:
        """Say once that the folder does not do what it is for."""
        with self._lock:
            has_warned, self._has_warned = self._has_warned, True
        if not has_warned:
            warnings.warn(text, FolderWarning, stacklevel=2)

    def warn_too_small(self, num_bytes: int) -> None:
        """Say once that the shards of a batch, `num_bytes` together, do not fit into the folder."""
        self.warn(
            f"{self.folder.path}: a batch wants shards of {counted(num_bytes, 'byte')}, and the folder may have "
            f"{self.folder.max_bytes}: what does not fit is read by ranges, which is slower; give folder_bytes of at "
            f"least {num_bytes + max(shard.num_bytes for shard in self.shards)}, or draw from fewer shards at a time"
        )

    def forget(self, feed: ShardFeed) -> None:
        """A feed has ended."""
        with self._lock:
            self._feeds = [each for each in self._feeds if each is not feed]

    def limit_downloads(self, *, beside_decoders: bool) -> None:
        """Leave CPUs to the threads that decode, or to none: batches wait for shards."""
        self._downloads.limit(beside_decoders=beside_decoders)

    def stop(self) -> None:
        """Let downloads end soon: parts that have not begun are not asked for."""
        self._downloads.close()

    def downloads_at_once(self, *, beside_decoders: bool) -> int:
        """How many shards a feed downloads at once, so that enough parts are.

        Beside decoders there is one more, whose parts are asked for when those of another run out. Before the first
        batch, its parts would delay those of the shards that the batch waits for.
        """
        downloads = self._downloads
        few = downloads.at_once_beside_decoders
        few = min(few, -(-few // self._parts_per_shard) + 1)
        return few if beside_decoders else max(few, -(-downloads.at_once // self._parts_per_shard))
