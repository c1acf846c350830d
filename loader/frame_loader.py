"""Batches out of a frame store, read ahead by threads of this process."""

import os
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from functools import partial
from typing import Any, Generic, Literal, Unpack, cast, overload

import torch
from typing_extensions import TypeVar  # torch depends on it; `default=` is in `typing` from Python 3.13 on

from frame_store.cameras import CameraGroup
from frame_store.columns import Columns
from frame_store.protocol import DecodesOnDevice, FrameStore
from frame_store.shared import check_cuda_usable_here, flag, num_usable_cpus, whole_number
from loader.batches import (
    AugmentChoice,
    BatchReader,
    CameraBatch,
    CpuReader,
    FrameBatch,
    ReadBatch,
    closed_at_exit,
    frame_sources,
)
from loader.columns import ColumnChoice, check_column_offsets, chosen_columns
from loader.errors import SamplingError
from loader.gpu import (
    CudaStreams,
    Device,
    DeviceReader,
    JpegDecode,
    checked_pin_memory,
    chosen_device,
    chosen_jpeg_decoder,
)
from loader.lookahead import (
    BatchReads,
    ContinuedReads,
    LookaheadReads,
    Prefetcher,
    Reads,
    batches_on_their_way,
    check_lookahead,
)
from loader.sampling import BatchOptions, Iteration, LoaderState, Place, takes_options
from loader.store_argument import StoreOrPath, opened_store
from loader.windows import plan_windows

DEFAULT_LOOKAHEAD_BYTES = 1 << 30

MIN_DECODING_THREADS = 8
"""For a store that decodes on a GPU. A GPU has up to seven decoding engines (H100), each engine works on one video
stream at a time, and a thread mostly waits for its engine."""

Batch = TypeVar("Batch", default=FrameBatch)
"""`FrameBatch`, or `CameraBatch` for a group of cameras."""


class FrameLoaderOptions(BatchOptions, total=False):
    """The keywords of `FrameLoader` that do not decide the type of its batches; it explains them."""

    cameras: Iterable[str] | None
    shared_augment: bool
    num_threads: int | None
    read_ahead: int | None
    device: Device | None
    jpeg_decode: JpegDecode
    pin_memory: bool | None
    augment: AugmentChoice
    columns: ColumnChoice
    lookahead: int
    lookahead_bytes: int
    next_epoch: bool


class FrameLoader(Generic[Batch]):
    """Iterates `FrameBatch` over any frame store, cached or live; one iteration is one epoch.

    Over a group of cameras (a `CameraGroup`, a view of one, or the path of a cache of cameras) it iterates
    `CameraBatch`, whose `frames` are a dict by camera. A type checker knows this of a `CameraGroup`; for a path it
    takes `FrameBatch`, unless the variable is annotated: `batches: FrameLoader[CameraBatch] = FrameLoader(path)`.

    The first iteration is epoch 0, and each further iteration is the next epoch. `set_epoch` chooses another one. An
    iteration takes its epoch when its first batch is read. `iter(loader)` alone takes no epoch, and neither does an
    iteration whose first batch could not be read. A peek, `next(iter(loader))`, takes the epoch and reads `read_ahead`
    more batches; after it, `set_epoch` sets the epoch again.

    The order of frames depends on the shard sizes and the arguments alone, never on threads or processes. The loader
    reads with threads, not with worker processes: reading and decoding release the GIL, and a batch stays where it was
    decoded. Leaving an iteration early (`break`) stops its threads. After an epoch they go on with the next one
    (`next_epoch`). Several loaders, and several iterations of one loader, may run side by side.

    A batch may be kept: its memory is used again only when nobody holds the batch, its tensors or views of them.

    On a GPU, a batch is ready for the stream that is current in the thread that asks for it, like tensors that were
    made on that stream; the host does not wait. Frames are uploaded as H W 3 bytes each and become floats on the GPU.
    """

    @overload  # the first one, so that it is taken where the type of the store is not known
    def __init__(
        self,
        store: FrameStore | str | os.PathLike[str],
        *,
        stack_cameras: bool = False,
        **options: Unpack[FrameLoaderOptions],
    ) -> None: ...
    @overload
    def __init__(
        self: "FrameLoader[CameraBatch]",
        store: CameraGroup,
        *,
        stack_cameras: Literal[False] = False,
        **options: Unpack[FrameLoaderOptions],
    ) -> None: ...
    @overload
    def __init__(
        self: "FrameLoader[FrameBatch]",
        store: CameraGroup,
        *,
        stack_cameras: Literal[True],
        **options: Unpack[FrameLoaderOptions],
    ) -> None: ...
    @takes_options("FrameLoader")
    def __init__(
        self,
        store: StoreOrPath,
        *,
        cameras: Iterable[str] | None = None,
        stack_cameras: bool = False,
        shared_augment: bool = False,
        num_threads: int | None = None,
        read_ahead: int | None = None,
        device: Device | None = None,
        jpeg_decode: JpegDecode = "cpu",
        pin_memory: bool | None = None,
        augment: AugmentChoice = None,
        columns: ColumnChoice = None,
        lookahead: int = 0,
        lookahead_bytes: int = DEFAULT_LOOKAHEAD_BYTES,
        next_epoch: bool = True,
        **options: Unpack[BatchOptions],
    ) -> None:
        """Plan the epochs of `store`.

        Args:
            store: an open store, or the path of a cache. A path is opened as `frame_store.open_store(path)` does, and
                the store is closed with this loader; `loader.store.close()` releases its files earlier, and reading
                opens them again. A store that the caller opened stays open.
            cameras: names of the cameras to read, in this order; None reads all. For a group of cameras, as are the
                next two.
            stack_cameras: `batch.frames` is one tensor (B, C, 3, H, W) with the C cameras in order, or
                (B, T, C, 3, H, W) for windows (what LeRobot's policies make of their cameras), and the batch is a
                `FrameBatch`. The cameras have one shape and dtype.
            shared_augment: an `Augmentation` draws once for all cameras of a moment. Otherwise each camera draws for
                itself, by its name.
            num_threads: batches read at the same time. None means the number of CPUs that this process may use, and at
                least 8 for a store that decodes on a GPU.
            read_ahead: batches that are read, or being read, beyond the one handed out. This number bounds memory, and
                how early a cold disk is asked for frames. With more, less of the memory is in the CPU's cache. None
                means num_threads. A store at a URL is asked for 1,024 frames ahead, of at most 32 batches, also where
                this number is smaller; what is stored of them is held until they are read.
            device: device of the batches: "cpu", "cuda" (torch's current GPU), "cuda:1", or a torch.device. None means
                the GPU that the store decodes on, or the CPU for other stores. A store that decodes on a GPU copies
                frames to the host only for "cpu".
            jpeg_decode: "gpu" uploads the frames of a JPEG cache as they are stored, and the GPU decodes them. This
                needs torchcodec (`pip install 'frame-cache[gpu]'`) or torchvision. Decoders differ: its pixels differ
                from those of the CPU by a level or two.
            pin_memory: for batches on the CPU: read into page-locked memory, so that
                `batch.to("cuda", non_blocking=True)` overlaps with other work. None means True if this process has
                used CUDA when an iteration begins.
            augment: applied to the frames on `device`; its result becomes `batch.frames`. The threads that read call
                it; with `lookahead`, one thread beside those that decode calls it. An `Augmentation` is a function of
                its seed, the epoch and the anchors' ids in the cache. Any other callable gets the uint8 tensor (B, 3,
                H, W), channels_last, or (B, T, 3, H, W) for windows, under `torch.no_grad()`, and returns a tensor on
                the same device whose first dimension is B. Several threads call it at once. Its randomness is its own,
                usually torch's global generator, so seed and epoch do not repeat it (AUGMENTATION.md, section 5). Its
                errors are raised in the place of its batch. None leaves the frames as they are. Of cameras, each is
                augmented by itself; a dict by camera gives each its own, and leaves the others as they are. 16-bit gray
                has uint16 of 1 channel; an `Augmentation` may crop and flip it, and nothing else.
            columns: names of columns of the store (`()` for none), or what `join_columns` gave. None takes all that the
                store has. The threads that read gather them into `batch.columns`, in page-locked memory where frames
                are, and a GPU gets them in the copy of the ids. Texts are codes, int32, into
                `loader.columns["task"].strings`.
            lookahead: for videos decoded live on the CPU: number of batches known beyond the one that is due. Each
                group of pictures is decoded once for all of them. The order of frames stays the same.
            lookahead_bytes: memory for frames that are decoded before they are due, in addition to the batches. Cameras
                share it.
            next_epoch: read the first batches of the next epoch, `read_ahead` of them, while the last batches of an
                epoch are used, so that the next iteration begins with full speed. They, the threads and the frames of
                `lookahead` are kept until then, or until the loader is dropped. False ends all with the epoch.
            options: which frames come together when: batch_size, sampling, seed, rank, world_size and others. They
                are listed, with their types, defaults and meanings, in `loader.BatchOptions`.

        Warns:
            UnshardedWarning: `torch.distributed` or WORLD_SIZE shows that several processes train, and no rank is
                given. If they show it only later, the next iteration warns. `rank=0, world_size=1` does not warn.

        Raises:
            SamplingError: the arguments contradict each other or the store, cameras cannot be stacked (the message
                names their shapes), or an option does not exist (also a TypeError).
            StoreError: no usable cache at the path.
            CudaUnavailableError: no usable GPU for `device`, or no decoder for `jpeg_decode="gpu"`; the message gives
                the reason and the remedy.
            CudaForkError: `device` is a GPU, and this process was forked from one that uses CUDA. Iterating raises it,
                too.
        """
        self._store = store = opened_store(store)
        self._sources = sources = frame_sources(
            store,
            cameras=cameras,
            stack_cameras=stack_cameras,
            augment=augment,
            shared_augment=shared_augment,
        )
        self._columns = chosen_columns(store, columns)
        self._epochs = plan_windows("FrameLoader", store, options, columns=self._columns)
        check_column_offsets(self._columns, self._epochs.windows.spec)
        self._cursor = self._epochs.cursor
        self._device = chosen_device(device, store)
        self._decode_jpegs = chosen_jpeg_decoder(jpeg_decode, sources, self._device)
        if num_threads is None:
            is_on_device = any(isinstance(source.store, DecodesOnDevice) for source in sources.sources)
            least = MIN_DECODING_THREADS if is_on_device else 1
            num_threads = max(least, num_usable_cpus())
        self._num_threads = whole_number("num_threads", num_threads, least=1, error=SamplingError)
        read_ahead = self._num_threads if read_ahead is None else read_ahead
        self._read_ahead = whole_number("read_ahead", read_ahead, least=1, error=SamplingError)
        self._pin_memory = checked_pin_memory(pin_memory, self._device)
        self._lookahead = whole_number("lookahead", lookahead, least=0, error=SamplingError)
        lookahead_bytes = whole_number("lookahead_bytes", lookahead_bytes, least=0, error=SamplingError)
        # More frames than those of the window and of the steps under way never wait.
        self._lookahead_frames = min(
            lookahead_bytes // sources.bytes_of_moment,
            (self._lookahead + self._read_ahead) * self._epochs.frames_per_batch,
        )
        check_lookahead(self._lookahead, sources, self._device)
        self._next_epoch = flag("next_epoch", next_epoch, error=SamplingError)
        self._readers: dict[bool | torch.device, BatchReader] = {}
        self._reads = ContinuedReads()

    def __getstate__(self) -> dict[str, Any]:
        # Memory, streams and threads cannot be pickled.
        return {**self.__dict__, "_readers": {}, "_reads": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _reads=ContinuedReads())

    def __repr__(self) -> str:
        return f"FrameLoader({self._epochs}; {self._cursor})"

    @property
    def store(self) -> FrameStore:
        """The store that this loader reads."""
        return self._store

    @property
    def columns(self) -> Columns:
        """The columns that batches have, by name."""
        return self._columns

    def __len__(self) -> int:
        """Batches of this rank in an epoch; `repr` explains the number.

        It is the same in every epoch, with one exception: a state of a cache that has grown since ends its epoch over
        the frames of that time. Until that epoch has ended it is the number of its batches.
        """
        return len(self._epochs.plan)

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch of the next iteration whose first batch is read.

        The iteration begins at the start of the epoch, with one exception: if a state inside this epoch was loaded, the
        iteration goes on from that state. This is because frameworks and training loops that resume an epoch also set
        it, and the place in the epoch must not be lost.

        Raises:
            SamplingError: not in [0, 2**32).
        """
        self._cursor.set_epoch(epoch)

    @property
    def sampler(self) -> "FrameLoader[Batch]":
        """The loader itself. Frameworks call `loader.sampler.set_epoch`, as torch's loaders have it (Lightning)."""
        return self

    @property
    def batch_sampler(self) -> None:
        """None. Torch's loaders have this attribute beside `sampler`."""
        return

    def state_dict(self) -> dict[str, Any]:
        """The place of the run after the last batch that the caller received; batches read ahead do not count.

        Plain values, the same on every rank. After an iteration has ended, the place is the start of the next epoch.
        While the caller still works on the last batch, the place is the end of the epoch.
        """
        return self._cursor.state().to_builtins()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Make the next iteration go on from `state`, with any world size and batch size.

        With `remainder="uneven"` the ranks before and after together read every frame of the epoch once. With "drop"
        they read each frame at most once: the rest of the epoch is cut into whole steps of the new size. With "pad"
        they read each frame at least once. If nothing is left of the epoch, the next iteration gives no batch and ends
        the epoch, so that a loop which counts epochs stays right.

        A cache may have grown since, or its generations may have been joined: the epoch of the state ends over the
        frames that the cache had then, with the batches that it would have had. What later epochs take is said by the
        option `grow`. A state after a whole epoch begins a new one.

        Warns where the store has more frames, and `grow` is False.

        Raises:
            SamplingError: `state` is not the state of a loader, or belongs to another store, sampling, window or seed,
                or to a newer version of the cache, or to one whose videos were forgotten since; the message names both
                sides.
        """
        self._cursor.load(LoaderState.from_builtins(state))
        self._reads.drop()  # an epoch of the state may be over other frames

    def __iter__(self) -> Iterator[Batch]:
        """The batches of the next epoch. An error of the store is raised in the place of its batch."""
        if self._device.type == "cuda":
            # This process may have been forked after the loader was made.
            check_cuda_usable_here(self._device.index)
        return closed_at_exit(self._batches())

    def _batches(self) -> Generator[Batch]:
        with self._cursor.iteration() as iteration:
            epoch, first_position = iteration.began
            share = self._epochs.slice_from(epoch, first_position)
            reader = self._reader()
            begin = partial(self._begin_reads, iteration.began, reader)
            read = self._reads.batches(
                iteration.began, begin, num_batches=len(share), of=reader, goes_on=self._next_epoch
            )
            # If the caller stops early, Python closes this generator, which closes the inner one.
            with closing(read) as batches:
                for step in range(len(share)):
                    # No name in this frame holds the batch: its memory may be used again once the caller drops it.
                    position = share.position_after(step)
                    yield cast("Batch", _handed_out(next(batches), iteration, position=position))

    def _begin_reads(self, began: Place, reader: BatchReader) -> Reads:
        known = partial(self._epochs.requests_to_come, *began, next_epochs=self._next_epoch)
        if not self._lookahead:
            return BatchReads(
                known(),
                reader,
                partial(Prefetcher, self._sources, known),
                num_threads=self._num_threads,
                read_ahead=self._read_ahead,
                announced_ahead=batches_on_their_way(
                    self._sources, frames_per_batch=self._epochs.frames_per_batch
                ),
            )
        return LookaheadReads(
            known(),
            reader,
            self._sources,
            lookahead=self._lookahead,
            capacity=self._lookahead_frames,
            num_threads=self._num_threads,
            read_ahead=self._read_ahead,
        )

    def _reader(self) -> BatchReader:
        """The reader, with its memory, is kept from one epoch to the next: fresh memory pages are slow."""
        if self._device.type == "cuda":
            if self._device not in self._readers:
                self._readers[self._device] = DeviceReader(
                    self._store,
                    streams=CudaStreams(self._device),
                    sources=self._sources,
                    decode_jpegs=self._decode_jpegs,
                    columns=self._columns,
                )
            return self._readers[self._device]
        pin_memory = self._pin_memory
        if pin_memory is None:
            pin_memory = bool(torch.cuda.is_initialized())  # type: ignore[no-untyped-call]
        if pin_memory not in self._readers:
            self._readers[pin_memory] = CpuReader(
                self._store,
                sources=self._sources,
                frames_per_batch=self._epochs.frames_per_batch,
                num_spare=self._read_ahead + 2,
                pin_memory=pin_memory,
                columns=self._columns,
            )
        return self._readers[pin_memory]


def _handed_out(batch: ReadBatch, iteration: Iteration, *, position: int) -> FrameBatch | CameraBatch:
    iteration.give(position)
    return batch.handed_out()  # in the caller's thread, because that thread's current stream has to wait
