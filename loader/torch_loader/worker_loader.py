"""Threads or worker processes: which of them, and how workers start, is decided before any starts."""

import multiprocessing
from collections.abc import Iterator
from multiprocessing.context import BaseContext
from typing import Any, TypeAlias, Unpack

from torch.utils.data import DataLoader, Dataset, Sampler

from frame_store.columns import Columns
from frame_store.errors import CudaForkError
from frame_store.protocol import FrameStore
from frame_store.shared import check_cuda_usable_here, whole_number
from frame_store.views import cache_ids_of
from loader.augment import Augment, augmented_frames, checked_augment
from loader.batches import CpuReader, FrameBatch
from loader.columns import ColumnChoice, check_column_offsets, chosen_columns
from loader.errors import SamplingError
from loader.frame_loader import FrameLoader
from loader.gpu import CudaStreams, Device, DeviceStreams, chosen_device
from loader.sampling import BatchOptions, Iteration, LoaderState, Place, takes_options
from loader.store_argument import StoreOrPath, opened_store
from loader.torch_loader.dataset import BatchIds, frame_batch_collate
from loader.windows import WindowedEpochs, Windows, plan_windows

StartMethod: TypeAlias = str | BaseContext
"""`fork`, `spawn` or `forkserver`, or a context of `multiprocessing.get_context`."""


@takes_options("make_dataloader")
def make_dataloader(
    store: StoreOrPath,
    *,
    num_workers: int = 0,
    device: Device | None = "cpu",
    multiprocessing_context: StartMethod | None = None,
    augment: Augment | None = None,
    columns: ColumnChoice = None,
    **options: Unpack[BatchOptions],
) -> "FrameLoader | WorkerLoader":
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
        return FrameLoader(store, device=device, augment=augment, columns=columns, **options)
    store = opened_store(store)
    context = worker_context(store, multiprocessing_context)
    return WorkerLoader(
        store,
        num_workers=num_workers,
        device=device,
        context=context,
        augment=augment,
        columns=columns,
        **options,
    )


def worker_context(store: FrameStore, requested: StartMethod | None) -> StartMethod | None:
    """How worker processes that read from `store` start; None means Python's default.

    Raises:
        CudaForkError: a fork is requested, and the store may not cross a fork.
        SamplingError: an unknown start method.
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
    if method == "fork":
        raise CudaForkError(
            f"{type(store).__name__} uses CUDA, which does not survive a fork, and multiprocessing_context asks for "
            f"forked workers: in each, the first read would fail with CUDA_ERROR_NOT_INITIALIZED. Take num_workers=0, "
            f"which reads with threads, or multiprocessing_context='spawn'"
        )
    return requested


class WorkerLoader:
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
        augment: Augment | None = None,
        columns: ColumnChoice = None,
        **options: Unpack[BatchOptions],
    ) -> None:
        """See `make_dataloader`; starts nothing."""
        self._device = chosen_device(device, store)
        self._columns = chosen_columns(store, columns)
        epochs = plan_windows("make_dataloader", store, options, columns=self._columns)
        check_column_offsets(self._columns, epochs.windows.spec)
        self._epochs, self._plan, self._cursor = epochs, epochs.plan, epochs.cursor
        self._places = _PlannedBatches(epochs)
        augment = checked_augment(augment)
        self._augment_on_device = augment if self._device.type == "cuda" else None
        self._batches: DataLoader[FrameBatch] = DataLoader(
            _BatchDataset(
                epochs.windows,
                augment=None if self._device.type == "cuda" else augment,
                columns=self._columns,
            ),
            batch_sampler=self._places,  # type: ignore[arg-type]  # a batch's ids come with its epoch
            collate_fn=frame_batch_collate,  # type: ignore[arg-type]  # `__getitems__` gives a batch, not a list
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
        return len(self._plan)

    @property
    def sampler(self) -> "WorkerLoader":
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

    def __iter__(self) -> Iterator[FrameBatch]:
        """The batches of the next epoch."""
        if self._device.type == "cuda":
            check_cuda_usable_here(self._device.index)
            if self._streams is None:
                self._streams = CudaStreams(self._device)
        return self._received()

    def _received(self) -> Iterator[FrameBatch]:
        with self._cursor.iteration() as iteration:
            share = self._plan.slice_from(iteration.began.position)
            self._places.began = iteration.began
            self._running = iteration
            for step, batch in enumerate(self._batches):
                assert isinstance(batch, FrameBatch)  # made by `frame_batch_collate`
                if self._streams is not None:
                    batch = uploaded(  # noqa: PLW2901 - drops the batch on the host
                        batch,
                        self._streams,
                        store=self._store,
                        augment=self._augment_on_device,
                        epoch=iteration.began.epoch,
                    )
                iteration.give(share.position_after(step))
                yield batch
                del batch
                if self._running is not iteration:
                    return  # the workers read for another iteration


class _PlannedBatches(Sampler[tuple[int, BatchIds]]):
    """The work of the workers: the batches of an epoch from a place on, with the epoch. The loader sets the place."""

    def __init__(self, epochs: WindowedEpochs) -> None:
        self._epochs = epochs
        self.began = Place(0, 0)

    def __len__(self) -> int:
        return len(self._epochs.plan)

    def __iter__(self) -> Iterator[tuple[int, BatchIds]]:
        epoch, first_position = self.began
        for frame_ids in self._epochs.frame_ids(epoch, first_position=first_position):
            yield epoch, frame_ids.tolist()


class _BatchDataset(Dataset[FrameBatch]):
    """Reads and augments the batches of `_PlannedBatches`."""

    def __init__(self, windows: Windows, *, augment: Augment | None, columns: Columns) -> None:
        self._windows = windows
        self._reader = CpuReader(windows.store, augment=augment, columns=columns)

    def __getitems__(self, planned: tuple[int, BatchIds]) -> FrameBatch:
        epoch, frame_ids = planned
        return self._reader.read(self._windows.request(frame_ids), epoch=epoch).batch


def uploaded(
    batch: FrameBatch,
    streams: DeviceStreams,
    *,
    store: FrameStore,
    augment: Augment | None = None,
    epoch: int = 0,
) -> FrameBatch:
    """A page-locked batch, uploaded and augmented on a stream of its own, beside the work of the current stream.

    The anchors of the batch are frames of `store`.
    """
    anchors = cache_ids_of(
        store, batch.frame_ids.numpy().copy()
    )  # reading them on the device would wait for it
    with streams.own_stream():
        moved = batch.changed(streams.upload)
        if augment is not None:
            moved = moved.with_frames(augmented_frames(augment, moved.frames, frame_ids=anchors, epoch=epoch))
        take_over = streams.ready(moved.tensors().values())
    take_over()
    return moved
