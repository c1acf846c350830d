"""Decoded planes from GPU and CPU as arrays of the same form, and where they differ first."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any, Final, NamedTuple

import av
import numpy as np
import numpy.typing as npt
from av.packet import Packet
from av.video.plane import VideoPlane
from av.video.stream import VideoStream

from cache_builder.gpu import NvdecDevice, check_on_device
from cache_builder.video.opening import OpenContainer, choose_video_stream, open_container, read_packets

EXACT_CODECS: Final = ("h264", "hevc", "vp8", "vp9", "av1")
"""Their standards leave no choice to a decoder. Those of MPEG-1, -2 and -4 allow for inexact transforms."""

_SEMI_PLANAR: Final = {
    # format: (bytes of a sample, bits that a value is shifted up by, planes)
    "yuv420p": (1, 0, 3),
    "yuvj420p": (1, 0, 3),
    "nv12": (1, 0, 2),
    "yuv420p10le": (2, 6, 3),
    "p010le": (2, 0, 2),
    "yuv420p12le": (2, 4, 3),
    "p012le": (2, 0, 2),
    "p016le": (2, 0, 2),
}

ImportPlane = Callable[[VideoPlane], Any]
"""What makes a torch tensor of a plane in the GPU's memory: `NvdecDevice.import_plane`."""


class Planes(NamedTuple):
    """A frame as NVDEC gives it."""

    pts: int | None
    luma: npt.NDArray[Any]
    """uint8, or uint16 with the value in the upper bits; (H, W)."""
    chroma: npt.NDArray[Any]
    """The same, (ceil(H / 2), ceil(W / 2), 2): Cb, Cr."""


@dataclass(frozen=True, kw_only=True)
class PlaneComparison:
    """What comparing two decodes of a video gave."""

    num_frames: int
    """Compared."""
    num_differing: int
    num_missing: int
    """Frames that only one of them has."""
    same_pts: bool
    largest_difference: int
    """In steps of 8-bit video."""
    first_difference: str
    """Empty where there is none."""

    @property
    def is_equal(self) -> bool:
        """Bit for bit, frames and timestamps."""
        return not self.num_differing and not self.num_missing and self.same_pts

    def text(self) -> str:
        """In a few words."""
        if self.is_equal:
            return f"{self.num_frames} frames equal, pts too"
        parts = [f"{self.num_differing} of {self.num_frames} frames differ"] if self.num_differing else []
        parts += [f"{self.num_missing} frames in one only"] if self.num_missing else []
        parts += [] if self.same_pts else ["pts differ"]
        parts += [f"first: {self.first_difference}"] if self.first_difference else []
        return ", ".join(parts)


def frames_on_gpu(path: Path, nvdec: NvdecDevice) -> Iterator[av.VideoFrame]:
    """Every frame of a video, decoded by the GPU to its memory. Close the iterator where it is left early.

    Raises:
        DeviceError: the GPU does not decode it.
        VideoError, av.FFmpegError: it cannot be read, or breaks.
    """
    opened = nvdec.open_container(path, path.name)
    try:
        stream = choose_video_stream(opened.container, path.name)
        decoder = nvdec.open_decoder(stream, path.name)
        for packet in _packets(opened, stream):
            for frame in decoder.decode(packet):
                check_on_device(frame, path.name)
                yield frame
    finally:
        opened.close()


def planes_on_gpu(path: Path, nvdec: NvdecDevice, import_plane: ImportPlane) -> Iterator[Planes]:
    """The frames of `frames_on_gpu`, copied to the host."""
    for frame in frames_on_gpu(path, nvdec):
        luma, chroma = (_downloaded(import_plane(plane)) for plane in frame.planes)
        yield Planes(frame.pts, luma, chroma)


def planes_on_cpu(path: Path) -> Iterator[Planes]:
    """The same by FFmpeg's own decoder.

    Raises:
        ValueError: the video is not 4:2:0.
        VideoError, av.FFmpegError: it cannot be read, or breaks.
    """
    with _opened(path) as (opened, stream):
        for packet in _packets(opened, stream):
            for frame in stream.codec_context.decode(packet):
                yield semi_planar(frame)


def semi_planar(frame: av.VideoFrame) -> Planes:
    """A 4:2:0 frame of the host as NVDEC would give it: chroma interleaved, values moved up to the highest bits.

    Raises:
        ValueError: the frame is of another kind.
    """
    if frame.format.name not in _SEMI_PLANAR:
        raise ValueError(f"{frame.format.name} is not 4:2:0 of a depth that NVDEC gives")
    num_bytes, shift, num_planes = _SEMI_PLANAR[frame.format.name]
    dtype = np.uint8 if num_bytes == 1 else np.uint16
    height, width = -(-frame.height // 2), -(-frame.width // 2)
    luma = _rows(frame.planes[0], dtype, frame.height, frame.width)
    if num_planes == 2:
        chroma = _rows(frame.planes[1], dtype, height, 2 * width).reshape(height, width, 2)
    else:
        chroma = np.stack([_rows(plane, dtype, height, width) for plane in frame.planes[1:]], axis=-1)
    return Planes(frame.pts, luma << dtype(shift), chroma << dtype(shift))


def compare_planes(
    ours: Iterable[Planes], theirs: Iterable[Planes], *, most_frames: int | None = None
) -> PlaneComparison:
    """Frame by frame, up to `most_frames`."""
    num_frames = num_differing = num_missing = largest = 0
    same_pts = True
    first = ""
    for number, (our, their) in enumerate(zip_longest(ours, theirs)):
        if number == most_frames:
            break
        if our is None or their is None:
            num_missing += 1
            first = first or f"frame {number} is missing from {'ours' if our is None else 'the other'}"
            continue
        num_frames += 1
        if our.pts != their.pts:
            first = first or f"frame {number} has pts {our.pts}, not {their.pts}"
            same_pts = False
        found = _difference(our, their)
        if found is not None:
            num_differing += 1
            largest = max(largest, found[1])
            first = first or f"frame {number}: {found[0]}"
    return PlaneComparison(
        num_frames=num_frames,
        num_differing=num_differing,
        num_missing=num_missing,
        same_pts=same_pts,
        largest_difference=largest,
        first_difference=first,
    )


def _difference(ours: Planes, theirs: Planes) -> tuple[str, int] | None:
    """In words, and the largest in steps of 8-bit video."""
    for name in ("luma", "chroma"):
        ours_plane, theirs_plane = getattr(ours, name), getattr(theirs, name)
        if ours_plane.shape != theirs_plane.shape or ours_plane.dtype != theirs_plane.dtype:
            return (
                f"{name} is {ours_plane.dtype} {ours_plane.shape}, not {theirs_plane.dtype} {theirs_plane.shape}",
                255,
            )
        if not np.array_equal(ours_plane, theirs_plane):
            distance = np.abs(ours_plane.astype(np.int32) - theirs_plane)
            largest = int(distance.max()) >> (8 * (ours_plane.itemsize - 1))
            return f"{np.count_nonzero(distance)} samples of {name}, by up to {largest}", largest
    return None


def _packets(opened: OpenContainer, stream: VideoStream) -> Iterator[Packet | None]:
    """Packets, without those of frames that were dropped; then None, which ends the stream."""
    for packet in read_packets(opened, stream):
        if packet.size:
            yield packet
    yield None


@contextmanager
def _opened(path: Path) -> Iterator[tuple[OpenContainer, VideoStream]]:
    opened = open_container(path, path.name)
    try:
        stream = choose_video_stream(opened.container, path.name)
        stream.thread_type = "SLICE"
        yield opened, stream
    finally:
        opened.close()


def _rows(plane: VideoPlane, dtype: Any, height: int, width: int) -> npt.NDArray[Any]:  # noqa: ANN401 - a dtype
    """Samples (height, width) of a plane, whose rows are padded."""
    samples = np.frombuffer(memoryview(plane), dtype)
    row = plane.line_size // samples.itemsize
    return samples[: row * height].reshape(height, row)[:, :width]


def _downloaded(plane: Any) -> npt.NDArray[Any]:  # noqa: ANN401 - a tensor
    import torch

    if plane.dtype == torch.uint8:
        return np.asarray(plane.cpu().numpy())
    # torch knows little of uint16 on a GPU; signed numbers of the same width it copies like any.
    return np.asarray(plane.view(torch.int16).cpu().numpy()).view(np.uint16)
