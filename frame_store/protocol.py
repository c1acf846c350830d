"""The interface of frame stores, cached and live ones alike, and the checks of what their callers pass."""

import inspect
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, overload, runtime_checkable

import numpy as np
import numpy.typing as npt

from frame_store.errors import FrameIdError
from frame_store.names import PixelDtype
from frame_store.shared import counted
from frame_store.source_order import SourceOrder
from frame_store.video_table import VideoTable

if TYPE_CHECKING:
    import torch

FrameIds: TypeAlias = npt.NDArray[np.integer[Any]] | Sequence[int]
Frames: TypeAlias = npt.NDArray[np.uint8 | np.uint16]
"""uint8 with three channels (`rgb8`), or uint16 with one (`gray16`): (H, W, C) or (B, H, W, C)."""

FrameRows: TypeAlias = npt.NDArray[Any]
"""Where frames come from: a structured array of shape (B,), a row for each frame.

It has at least the fields `video_id`, `frame_in_video` and `shard_id`, which are int64, and `pts_seconds`, float64 (NaN
where the source has none).
"""


class _LooksForMembers(type(Protocol)):  # type: ignore[misc]
    """`isinstance` looks for the members of a protocol, and does not compute them: `videos` may read a large file.

    Python does so by itself from 3.12 on.
    """

    def __instancecheck__(cls, instance: object) -> bool:
        if not cls._is_protocol:
            return bool(super().__instancecheck__(instance))
        bases = (base for base in cls.__mro__ if isinstance(base, _LooksForMembers))
        members = {name for base in bases for name in vars(base) if not name.startswith("_")} | {"__len__"}
        return all(inspect.getattr_static(instance, name, None) is not None for name in members)


@runtime_checkable
class FrameStore(Protocol, metaclass=_LooksForMembers):
    """A finite, ordered set of equally shaped frames, addressed by frame id: colour, or 16-bit gray.

    Duties of each implementation: several threads may read at once; the store pickles without its open files, and opens
    them anew after unpickling and after a fork.
    """

    @property
    def frame_shape(self) -> tuple[int, int, int]:
        """(H, W, C) of every frame: C is 3 for colour, 1 for 16-bit gray."""
        ...

    @property
    def frame_dtype(self) -> PixelDtype:
        """Of every frame: uint8 for colour (RGB), uint16 for 16-bit gray."""
        ...

    @property
    def shard_sizes(self) -> npt.NDArray[np.int64]:
        """Frames per shard, shape (S,). Shard s holds the ids [sum(sizes[:s]), sum(sizes[:s+1]))."""
        ...

    @property
    def fingerprint(self) -> str:
        """Hex digest of the inputs and the configuration that determine every frame."""
        ...

    @property
    def videos(self) -> VideoTable:
        """The table of videos; `video_id` is the row."""
        ...

    @property
    def source_order(self) -> SourceOrder:
        """The frames video by video, in time order. It is made or read when it is first asked for."""
        ...

    @property
    def may_cross_fork(self) -> bool:
        """Whether a process forked from this one may read from the store.

        False where reading uses CUDA, which does not survive a fork: such a store needs threads or spawned processes.
        """
        ...

    def __len__(self) -> int: ...

    @overload
    def __getitem__(self, key: int, /) -> Frames: ...
    @overload
    def __getitem__(self, key: slice, /) -> Frames: ...
    def __getitem__(self, key: int | slice, /) -> Frames:
        """`store[i]`: one frame (H, W, C). `store[a:b]`: several, (B, H, W, C). Negative ids count back.

        They are of `frame_dtype`.

        Raises `FrameIdError` (an `IndexError`) and what `read_frames` raises.
        """
        ...

    def __iter__(self) -> Iterator[Frames]:
        """Every frame, (H, W, C) of `frame_dtype`, in the order of ids."""
        ...

    def ids_of_video(self, video_id: int) -> npt.NDArray[np.int64]:
        """Ids of the video's frames in time order: int64, shape (n,).

        Raises `FrameIdError` for a video outside [0, V).
        """
        ...

    def read_frames(self, frame_ids: FrameIds, out: Frames | None = None) -> Frames:
        """Frames in request order, duplicates allowed: shape (B, H, W, C), of `frame_dtype`.

        `out`, if given, is a C-contiguous buffer of that shape and dtype; it is filled and returned.
        Raises `FrameIdError`, `ValueError` for a wrong buffer, `StoreDamagedError`.
        """
        ...

    def rows_of(self, frame_ids: FrameIds) -> FrameRows:
        """The frames' rows in request order, duplicates allowed; decodes nothing.

        Raises `FrameIdError`, `StoreDamagedError`.
        """
        ...

    def read_frames_and_rows(
        self, frame_ids: FrameIds, out: Frames | None = None
    ) -> tuple[Frames, FrameRows]:
        """What `read_frames` and `rows_of` give, in one call: a store then looks up the rows of a batch once."""
        ...

    def close(self) -> None:
        """Release files; reading afterwards reopens them."""
        ...


@runtime_checkable
class PrefetchingStore(FrameStore, Protocol):
    """A store on a disk that can fetch frames ahead of time."""

    def prefetch(self, frame_ids: FrameIds) -> bool:
        """Start reading the frames into memory. Does not wait, and finds no damage: it is a hint.

        It looks for a few of the frames, and returns True if one was not in memory.
        """
        ...


class LocatedFrames(Protocol):
    """Frames that a store has looked up. The store alone knows what else is in it."""

    @property
    def rows(self) -> FrameRows:
        """Their rows, shape (B,)."""
        ...

    def part(self, first: int, end: int) -> "LocatedFrames":
        """The frames at `first`, ..., `end` - 1."""
        ...


@runtime_checkable
class LocatesFrames(FrameStore, Protocol):
    """A store that looks frames up apart from reading them: those of several batches at once, in as many steps."""

    def locate(self, frame_ids: FrameIds) -> LocatedFrames:
        """Look frames up, in request order. Raises what `rows_of` raises."""
        ...

    def read_located(self, located: Any, out: Frames | None = None) -> Frames:  # noqa: ANN401 - of this store
        """`read_frames` of frames that `locate` of this store has found. Raises what it raises."""
        ...


class Feed(Protocol):
    """What a store fetches ahead for one iteration. Threads of the store do it."""

    def advance(self) -> None:
        """One more batch has been asked for, and is read soon. Does not wait for what it wants."""
        ...

    def close(self) -> None:
        """The iteration has ended. What is on its way may end; nothing further is fetched."""
        ...


@runtime_checkable
class FetchesShards(FrameStore, Protocol):
    """A store that may download whole shards ahead of the reads, where it knows the batches to come."""

    def feed(self, upcoming: Iterator[npt.NDArray[np.int64]], *, num_in_flight: int) -> Feed | None:
        """Begin to fetch what batches want. It is a hint: what was not fetched is read in another way.

        Args:
            upcoming: the ids of each batch to come, int64, shape (B,), in the order in which they are read; drawn as
                far ahead as there is room, by threads of the store, one at a time. It need not end with an epoch.
            num_in_flight: batches that are read at the same time.

        Returns:
            What to tell of each batch that is asked for, and to close; None where nothing is to be fetched.
        """
        ...


def frames_ahead(store: FrameStore) -> int:
    """How many frames a store wants announced by `prefetch` ahead of the reads; 0 where few are enough.

    A store whose frames come over a network has the attribute `frames_ahead`.
    """
    return int(getattr(store, "frames_ahead", 0))


@runtime_checkable
class DecodesInGroups(FrameStore, Protocol):
    """To read a frame, this store decodes the frames before it; these are then free.

    With `decode_groups`, a reader decodes each group once for all the batches that it looks ahead to.
    """

    def decode_groups(self, frame_ids: FrameIds) -> npt.NDArray[np.int64]:
        """Group of each frame, int64 (B,): the id of the frame where decoding must start.

        One run of the decoder gives the frames of a group in the order of their ids, so the last wanted frame decides
        the cost: `max(ids) - group + 1` frames are decoded. Groups are a hint for planning. While a store reads, it
        may learn better groups (groups then merge). `read_frames` gives the right frames in any case.
        Raises `FrameIdError`.
        """
        ...

    def read_frames_into(self, frame_ids: FrameIds, outs: Sequence[Frames]) -> None:
        """Like `read_frames`, with a place for each frame: frame_ids[i] goes to outs[i].

        `outs[i]` is a writeable, C-contiguous array (H, W, C) of `frame_dtype`. After an error some may be filled.
        Raises what `read_frames` raises.
        """
        ...


@runtime_checkable
class HoldsEncodedFrames(FrameStore, Protocol):
    """A store that also gives frames in their encoded form, for another decoder."""

    @property
    def encoding_name(self) -> str:
        """How a frame is encoded: `raw`, `jpeg` or `zstd`."""
        ...

    def read_encoded(self, frame_ids: FrameIds) -> list[npt.NDArray[np.uint8]]:
        """Encoded frames in request order, duplicates allowed: uint8 (L,) each, L the bytes of that frame.

        Raises what `read_frames` raises, except for damage that only decoding shows.
        """
        ...


@runtime_checkable
class DecodesOnDevice(FrameStore, Protocol):
    """A store that decodes frames into a GPU's memory; `read_frames` copies them to the CPU."""

    @property
    def device(self) -> "torch.device":
        """The GPU with its number: `cuda:0`."""
        ...

    def read_frames_on_device(self, frame_ids: FrameIds, out: "torch.Tensor | None" = None) -> "torch.Tensor":
        """Like `read_frames`, with a tensor on `device`: uint8 RGB (B, H, W, 3), no copy through the host.

        `out`, if given, is a contiguous tensor of that shape on `device`; it is filled and returned. The caller's
        current stream waits for the frames, the host does not. Several threads may call this method at once.
        Raises what `read_frames` raises, and `CudaForkError` in a process forked from one that uses CUDA.
        """
        ...


def check_frame_ids(frame_ids: FrameIds, *, num_frames: int) -> npt.NDArray[np.int64]:
    """The ids as int64, shape (B,).

    Raises:
        FrameIdError: an id outside [0, num_frames).
        ValueError: not a flat sequence of integers.
    """
    ids = np.asarray(frame_ids)
    if ids.ndim != 1 or (ids.size and ids.dtype.kind not in "iu"):
        raise ValueError(
            f"frame ids must be a flat sequence of integers, found {ids.dtype} of shape {ids.shape}"
        )
    as_int64 = ids.astype(np.int64, copy=False)
    # Negative numbers are large ones in uint64, and uint64 ones that int64 cannot hold become themselves again.
    if ids.size and as_int64.view(np.uint64).max() >= num_frames:
        outside = (ids < 0) | (ids >= num_frames)
        raise FrameIdError(f"frame id {ids[outside][0]} is outside [0, {num_frames})")
    return as_int64


def check_out(out: Frames | None, *, num_frames: int, store: FrameStore) -> Frames:
    """`out`, checked; a new buffer for frames of `store`, (num_frames, H, W, C), where `out` is None.

    Raises:
        ValueError: wrong shape or dtype, not C-contiguous, or read-only.
        TypeError: `out` is not a numpy array.
    """
    shape, frame_dtype = (num_frames, *store.frame_shape), store.frame_dtype
    if out is None:
        return np.empty(shape, frame_dtype)
    if not isinstance(out, np.ndarray):
        raise TypeError(f"out must be a numpy array of shape {shape}, found {type(out).__name__}")
    if (
        out.shape != shape
        or out.dtype != frame_dtype
        or not out.flags.c_contiguous
        or not out.flags.writeable
    ):
        raise ValueError(
            f"out must be a writeable C-contiguous {frame_dtype} array of shape {shape}, found {out.dtype} {out.shape}"
            f"{'' if out.flags.c_contiguous else ', not contiguous'}{'' if out.flags.writeable else ', read-only'}"
        )
    return out


def check_outs(outs: Sequence[Frames], *, num_frames: int, store: FrameStore) -> None:
    """Check that each frame of `store` has a place of the right kind.

    Raises:
        ValueError: another number of places than frames, or one of a wrong shape or dtype, not C-contiguous, or
            read-only.
    """
    if len(outs) != num_frames:
        raise ValueError(f"expected a place for each of {counted(num_frames, 'frame')}, found {len(outs)}")
    frame_shape, frame_dtype = store.frame_shape, store.frame_dtype
    for out in outs:
        if (
            out.shape != frame_shape
            or out.dtype != frame_dtype
            or not (out.flags.c_contiguous and out.flags.writeable)
        ):
            raise ValueError(
                f"each of outs must be a writeable C-contiguous {frame_dtype} array of shape {frame_shape}, "
                f"found {out.dtype} {out.shape}"
            )
