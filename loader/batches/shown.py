"""What a notebook shows of a batch: a grid of pictures, or strips of windows, with ids and places."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from frame_store.html import Child
from frame_store.notebook import Figure, facts_table, grid, pictures_of, place_lines, small
from frame_store.shared import counted

if TYPE_CHECKING:
    import torch

MOST_PICTURES: Final = 16
MOST_IN_STRIP: Final = 8
_THINNED: Final = 1024
"""A larger side is thinned out to about so many pixels before it leaves its device."""


AnchorBatch: TypeAlias = Any
"""That of `anchors`, which imports this module."""


def batch_html(batch: AnchorBatch) -> Child:
    """What a notebook shows of a batch. The few frames that are shown are copied to the host."""
    frames: Any = batch.frames
    by_camera: Mapping[str | None, torch.Tensor] = frames if isinstance(frames, Mapping) else {None: frames}
    times = _strip_of(batch)
    num_anchors = _num_anchors(batch, by_camera, num_times=len(times))
    said: list[str] = []
    if num_anchors < len(batch):
        said.append(f"the first {num_anchors:,} of {len(batch):,}")
    if len(times) == MOST_IN_STRIP < batch.cache_ids.shape[-1]:
        said.append(f"{MOST_IN_STRIP} of {counted(batch.cache_ids.shape[-1], 'frame')} of each window")
    captions = [_caption(batch, anchor, times) for anchor in range(num_anchors)]
    figures: list[list[Figure]] = []
    for name, tensor in list(by_camera.items())[:MOST_PICTURES]:
        label = "" if name is None else f"{name}: "
        strips = [_strip(tensor[anchor], times, batch) for anchor in range(num_anchors)]
        if any(strip is None for strip in strips):
            said.append(f"{label}{_type_of(tensor)} {tuple(tensor.shape)} is no picture")
            continue
        shown = [strip for strip in strips if strip is not None]
        pictures, how = pictures_of([frame for strip in shown for frame in strip])
        said += [label + how] if how else []
        of_strip = len(pictures) // max(1, num_anchors)
        figures.append(
            [
                Figure(
                    pictures=pictures[anchor * of_strip : (anchor + 1) * of_strip],
                    alt=f"{label}frame {int(batch.frame_ids[anchor])}",
                    caption=captions[anchor] if name is None else [name, *captions[anchor]],
                )
                for anchor in range(num_anchors)
            ]
        )
    together = [figure for of_anchor in zip(*figures, strict=True) for figure in of_anchor]
    facts: list[tuple[str, Any]] = [("batch", repr(batch))]
    return [
        facts_table([*facts, ("pictures", "; ".join(said))] if said else facts),
        grid(together) if together else None,
    ]


def _strip_of(batch: AnchorBatch) -> list[int]:
    """Positions in a window that are shown; one without windows."""
    num_times = batch.cache_ids.shape[1] if batch.cache_ids.dim() == 2 else 1
    number = min(num_times, MOST_IN_STRIP)
    return sorted({round(place) for place in np.linspace(0, num_times - 1, number).tolist()})


def _num_anchors(
    batch: AnchorBatch, by_camera: Mapping[str | None, "torch.Tensor"], *, num_times: int
) -> int:
    """Anchors whose pictures are `MOST_PICTURES` at most together, one or more."""
    of_anchor = sum(
        num_times * max(1, _num_views(tensor, batch)) for tensor in list(by_camera.values())[:MOST_PICTURES]
    )
    return min(len(batch), max(1, MOST_PICTURES // max(1, of_anchor)))


def _num_views(tensor: "torch.Tensor", batch: AnchorBatch) -> int:
    """Pictures of one time of one anchor: the cameras that are stacked in a tensor."""
    between = tensor.shape[batch.cache_ids.dim() : -3]
    return int(np.prod(between)) if tensor.dim() >= 4 else 1


def _strip(shown: "torch.Tensor", times: Sequence[int], batch: AnchorBatch) -> list[npt.NDArray[Any]] | None:
    """The pictures of an anchor, (H, W, C) each; None where its tensor holds none."""
    if shown.dim() < 3 or shown.shape[-3] not in {1, 3} or not shown.numel():
        return None
    if batch.cache_ids.dim() == 2:
        if shown.dim() < 4 or shown.shape[0] != batch.cache_ids.shape[1]:
            return None
        shown = shown[list(times)] if len(times) < len(shown) else shown
    step = max(1, max(shown.shape[-2:]) // _THINNED)
    pictures = shown.reshape(-1, *shown.shape[-3:])[:MOST_PICTURES]
    return [small(_array(picture[:, ::step, ::step]).transpose(1, 2, 0)) for picture in pictures]


def _array(tensor: "torch.Tensor") -> npt.NDArray[Any]:
    """The numbers of a tensor of any device, as numpy has them."""
    host = tensor.detach().cpu()
    if host.is_floating_point() and host.element_size() < 4:
        host = host.float()  # numpy has no bfloat16
    array: npt.NDArray[Any] = host.numpy()
    return array.astype(np.uint8) if array.dtype == np.bool_ else array


def _type_of(tensor: "torch.Tensor") -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _caption(batch: AnchorBatch, anchor: int, times: Sequence[int]) -> list[str]:
    frame_id, video_id = int(batch.frame_ids[anchor]), int(batch.video_ids[anchor])
    if batch.cache_ids.dim() == 1:
        place = place_lines(
            video_id=video_id,
            name=None,
            frame_in_video=int(batch.frame_in_video[anchor]),
            seconds=float(batch.pts_seconds[anchor]),
        )
        return [f"id {frame_id:,}", *place]
    frames = batch.frame_in_video[anchor][list(times)].tolist()
    known = [value for value in batch.pts_seconds[anchor][list(times)].tolist() if not np.isnan(value)]
    lines = [f"id {frame_id:,}", f"video {video_id}", f"frames {', '.join(map(str, frames))}"]
    if known:
        lines.append(f"{known[0]:.3f} to {known[-1]:.3f} s")
    if batch.frame_is_pad is not None and (num_padded := int(batch.frame_is_pad[anchor].sum())):
        lines.append(f"{counted(num_padded, 'frame')} padded")
    return lines
