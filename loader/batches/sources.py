"""Where the frames of a batch come from: one store, or each camera of a group, with what is done to them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, TypeAlias, cast

import numpy as np
import numpy.typing as npt
import torch

from frame_store.cameras import AlignedStore, stores_of_cameras
from frame_store.protocol import FrameRows, Frames, FrameStore, LocatedFrames, LocatesFrames
from frame_store.shared import counted, flag
from frame_store.views import base_of
from loader.augment import Augment, Augmentation, augmented_frames, checked_augment, require_augments
from loader.batches.camera_batch import CameraBatch
from loader.batches.frame_batch import FrameBatch
from loader.errors import SamplingError
from loader.sampling.orders import Int64s
from loader.windows import BatchRequest

Shown: TypeAlias = Literal["frames", "by camera", "stacked"]
"""What `batch.frames` is: a tensor of the one store, a dict by camera, or a tensor of all cameras."""

AugmentChoice: TypeAlias = Augment | Mapping[str, Augment] | None
"""One for all frames, or by camera; cameras that are not named stay as they are."""

CAMERA_AXIS: Final = -4
"""The dimension of stacked cameras stands before channel, height and width."""


@dataclass(frozen=True, kw_only=True, eq=False)
class FrameSource:
    """The frames of one store: all of a batch, or those of one camera."""

    camera: str | None
    """None for a store without cameras."""
    store: FrameStore
    """Read with `own_ids`."""
    aligned: AlignedStore | None = None
    """What translates ids of the group, where the camera keeps its frames in another order."""
    augment: Augment | None = None
    shares_draw: bool = False
    """Whether an `Augmentation` draws the same for all cameras."""

    @property
    def frame_shape(self) -> tuple[int, int, int]:
        """(H, W, C)."""
        return self.store.frame_shape

    @property
    def dtype(self) -> torch.dtype:
        """Of the pixels as they are read."""
        return torch.from_numpy(np.empty(0, self.store.frame_dtype)).dtype

    def own_ids(self, cache_ids: Int64s) -> Int64s:
        """Ids of the base, shape (B,), as ids of `store`."""
        return cache_ids if self.aligned is None else self.aligned.own_ids(cache_ids)

    def own_request(self, request: BatchRequest) -> BatchRequest:
        """The request with `cache_ids` of `store`."""
        if self.aligned is None:
            return request
        own = self.own_ids(request.cache_ids.reshape(-1)).reshape(request.cache_ids.shape)
        return replace(request, cache_ids=own)

    def augmented(
        self,
        frames: torch.Tensor,
        *,
        anchor_ids: npt.ArrayLike | torch.Tensor,
        epoch: int,
        out: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """`frames` (B, C, H, W) or (B, T, C, H, W) augmented; without an augmentation, as they are."""
        if self.augment is None:
            return frames
        return augmented_frames(
            self.augment,
            frames,
            frame_ids=anchor_ids,
            epoch=epoch,
            camera=self.camera,
            shares_draw=self.shares_draw,
            out=out,
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class FrameSources:
    """All sources of a batch, and how their frames are put together."""

    base: FrameStore
    sources: tuple[FrameSource, ...]
    shown: Shown
    gives_rows: bool = True
    """Whether the first source gives the rows of the base, so that they are looked up with its frames."""

    @property
    def bytes_of_moment(self) -> int:
        """Bytes of one frame of every source, as they are read."""
        return sum(int(np.prod(source.frame_shape)) * source.dtype.itemsize for source in self.sources)

    def read(
        self, cache_ids: Int64s, outs: Sequence[Frames], *, located: LocatedFrames | None = None
    ) -> FrameRows:
        """The frames with these ids of the base, shape (B,), into a buffer (B, H, W, C) a source; and their rows.

        `located` are the same frames, where the base has looked them up.
        """
        if located is not None:
            cast("LocatesFrames", self.base).read_located(located, outs[0])  # it has no cameras: one source
            return located.rows
        if self.gives_rows and len(self.sources) == 1:
            return self.sources[0].store.read_frames_and_rows(cache_ids, out=outs[0])[1]
        others = list(zip(self.sources, outs, strict=True))
        if self.gives_rows:
            _, rows = self.sources[0].store.read_frames_and_rows(cache_ids, out=outs[0])  # it checks the ids
            del others[0]
        else:
            rows = self.base.rows_of(cache_ids)
        for source, out in others:
            source.store.read_frames(source.own_ids(cache_ids), out=out)
        return rows

    def batch(
        self, frames: torch.Tensor | dict[str, torch.Tensor], fields: Mapping[str, Any]
    ) -> FrameBatch | CameraBatch:
        """A batch of what `together` gives and the other `fields`."""
        made = FrameBatch if self.shown != "by camera" else CameraBatch
        return made(frames=frames, **fields)  # type: ignore[arg-type]  # `together` goes by `shown`, too

    def without_augment(self) -> "FrameSources":
        """The same sources, whose frames stay as they are read."""
        return replace(self, sources=tuple(replace(source, augment=None) for source in self.sources))

    def augmented(
        self, batch: FrameBatch | CameraBatch, *, anchor_ids: npt.ArrayLike, epoch: int
    ) -> FrameBatch | CameraBatch:
        """A batch of `without_augment` with augmented frames."""
        if all(source.augment is None for source in self.sources):
            return batch
        if isinstance(batch, CameraBatch):
            frames = list(batch.frames.values())
        else:
            frames = [*batch.frames.unbind(CAMERA_AXIS)] if self.shown == "stacked" else [batch.frames]
        made = [
            source.augmented(own, anchor_ids=anchor_ids, epoch=epoch)
            for source, own in zip(self.sources, frames, strict=True)
        ]
        return batch.with_frames(self.together(made))  # type: ignore[arg-type]  # both go by `shown`

    def together(self, frames: Sequence[torch.Tensor]) -> torch.Tensor | dict[str, torch.Tensor]:
        """The field `frames` of a batch out of the frames of each source; stacking copies them.

        Raises:
            SamplingError: frames that are to be stacked have different shapes or dtypes.
        """
        if self.shown == "frames":
            return frames[0]
        if self.shown == "by camera":
            return {str(source.camera): shown for source, shown in zip(self.sources, frames, strict=True)}
        if len({(shown.shape, shown.dtype) for shown in frames}) > 1:
            made = ", ".join(
                f"{source.camera!r} {shown.dtype} {tuple(shown.shape)}"
                for source, shown in zip(self.sources, frames, strict=True)
            )
            raise SamplingError(
                f"stack_cameras=True needs augmented frames of one shape and dtype, found {made}"
            )
        return torch.stack(list(frames), dim=CAMERA_AXIS if frames[0].dim() >= -CAMERA_AXIS else 1)


def frame_sources(
    store: FrameStore,
    *,
    cameras: Iterable[str] | None = None,
    stack_cameras: bool = False,
    augment: AugmentChoice = None,
    shared_augment: bool = False,
) -> FrameSources:
    """Where batches of `store` get their frames from; the arguments are those of `loader.FrameLoader`.

    Raises:
        SamplingError: options of cameras for a store without cameras, a camera that does not exist, frames that cannot
            be stacked, or an augmentation that is none.
    """
    base = base_of(store)
    stack_cameras = flag("stack_cameras", stack_cameras, error=SamplingError)
    shared_augment = flag("shared_augment", shared_augment, error=SamplingError)
    stores = stores_of_cameras(base)
    if stores is None:
        for name, is_given in (
            ("cameras", cameras is not None),
            ("stack_cameras", stack_cameras),
            ("shared_augment", shared_augment),
            ("augment, a dict by camera,", isinstance(augment, Mapping)),
        ):
            if is_given:
                raise SamplingError(
                    f"{name} is for a group of cameras, found a {type(base).__name__}, which has one kind of frames"
                )
        source = _source_of(None, base, augment=checked_augment(augment))
        return FrameSources(base=base, sources=(source,), shown="frames")
    names = _chosen_cameras(cameras, list(stores))
    augments = _by_camera(augment, names)
    if shared_augment and not any(isinstance(one, Augmentation) for one in augments.values()):
        raise SamplingError(
            f"shared_augment=True shares what a loader.Augmentation draws, found augment={augment!r}"
        )
    sources = tuple(
        _source_of(name, stores[name], augment=augments[name], shares_draw=shared_augment) for name in names
    )
    if stack_cameras:
        _require_stackable(sources)
    return FrameSources(
        base=base,
        sources=sources,
        shown="stacked" if stack_cameras else "by camera",
        gives_rows=sources[0].store is next(iter(stores.values())),
    )


def _source_of(
    name: str | None, store: FrameStore, *, augment: Augment | None, shares_draw: bool = False
) -> FrameSource:
    require_augments(augment, frame_dtype=store.frame_dtype, camera=name)
    aligned = store if isinstance(store, AlignedStore) else None
    return FrameSource(
        camera=name,
        store=store if aligned is None else aligned.store,
        aligned=aligned,
        augment=augment,
        shares_draw=shares_draw,
    )


def _chosen_cameras(cameras: Iterable[str] | None, names: list[str]) -> list[str]:
    if cameras is None:
        return names
    if isinstance(cameras, str) or not isinstance(cameras, Iterable):
        raise SamplingError(f"cameras must be a list of names, such as [{names[0]!r}], found {cameras!r}")
    chosen = list(cameras)
    unknown = [name for name in chosen if name not in names]
    if unknown or not chosen or len(set(chosen)) < len(chosen):
        raise SamplingError(
            f"cameras must be some of {', '.join(map(repr, names))}, each once, found {chosen!r}"
        )
    return chosen


def _by_camera(augment: AugmentChoice, names: list[str]) -> dict[str, Augment | None]:
    if not isinstance(augment, Mapping):
        checked = checked_augment(augment)
        return dict.fromkeys(names, checked)
    unknown = [name for name in augment if name not in names]
    if unknown:
        raise SamplingError(
            f"augment has a camera {unknown[0]!r}, and the batch has {', '.join(map(repr, names))}"
        )
    return {name: checked_augment(augment.get(name)) for name in names}


def _require_stackable(sources: Sequence[FrameSource]) -> None:
    if len({(source.frame_shape, source.dtype) for source in sources}) > 1:
        found = ", ".join(f"{source.camera!r} has {source.dtype} {source.frame_shape}" for source in sources)
        raise SamplingError(
            f"stack_cameras=True needs {counted(len(sources), 'camera')} of one shape and dtype: {found}; take "
            "cameras= to read those that are alike, or batch.frames by camera"
        )
