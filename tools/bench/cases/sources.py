"""What `cache-bench` measures. Each source is a value that opens itself in a fresh process and counts its images.

torch and the loader are imported where they measure: the process that plans and reports does without them.
"""

import threading
import time
import warnings
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
from frame_cache_tools.bench.measure import (
    KeepResult,
    Slice,
    SliceRule,
    closing_if_possible,
    count_images,
    measure_batches,
    wait_until,
)
from frame_cache_tools.bench.usual_loader import UsualVideo, UsualVideos, usual_transforms

from cache_builder.video.picture import FrameGeometry
from frame_store import open_store
from frame_store.manifest import read_tree
from frame_store.names import ZARR_FOLDER
from frame_store.protocol import FrameStore
from loader.sampling import SamplingSpec

if TYPE_CHECKING:
    from torch.utils.data import DataLoader

    from loader import FrameBatch

_SECONDS_TO_END = 600.0
WORKERS = "fork"
"""How `DataLoader` starts its workers. torch's default on Linux; a forked worker can share its parent's pages."""


class OpensStore(Protocol):
    """Opens the store that a loader reads, in the process that measures."""

    def open(self) -> FrameStore:
        """Open it."""
        ...


@dataclass(frozen=True, kw_only=True)
class CachedFrames:
    """A cache on disk."""

    path: Path

    def open(self) -> FrameStore:
        """See `frame_store.open_store`."""
        return open_store(self.path)


@dataclass(frozen=True, kw_only=True)
class LiveFrames:
    """A folder of videos, decoded on request."""

    folder: Path
    geometry: FrameGeometry
    scan_cache: Path
    """Only the first of all openings scans the videos."""
    device: Literal["cpu", "cuda"] = "cpu"
    """The device that decodes."""

    def open(self) -> FrameStore:
        """See `cache_builder.open_videos`."""
        from cache_builder import open_videos

        return open_videos(
            self.folder,
            size=(self.geometry.height, self.geometry.width),
            resize=self.geometry.resize,
            crop_aspect=self.geometry.crop_aspect,
            scan_cache=self.scan_cache,
            device=self.device,
        )


@dataclass(frozen=True, kw_only=True)
class Lookahead:
    """How far `FrameLoader` looks ahead over a live store."""

    batches: int
    max_bytes: int


@dataclass(frozen=True, kw_only=True)
class LoaderSource:
    """`FrameLoader` over a cache or over the videos."""

    store: OpensStore
    sampling: SamplingSpec
    batch_size: int
    augmented: bool = False
    lookahead: Lookahead | None = None

    def measure(self, rule: SliceRule, keep: KeepResult) -> Slice:
        """See `ImageSource`."""
        from loader import FrameLoader

        opened_at = time.perf_counter()
        with closing(self.store.open()) as store, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a biased choice of shards: the effective batch shows it
            loader = FrameLoader(store, batch_size=self.batch_size, **self._options())
            return measure_batches(lambda: _frames_of(loader), rule, keep, opened_at=opened_at)

    def _options(self) -> dict[str, Any]:
        options = {name: value for name, value in self.sampling.to_builtins().items() if value is not None}
        if self.augmented:
            from loader.augment import exercise_augmentation

            options["augment"] = exercise_augmentation(cached=True)
        if self.lookahead is not None:
            options |= {"lookahead": self.lookahead.batches, "lookahead_bytes": self.lookahead.max_bytes}
        return options


@dataclass(frozen=True, kw_only=True)
class DataLoaderSource:
    """torch's `DataLoader` over `FrameDataset`, whole batches in worker processes."""

    path: Path
    batch_size: int
    num_workers: int

    def measure(self, rule: SliceRule, keep: KeepResult) -> Slice:
        """See `ImageSource`."""
        from frame_cache_tools.bench.cases.datasets import EndlessBatches

        from loader import FrameBatchSampler, FrameDataset, frame_batch_collate

        opened_at = time.perf_counter()
        with closing(open_store(self.path)) as store:
            batches = _data_loader(
                FrameDataset(store),
                self.num_workers,
                batch_sampler=EndlessBatches(FrameBatchSampler(store, batch_size=self.batch_size)),
                collate_fn=frame_batch_collate,
            )
            return measure_batches(lambda: _frames_of(batches), rule, keep, opened_at=opened_at)


@dataclass(frozen=True, kw_only=True)
class WebDatasetSource:
    """Plain `webdataset` over the tar shards, in torch's `DataLoader`."""

    path: Path
    batch_size: int
    num_workers: int
    shuffle_buffer: int

    def measure(self, rule: SliceRule, keep: KeepResult) -> Slice:
        """See `ImageSource`."""
        from frame_cache_tools.bench.cases.datasets import EndlessStream

        opened_at = time.perf_counter()
        stream = EndlessStream(self.path, batch_size=self.batch_size, shuffle_buffer=self.shuffle_buffer)
        batches = _data_loader(stream, self.num_workers, batch_size=None)
        return measure_batches(lambda: _frames_of(batches), rule, keep, opened_at=opened_at)


@dataclass(frozen=True, kw_only=True)
class ZarrPythonSource:
    """zarr-python's own fancy indexing: `frames[ids]` for a batch of random ids."""

    path: Path
    batch_size: int

    def measure(self, rule: SliceRule, keep: KeepResult) -> Slice:
        """See `ImageSource`."""
        import zarr

        opened_at = time.perf_counter()
        frames = zarr.open_array(
            str(read_tree(self.path).generations[0].path / ZARR_FOLDER / "frames"), mode="r"
        )
        draw = np.random.default_rng(0)

        def epoch() -> Iterator[int]:
            order = draw.permutation(frames.shape[0])
            for start in range(0, len(order), self.batch_size):
                yield len(np.asarray(frames[order[start : start + self.batch_size]]))

        return measure_batches(epoch, rule, keep, opened_at=opened_at)


@dataclass(frozen=True, kw_only=True)
class UsualLoaderSource:
    """The usual loader in torch's `DataLoader`.

    Images are counted as the workers finish them, once each worker has made two. Ten workers make ten batches at the
    same time, so whole batches arrive in bursts minutes apart. One shuffle follows the other without a stop, so no
    worker idles at the end of an epoch; in the usual loader as people write it, workers do.
    """

    paths: tuple[Path, ...]
    """One video, or many."""
    num_workers: int
    batch_size: int

    def measure(self, rule: SliceRule, keep: KeepResult) -> Slice:
        """See `ImageSource`."""
        from frame_cache_tools.bench.cases.datasets import Counted, EndlessShuffle

        transform = usual_transforms()
        opened_at = time.perf_counter()
        is_one = len(self.paths) == 1
        dataset = UsualVideo(self.paths[0], transform) if is_one else UsualVideos(self.paths, transform)
        counted = Counted(dataset, start_method=WORKERS)
        order = EndlessShuffle(len(dataset))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of more workers than CPUs, which people do ask for
            batches = iter(_data_loader(counted, self.num_workers, batch_size=self.batch_size, sampler=order))
        arrivals: list[float] = []
        errors: list[Exception] = []

        def consume() -> None:
            try:
                for _ in batches:
                    arrivals.append(time.perf_counter())
            except Exception as error:  # noqa: BLE001 - raised below, in the caller's thread
                errors.append(error)

        consumer = threading.Thread(target=consume, daemon=True)
        consumer.start()
        try:
            wait_until(lambda: bool(errors) or counted.num_images >= 2 * self.num_workers)
            measured = count_images(
                lambda: counted.num_images,
                rule,
                is_over=lambda: bool(errors),
                keep=keep,
                seconds_to_first_batch=lambda: arrivals[0] - opened_at if arrivals else None,
            )
        finally:
            order.stop()
            counted.stop()
            consumer.join(_SECONDS_TO_END)
        if errors:
            raise errors[0]
        return measured


def _data_loader(dataset: Any, num_workers: int, **options: Any) -> "DataLoader[Any]":  # noqa: ANN401 - torch's
    from torch.utils.data import DataLoader

    return DataLoader(dataset, num_workers=num_workers, multiprocessing_context=WORKERS, **options)


def _frames_of(batches: "Iterable[FrameBatch]") -> Generator[int, None, None]:
    with closing_if_possible(iter(batches)) as iterator:
        for batch in iterator:
            yield batch.frame_ids.numel()
