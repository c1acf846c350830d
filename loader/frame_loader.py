"""Batches out of a frame store, read ahead by threads of this process."""

from collections import deque
from collections.abc import Generator, Iterator
from contextlib import closing
from functools import partial
from itertools import islice
from math import prod
from typing import Any, Unpack

import torch

from frame_store.protocol import DecodesInGroups, DecodesOnDevice, FrameStore, PrefetchingStore
from frame_store.shared import check_cuda_usable_here, flag, num_usable_cpus, whole_number
from loader.augment import Augment, checked_augment
from loader.batches import (
    BatchReader,
    CpuReader,
    FrameBatch,
    ReadBatch,
    ReaderThreads,
    Reading,
    closed_at_end,
    closed_at_exit,
)
from loader.errors import SamplingError
from loader.gpu import (
    CudaStreams,
    Device,
    DeviceReader,
    JpegDecode,
    chosen_device,
    chosen_jpeg_decoder,
)
from loader.lookahead import read_with_lookahead
from loader.sampling import BatchOptions, Iteration, LoaderState, plan_epochs, takes_options
from loader.sampling.orders import Int64s
from loader.store_argument import StoreOrPath, opened_store

BATCHES_PER_WARM_PROBE = 32
"""A batch found in memory is asked for a few pages; so many others behind it are then taken to be there, too."""

DEFAULT_LOOKAHEAD_BYTES = 1 << 30

MIN_DECODING_THREADS = 8
"""For a store that decodes on a GPU: a decoding engine works on one stream at a time, of up to seven engines (H100),
and a thread mostly waits for its engine."""


class FrameLoader:
    """Iterates `FrameBatch` over any frame store, cached or live; one iteration is one epoch.

    The first iteration is epoch 0, each further one the next; `set_epoch` chooses. An iteration counts from its first
    batch on: `iter(loader)` alone takes no epoch, and neither does one whose first batch could not be read. A peek,
    `next(iter(loader))`, costs the epoch, and the reading of `read_ahead` more batches; `set_epoch` gives it back.

    Which frames come when depends on the shard sizes and the arguments alone, never on threads or processes.
    Threads, not worker processes: reading and decoding release the GIL, and a batch stays where it was decoded. They
    live as long as an iteration, and leaving it early (`break`) stops them. Several loaders, and several iterations of
    one, may run side by side.

    A batch may be kept: its memory is used again only when nobody holds the batch, its tensors or views of them.

    On a GPU, a batch is ready for the stream that is current in the thread that asks for it, as tensors are that were
    made there; nobody waits on the host. Frames go up as bytes, H W 3 of them each, and become floats there.
    """

    @takes_options("FrameLoader")
    def __init__(
        self,
        store: StoreOrPath,
        *,
        num_threads: int | None = None,
        read_ahead: int | None = None,
        device: Device | None = None,
        jpeg_decode: JpegDecode = "cpu",
        pin_memory: bool | None = None,
        augment: Augment | None = None,
        lookahead: int = 0,
        lookahead_bytes: int = DEFAULT_LOOKAHEAD_BYTES,
        **options: Unpack[BatchOptions],
    ) -> None:
        """Plan the epochs of `store`.

        Args:
            store: where the frames are: an open store, or the path of a cache, which is opened as
                `frame_store.open_store(path)` does and goes with this loader (`loader.store.close()` releases its
                files earlier; reading opens them again). A store that was given stays open.
            num_threads: batches read at the same time; None for the CPUs this process may use, and for 8 or more
                where the store decodes on a GPU.
            read_ahead: batches read or being read beyond the one handed out, which bounds memory, and how far ahead
                a cold disk is asked for frames; None for num_threads + 1.
            device: where the batches are to be: "cpu", "cuda" (torch's current GPU), "cuda:1", or a torch.device.
                None for where the store has its frames: the GPU it decodes on, and else the CPU. A store that decodes
                on a GPU never copies frames to the host unless "cpu" is asked for.
            jpeg_decode: "gpu" has the GPU decode the frames of a JPEG cache, which then go up as they are stored; it
                takes torchcodec (`pip install 'frame-cache[gpu]'`) or torchvision. Pixels differ from those that the
                CPU decodes by a level or two, as decoders do.
            pin_memory: for batches on the CPU: read into page-locked memory, from where
                `batch.to("cuda", non_blocking=True)` overlaps with other work; None for where this process has used
                CUDA when an iteration begins.
            augment: applied on `device` in the threads that read (with `lookahead`, in one beside those that decode);
                `batch.frames` is then what it makes of them. An `Augmentation` is a function of its seed, epoch and
                frame ids. Any other callable gets the uint8 tensor (B, 3, H, W), channels_last, for clips
                (B, T, 3, H, W), under `torch.no_grad()`, and returns a tensor whose first dimension is B, on the same
                device. Several threads call it at once, and its randomness is its own: torch's global generator as a
                rule, so that seed and epoch do not repeat it (AUGMENTATION.md, section 5). What it raises is raised
                where its batch would have come. None leaves the frames as they are.
            lookahead: for videos decoded live on the CPU: batches known beyond the one that is due, so that each
                group of pictures is decoded once for all of them. The order of frames stays the same.
            lookahead_bytes: memory for frames that were decoded before they are due, on top of the batches'.
            options: which frames come together when: batch_size, sampling, seed, rank, world_size and others. They
                are listed, with their types, defaults and meanings, in `loader.BatchOptions`.

        Warns:
            UnshardedWarning: several processes train, as `torch.distributed` or WORLD_SIZE show, and no rank is
                given. Where that shows later, the first iteration behind it warns. `rank=0, world_size=1` is silent.

        Raises:
            SamplingError: the arguments contradict each other or the store, or an option does not exist (also a
                TypeError).
            StoreError: no usable cache at the path.
            CudaUnavailableError: a GPU is asked for, and there is none that can be used, or no decoder for
                `jpeg_decode="gpu"`; says why and what helps.
            CudaForkError: a GPU is asked for in a process that was forked from one that uses CUDA. Iterating raises
                it, too.
        """
        self._store = store = opened_store(store)
        self._plan, self._cursor = plan_epochs("FrameLoader", store, options)
        self._device = chosen_device(device, store)
        self._decode_jpegs = chosen_jpeg_decoder(jpeg_decode, store, self._device)
        if num_threads is None:
            least = MIN_DECODING_THREADS if isinstance(store, DecodesOnDevice) else 1
            num_threads = max(least, num_usable_cpus())
        self._num_threads = whole_number("num_threads", num_threads, least=1, error=SamplingError)
        if read_ahead is None:
            # Augmented batches are large, and take long enough to make for the threads never to run dry.
            read_ahead = self._num_threads + (augment is None)
        self._read_ahead = whole_number("read_ahead", read_ahead, least=1, error=SamplingError)
        if pin_memory is not None:
            pin_memory = flag("pin_memory", pin_memory, error=SamplingError)
        if self._device.type == "cuda" and pin_memory is False:
            raise SamplingError(
                f"pin_memory=False is for batches on the CPU; device={str(self._device)!r} uploads from pinned memory"
            )
        if self._device.type == "cpu" and pin_memory and not torch.cuda.is_available():
            raise SamplingError("pin_memory=True needs CUDA, and torch finds none")
        self._pin_memory = pin_memory
        self._augment = checked_augment(augment)
        self._lookahead = whole_number("lookahead", lookahead, least=0, error=SamplingError)
        lookahead_bytes = whole_number("lookahead_bytes", lookahead_bytes, least=0, error=SamplingError)
        # No more than can wait: the window, and what steps under way are not done with.
        self._lookahead_frames = min(
            lookahead_bytes // prod(store.frame_shape),
            (self._lookahead + self._read_ahead) * self._plan.frames_per_batch,
        )
        self._check_lookahead()
        self._readers: dict[bool | torch.device, BatchReader] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_readers": {}}  # memory and streams do not travel

    def __repr__(self) -> str:
        return f"FrameLoader({self._plan}; {self._cursor})"

    @property
    def store(self) -> FrameStore:
        """Where the frames are."""
        return self._store

    def __len__(self) -> int:
        """Batches in an epoch, for this rank, the same in every epoch; `repr` says what the remainder makes of it."""
        return len(self._plan)

    def set_epoch(self, epoch: int) -> None:
        """Make `epoch` that of the next first batch: of a new iteration, or of one that has given nothing yet.

        It begins at its start. Only where a state inside this very epoch was loaded, it goes on from there: frameworks
        and training loops say the epoch that they resume, and must not lose the place in it.

        Raises:
            SamplingError: not in [0, 2**32).
        """
        self._cursor.set_epoch(epoch)

    @property
    def sampler(self) -> "FrameLoader":
        """Itself: where frameworks look for `set_epoch`, as torch's loaders have it (Lightning: `loader.sampler`)."""
        return self

    @property
    def batch_sampler(self) -> None:
        """None: a loader of torch's that has a `sampler` has this, too."""
        return

    def state_dict(self) -> dict[str, Any]:
        """Where the run stands behind the last batch that the caller has got; what was read ahead does not count.

        Plain values, the same on every rank. Once an iteration has ended it is the start of the next epoch. Behind
        the last batch, while the caller still works on it, it is the end of the epoch, of which nothing is left.
        """
        return self._cursor.state().to_builtins()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Make the next iteration go on from `state`, with any world size and batch size.

        Under `remainder="uneven"` the epoch's frames are all read once, by the ranks before and after together. Under
        "drop" each of them is read at most once: what is left is cut into whole steps of the new size. Under "pad"
        each is read at least once. Where nothing is left, the next iteration gives nothing and ends the epoch, so that
        a loop which counts epochs goes on right.

        Raises:
            SamplingError: no state of a loader, or one of another store, sampling or seed; both sides are named.
        """
        self._cursor.load(LoaderState.from_builtins(state))

    def __iter__(self) -> Iterator[FrameBatch]:
        """The next epoch's batches. An error of the store is raised where its batch would have come."""
        if self._device.type == "cuda":
            # This may be a forked child of where the loader was made.
            check_cuda_usable_here(self._device.index)
        return closed_at_exit(self._batches())

    def _batches(self) -> Generator[FrameBatch]:
        read = self._decode_ahead if self._lookahead else self._read_one_by_one
        with self._cursor.iteration() as iteration:
            epoch, first_position = iteration.began
            share = self._plan.slice_from(first_position)
            planned = self._plan.batches(epoch, first_position=first_position)
            # If the caller stops early, Python closes this generator, which closes the inner one.
            with closing(read(planned, epoch, num_batches=len(share))) as batches:
                for step in range(len(share)):
                    # No name in this frame holds the batch: its memory may be used again once the caller drops it.
                    yield _handed_out(next(batches), iteration, position=share.position_after(step))

    def _read_one_by_one(
        self, planned: Iterator[Int64s], epoch: int, *, num_batches: int
    ) -> Generator[ReadBatch]:
        reader, prefetcher = self._reader(), _Prefetcher(self._store)
        pending: deque[Reading[ReadBatch]] = deque()
        with closing(ReaderThreads(min(self._num_threads, num_batches))) as threads:
            for _ in range(num_batches):
                for frame_ids in islice(planned, self._read_ahead + 1 - len(pending)):
                    prefetcher.announce(frame_ids)
                    pending.append(threads.submit(partial(reader.read, frame_ids, epoch=epoch)))
                yield pending.popleft().result()

    def _decode_ahead(
        self, planned: Iterator[Int64s], epoch: int, *, num_batches: int
    ) -> Generator[ReadBatch]:
        assert isinstance(self._store, DecodesInGroups)  # checked where the loader was made
        reader = self._reader()
        decoded = read_with_lookahead(
            self._store,
            planned,
            lookahead=self._lookahead,
            capacity=self._lookahead_frames,
            num_threads=self._num_threads,
            lend_pixels=reader.lend_pixels,
            steps_in_flight=self._read_ahead,
        )

        def complete_next() -> ReadBatch:
            frame_ids, pixels = next(decoded)
            return reader.complete(frame_ids, pixels, epoch=epoch)

        # One thread, beside those that decode, takes the decoded batches in their order and augments them. It works on
        # the next batch while the caller works on the one before.
        with closed_at_end(decoded), closing(ReaderThreads(1)) as thread:
            pending = deque(thread.submit(complete_next) for _ in range(min(2, num_batches)))
            for number in range(num_batches):
                yield pending.popleft().result()
                if number + 2 < num_batches:
                    pending.append(thread.submit(complete_next))

    def _reader(self) -> BatchReader:
        """Kept from one epoch to the next with its memory, as fresh pages are slow."""
        if self._device.type == "cuda":
            if self._device not in self._readers:
                self._readers[self._device] = DeviceReader(
                    self._store,
                    streams=CudaStreams(self._device),
                    augment=self._augment,
                    decode_jpegs=self._decode_jpegs,
                )
            return self._readers[self._device]
        pin_memory = self._pin_memory
        if pin_memory is None:
            pin_memory = bool(torch.cuda.is_initialized())  # type: ignore[no-untyped-call]
        if pin_memory not in self._readers:
            self._readers[pin_memory] = CpuReader(
                self._store,
                augment=self._augment,
                frames_per_batch=self._plan.frames_per_batch,
                num_spare=self._read_ahead + 2,
                pin_memory=pin_memory,
            )
        return self._readers[pin_memory]

    def _check_lookahead(self) -> None:
        if self._lookahead and isinstance(self._store, DecodesOnDevice) and self._device.type == "cuda":
            raise SamplingError(
                f"lookahead={self._lookahead} keeps frames on the host until they are due, and "
                f"{type(self._store).__name__} decodes them on {self._device}; take lookahead=0, and clips or "
                f"sampling='sequential' for batches that share their groups of pictures, or decode on the CPU"
            )
        if self._lookahead and not isinstance(self._store, DecodesInGroups):
            raise SamplingError(
                f"lookahead={self._lookahead} is for videos decoded live; {type(self._store).__name__} finds a frame "
                f"without decoding others, and nothing would be saved"
            )


def _handed_out(batch: ReadBatch, iteration: Iteration, *, position: int) -> FrameBatch:
    iteration.give(position)
    return batch.handed_out()  # in the caller's thread: the stream that is current there has to wait


class _Prefetcher:
    """Has the disk asked for frames ahead of time; as long as they are in memory, only now and then."""

    def __init__(self, store: FrameStore) -> None:
        self._store = store if isinstance(store, PrefetchingStore) else None
        self._num_to_skip = 0

    def announce(self, frame_ids: Int64s) -> None:
        """The batch after those announced before will be read soon."""
        if self._store is None:
            return
        if self._num_to_skip:
            self._num_to_skip -= 1
        elif not self._store.prefetch(frame_ids.reshape(-1)):
            self._num_to_skip = BATCHES_PER_WARM_PROBE - 1
