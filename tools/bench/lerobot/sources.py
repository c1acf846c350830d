"""Sources of images: LeRobot's own reading, `LeRobotFrames`, and `FrameLoader` with windows."""

import itertools
import time
import warnings
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from frame_cache_tools.bench.lerobot.dataset import LeRobotItems, request
from frame_cache_tools.bench.lerobot.peer_process import Peer
from frame_cache_tools.bench.measure import KeepResult, Slice, SliceRule, closing_if_possible, measure_batches

from frame_store import open_store

SEED = 0
"""Of the permutation of items, the same for all rows that read item by item."""


@dataclass(frozen=True, kw_only=True)
class PeerSource:
    """LeRobot's own data set in torch's `DataLoader`, run by the interpreter that has LeRobot."""

    python: Path
    items: LeRobotItems
    backend: str
    num_workers: int
    batch_size: int
    size: tuple[int, int]
    """(height, width) to which LeRobot resizes the pictures."""

    def measure(self, rule: SliceRule, keep: KeepResult) -> Slice:
        """See `ImageSource`."""
        asked = request(
            self.items,
            backend=self.backend,
            num_workers=self.num_workers,
            batch_size=self.batch_size,
            size=self.size,
            seed=SEED,
        )
        with Peer(self.python, asked) as peer:
            peer.answer()  # its imports are done
            return measure_batches(peer.batches, rule, keep, opened_at=time.perf_counter())


@dataclass(frozen=True, kw_only=True)
class CachedGroup:
    """A cache of the data set."""

    path: Path

    def open(self) -> Any:  # noqa: ANN401 - a group of cameras
        """See `frame_store.open_store`."""
        return open_store(self.path)


@dataclass(frozen=True, kw_only=True)
class LiveGroup:
    """The data set, decoded on request."""

    root: Path
    size: tuple[int, int]
    scan_cache: Path

    def open(self) -> Any:  # noqa: ANN401 - a group of cameras
        """See `cache_builder.open_videos`."""
        from cache_builder import open_videos

        return open_videos(self.root, size=self.size, resize="stretch", scan_cache=self.scan_cache)


@dataclass(frozen=True, kw_only=True)
class FramesSource:
    """`LeRobotFrames` in torch's `DataLoader`: the same items in the same order as LeRobot's own."""

    store: CachedGroup | LiveGroup
    items: LeRobotItems
    num_workers: int
    batch_size: int

    def measure(self, rule: SliceRule, keep: KeepResult) -> Slice:
        """See `ImageSource`."""
        from torch.utils.data import DataLoader

        from loader.lerobot import LeRobotFrames

        opened_at = time.perf_counter()
        deltas = {name: list(each) for name, each in self.items.delta_timestamps.items()}
        with closing(self.store.open()) as store:
            dataset = LeRobotFrames(store, delta_timestamps=deltas or None)
            batches = DataLoader(
                dataset,
                batch_size=self.batch_size,
                sampler=EndlessPermutation(len(dataset)),
                num_workers=self.num_workers,
            )
            return measure_batches(lambda: self._images_of(batches), rule, keep, opened_at=opened_at)

    def _images_of(self, batches: Iterable[dict[str, Any]]) -> Iterator[int]:
        for batch in batches:
            yield sum(batch[camera].shape[:-3].numel() for camera in self.items.cameras)


@dataclass(frozen=True, kw_only=True)
class BatchesSource:
    """`LeRobotBatches`: the same dictionaries, in an order of their own, read by threads."""

    store: CachedGroup
    items: LeRobotItems
    batch_size: int

    def measure(self, rule: SliceRule, keep: KeepResult) -> Slice:
        """See `ImageSource`."""
        from loader.lerobot import LeRobotBatches, LeRobotFrames

        opened_at = time.perf_counter()
        deltas = {name: list(each) for name, each in self.items.delta_timestamps.items()}
        with closing(self.store.open()) as store:
            frames = LeRobotFrames(store, delta_timestamps=deltas or None)
            batches = LeRobotBatches(frames, batch_size=self.batch_size)
            return measure_batches(lambda: self._images_of(batches), rule, keep, opened_at=opened_at)

    def _images_of(self, loader: Iterable[dict[str, Any]]) -> Generator[int, None, None]:
        with closing_if_possible(iter(loader)) as batches:
            for batch in batches:
                yield sum(batch[camera].shape[:-3].numel() for camera in self.items.cameras)


class EndlessPermutation:
    """One permutation of all items after another, as `peer.py` draws them."""

    def __init__(self, num_items: int) -> None:
        self._num_items = num_items

    def __iter__(self) -> Iterator[int]:
        draw = np.random.default_rng(SEED)
        for _ in itertools.count():
            yield from draw.permutation(self._num_items).tolist()


@dataclass(frozen=True, kw_only=True)
class WindowsSource:
    """`FrameLoader` with the same windows, in an order of its own; pictures are uint8, columns those of the items."""

    store: CachedGroup | LiveGroup
    items: LeRobotItems
    batch_size: int
    lookahead: int = 0
    lookahead_bytes: int = 0

    def measure(self, rule: SliceRule, keep: KeepResult) -> Slice:
        """See `ImageSource`."""
        from loader import FrameLoader

        opened_at = time.perf_counter()
        options: dict[str, Any] = {"column_offsets": self.items.column_offsets or None}
        options["frame_offsets"] = self.items.frame_offsets
        if self.lookahead:
            options |= {"lookahead": self.lookahead, "lookahead_bytes": self.lookahead_bytes}
        given = {name: value for name, value in options.items() if value is not None}
        with closing(self.store.open()) as store, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of an epoch of less than a step
            loader = FrameLoader(store, batch_size=self.batch_size, **given)
            return measure_batches(lambda: self._images_of(loader), rule, keep, opened_at=opened_at)

    def _images_of(self, loader: Iterable[Any]) -> Generator[int, None, None]:
        with closing_if_possible(iter(loader)) as batches:
            for batch in batches:
                yield sum(frames.shape[:-3].numel() for frames in batch.frames.values())
