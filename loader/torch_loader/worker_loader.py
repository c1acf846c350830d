"""Threads or worker processes: which of them, and how workers start, is decided before any starts."""

import multiprocessing
import os
from collections.abc import Iterable, Iterator
from multiprocessing.context import BaseContext
from typing import Any, Generic, Literal, TypeAlias, Unpack, cast, overload

from torch.utils.data import DataLoader, Dataset, Sampler

from frame_store.cameras import CameraGroup
from frame_store.columns import Columns
from frame_store.errors import CudaForkError
from frame_store.protocol import FrameStore, frames_ahead
from frame_store.shared import check_cuda_usable_here, whole_number
from frame_store.views import cache_ids_of
from loader.batches import AugmentChoice, CameraBatch, CpuReader, FrameBatch, FrameSources, frame_sources
from loader.columns import ColumnChoice, check_column_offsets, chosen_columns
from loader.errors import SamplingError
from loader.frame_loader import Batch, FrameLoader
from loader.gpu import CudaStreams, Device, DeviceStreams, chosen_device
from loader.sampling import BatchOptions, Iteration, LoaderState, Place, takes_options
from loader.store_argument import StoreOrPath, opened_store
from loader.torch_loader.dataset import BatchIds, frame_batch_collate
from loader.torch_loader.worker_feeds import WorkerFeeds
from loader.windows import WindowedEpochs, plan_windows

StartMethod: TypeAlias = str | BaseContext
"""`fork`, `spawn` or `forkserver`, or a context of `multiprocessing.get_context`."""


class WorkerLoaderOptions(BatchOptions, total=False):
    """The keywords of `make_dataloader` that do not decide the type of its batches; it explains them."""

    num_workers: int
    device: Device | None
    multiprocessing_context: StartMethod | None
    cameras: Iterable[str] | None
    shared_augment: bool
    augment: AugmentChoice
    columns: ColumnChoice


@overload
def make_dataloader(
    store: FrameStore | str | os.PathLike[str],
    *,
    stack_cameras: bool = False,
    **options: Unpack[WorkerLoaderOptions],
) -> "FrameLoader[FrameBatch] | WorkerLoader[FrameBatch]": ...
@overload
def make_dataloader(
    store: CameraGroup, *, stack_cameras: Literal[True], **options: Unpack[WorkerLoaderOptions]
) -> "FrameLoader[FrameBatch] | WorkerLoader[FrameBatch]": ...
@overload
def make_dataloader(
    store: CameraGroup, *, stack_cameras: Literal[False] = False, **options: Unpack[WorkerLoaderOptions]
) -> "FrameLoader[CameraBatch] | WorkerLoader[CameraBatch]": ...
@takes_options("make_dataloader")
def make_dataloader(
    store: StoreOrPath,
    *,
    num_workers: int = 0,
    device: Device | None = "cpu",
    multiprocessing_context: StartMethod | None = None,
    cameras: Iterable[str] | None = None,
    stack_cameras: bool = False,
    shared_augment: bool = False,
    augment: AugmentChoice = None,
    columns: ColumnChoice = None,
    **options: Unpack[BatchOptions],
) -> "FrameLoader[Any] | WorkerLoader[Any]":
    """Batches of `store` on `device`, from threads or from worker processes: the same batches in the same order.

    Threads are nearly always the better choice: reading and decoding release the GIL, nothing is copied between
    processes, and a GPU keeps one context. Processes are for other work that holds the GIL.

    Args:
        store: an open store, or the path of a cache; see `FrameLoader`.
        num_workers: 0 makes a `FrameLoader` with its threads. Other numbers are processes that read, and that stay from
            epoch to epoch. They return frames on the CPU: frames that a store decodes on a GPU are copied to the host
            and back.
        device: device of the batches; see `FrameLoader`. With workers, the process that iterates uploads the batches.
        multiprocessing_context: how workers start. None means "spawn" if the store may not cross a fork, and Python's
            default otherwise.
        cameras: see `FrameLoader`.
        stack_cameras: see `FrameLoader`.
        shared_augment: see `FrameLoader`.
        augment: see `FrameLoader`. With workers and batches on the CPU it runs in the workers. Spawned workers need a
            callable that can be pickled (not a lambda), and its randomness depends on torch's seed of each worker. With
            batches on a GPU it runs in the process that iterates, after the upload.
        columns: see `FrameLoader`. Workers map the files of a cache's columns themselves; spawned ones get a copy of
            columns that were joined.
        options: see `BatchOptions`. `FrameLoader` has more options of its own: make it directly to look ahead, or to
            have a GPU decode JPEG.

    Raises:
        SamplingError: the arguments contradict each other or the store, or an option does not exist (also a
            TypeError).
        StoreError: no usable cache at the path.
        CudaForkError: workers would be forked, and a fork cannot read from this store; no worker has started. Also
            for a GPU in a process that was forked from one that uses CUDA.
        CudaUnavailableError: no usable GPU for `device`.
    """
    num_workers = whole_number("num_workers", num_workers, least=0, error=SamplingError)
    if num_workers == 0:
        if multiprocessing_context is not None:
            raise SamplingError(
                f"multiprocessing_context={multiprocessing_context!r} is for worker processes, and num_workers is 0"
            )
        return FrameLoader(
            cast("FrameStore", store),  # or what else an overload takes: one call for all
            cameras=cameras,
            stack_cameras=stack_cameras,
            shared_augment=shared_augment,
            device=device,
            augment=augment,
            columns=columns,
            **options,
        )
    store = opened_store(store)
    context = worker_context(store, multiprocessing_context)
    return WorkerLoader(
        store,
        num_workers=num_workers,
        device=device,
        context=context,
        sources=frame_sources(
            store,
            cameras=cameras,
            stack_cameras=stack_cameras,
            augment=augment,
            shared_augment=shared_augment,
        ),
        columns=columns,
        **options,
    )


def worker_context(store: FrameStore, requested: StartMethod | None) -> StartMethod | None:
    """How worker processes that read from `store` start; None means Python's default.

    Raises:
        CudaForkError: a fork is requested, and the store uses CUDA.
        SamplingError: an unknown start method; a fork is requested, and the store is a cache at a URL.
    """
    if isinstance(requested, str) and requested not in multiprocessing.get_all_start_methods():
        raise SamplingError(
            f"multiprocessing_context must be one of {', '.join(multiprocessing.get_all_start_methods())}, "
            f"found {requested!r}"
        )
    if store.may_cross_fork:
        return requested
    if requested is None:
        return "spawn"
    method = requested if isinstance(requested, str) else requested.get_start_method()
    if method == "fork" and frames_ahead(store):
        raise SamplingError(
            f"{type(store).__name__} reads from an object store, where a process that was forked from one that made "
            "requests can make none, and multiprocessing_context asks for forked workers. Take num_workers=0, which "
            "reads with threads, or multiprocessing_context='spawn'"
        )
    if method == "fork":
        raise CudaForkError(
            f"{type(store).__name__} uses CUDA, which does not survive a fork, and multiprocessing_context asks for "
            f"forked workers: in each, the first read would fail with CUDA_ERROR_NOT_INITIALIZED. Take num_workers=0, "
            f"which reads with threads, or multiprocessing_context='spawn'"
        )
    return requested


class WorkerLoader(Generic[Batch]):
    """Iterates `FrameBatch` that worker processes read; each iteration is the next epoch, as with `FrameLoader`.

    Only one iteration runs at a time: a new one ends the one before. The workers start with the first iteration and end
    with this object.
    """

    def __init__(
        self,
        store: FrameStore,
        *,
        num_workers: int,
        device: Device | None,
        context: StartMethod | None,
        sources: FrameSources,
        columns: ColumnChoice = None,
        **options: Unpack[BatchOptions],
    ) -> None:
        """See `make_dataloader`; starts nothing."""
        self._device = chosen_device(device, store)
        self._columns = chosen_columns(store, columns)
        epochs = plan_windows("make_dataloader", store, options, columns=self._columns)
        check_column_offsets(self._columns, epochs.windows.spec)
        self._epochs, self._cursor = epochs, epochs.cursor
        self._places = _PlannedBatches(epochs)
        self._sources = sources
        self._batches: DataLoader[FrameBatch | CameraBatch] = DataLoader(
            _BatchDataset(
                epochs,
                sources.without_augment() if self._device.type == "cuda" else sources,
                columns=self._columns,
            ),
            batch_sampler=self._places,  # type: ignore[arg-type]  # a batch's ids come with its epoch
            collate_fn=frame_batch_collate,
            num_workers=num_workers,
            multiprocessing_context=context,
            persistent_workers=True,
            pin_memory=self._device.type == "cuda",
        )
        self._store = store
        self._streams: DeviceStreams | None = None
        self._running: Iteration | None = None

    def __repr__(self) -> str:
        return f"WorkerLoader({self._epochs}; {self._cursor}; num_workers={self._batches.num_workers})"

    @property
    def store(self) -> FrameStore:
        """The store that the workers read."""
        return self._store

    @property
    def columns(self) -> Columns:
        """The columns that batches have, by name."""
        return self._columns

    def __len__(self) -> int:
        """Batches in an epoch, for this rank."""
        return len(self._epochs.plan)

    @property
    def sampler(self) -> "WorkerLoader[Batch]":
        """The loader itself; see `FrameLoader.sampler`."""
        return self

    @property
    def batch_sampler(self) -> None:
        """None; see `FrameLoader.batch_sampler`."""
        return

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch of the next iteration; see `FrameLoader.set_epoch`.

        Raises:
            SamplingError: not in [0, 2**32).
        """
        self._cursor.set_epoch(epoch)

    def state_dict(self) -> dict[str, Any]:
        """The place of the run after the last batch that the caller received; see `FrameLoader.state_dict`."""
        return self._cursor.state().to_builtins()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See `FrameLoader.load_state_dict`."""
        self._cursor.load(LoaderState.from_builtins(state))

    def __iter__(self) -> Iterator[Batch]:
        """The batches of the next epoch."""
        if self._device.type == "cuda":
            check_cuda_usable_here(self._device.index)
            if self._streams is None:
                self._streams = CudaStreams(self._device)
        return self._received()

    def _received(self) -> Iterator[Batch]:
        with self._cursor.iteration() as iteration:
            share = self._epochs.slice_from(*iteration.began)
            self._places.began = iteration.began
            self._running = iteration
            for step, batch in enumerate(self._batches):
                assert isinstance(batch, FrameBatch | CameraBatch)  # made by `frame_batch_collate`
                if self._streams is not None:
                    batch = uploaded(  # noqa: PLW2901 - drops the batch on the host
                        batch,
                        self._streams,
                        store=self._store,
                        sources=self._sources,
                        epoch=iteration.began.epoch,
                    )
                iteration.give(share.position_after(step))
                yield cast("Batch", batch)
                del batch
                if self._running is not iteration:
                    return  # the workers read for another iteration


class _PlannedBatches(Sampler[tuple[Place, int, BatchIds]]):
    """The work of the workers: the batches of an epoch from a place on, numbered. The loader sets the place."""

    def __init__(self, epochs: WindowedEpochs) -> None:
        self._epochs = epochs
        self.began = Place(0, 0)

    def __len__(self) -> int:
        return len(self._epochs.plan)

    def __iter__(self) -> Iterator[tuple[Place, int, BatchIds]]:
        began = self.began
        for step, frame_ids in enumerate(self._epochs.frame_ids(began.epoch, first_position=began.position)):
            yield began, step, frame_ids.tolist()


class _BatchDataset(Dataset[FrameBatch | CameraBatch]):
    """Reads and augments the batches of `_PlannedBatches`."""

    def __init__(self, epochs: WindowedEpochs, sources: FrameSources, *, columns: Columns) -> None:
        self._windows = epochs.windows
        self._reader = CpuReader(self._windows.store, sources=sources, columns=columns)
        is_remote = any(frames_ahead(source.store) for source in sources.sources)
        self._feeds = WorkerFeeds(epochs, sources) if is_remote else None

    def __getitems__(self, planned: tuple[Place, int, BatchIds]) -> FrameBatch | CameraBatch:
        began, step, frame_ids = planned
        if self._feeds is not None:
            self._feeds.announce(began, step)
        return self._reader.read(self._windows.request(frame_ids), epoch=began.epoch).batch


def uploaded(
    batch: FrameBatch | CameraBatch,
    streams: DeviceStreams,
    *,
    store: FrameStore,
    sources: FrameSources,
    epoch: int = 0,
) -> FrameBatch | CameraBatch:
    """A page-locked batch, uploaded and augmented on a stream of its own, beside the work of the current stream.

    The anchors of the batch are frames of `store`.
    """
    anchors = cache_ids_of(
        store, batch.frame_ids.numpy().copy()
    )  # reading them on the device would wait for it
    with streams.own_stream():
        moved = sources.augmented(batch.changed(streams.upload), anchor_ids=anchors, epoch=epoch)
        take_over = streams.ready(moved.tensors().values())
    take_over()
    return moved
