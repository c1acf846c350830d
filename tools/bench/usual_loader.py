"""The usual loader: frames by seeking to a pts, as a map-style dataset. The baseline of `cache-bench`.

It is kept as it was given, faults included. For item i it seeks backward to `i * int(duration / frames)`, both from
the header of the stream, and decodes until a frame has exactly that pts. The frame becomes a PIL image and goes through
torchvision's transforms. This needs a header with both numbers, a constant frame rate and a first pts of 0.
`unservable` checks that by the packets alone, so that a benchmark does not measure look-ups that find nothing.
"""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
from av.container import InputContainer
from av.video.stream import VideoStream

if TYPE_CHECKING:
    from PIL.Image import Image

USUAL_BATCH_SIZE = 128
USUAL_NUM_WORKERS = 10
IMAGE_SIZE = 224
_NO_HEADER = "header does not state duration and number of frames"
INSTALL_HINT = "it needs torchvision and pillow: pip install torchvision pillow"


class UsualLoaderError(Exception):
    """A video that the usual loader cannot read, or a frame that it does not find."""


def why_not_installed() -> str | None:
    """How to install the packages that the usual loader needs; None where they are installed."""
    if find_spec("torchvision") is None or find_spec("PIL") is None:
        return INSTALL_HINT
    return None


def usual_transforms() -> Callable[["Image"], Any]:
    """PIL image to float32 (3, 224, 224) in [0, 1]: RandomResizedCrop(scale 0.9-1), ToTensor, ColorJitter 0.5 x 4.

    Raises:
        ModuleNotFoundError: torchvision or pillow is not installed; the message has the command that installs them.
    """
    try:
        import PIL.Image  # noqa: F401 - torchvision imports without it
        from torchvision import transforms
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(INSTALL_HINT) from error
    chain: Callable[[Image], Any] = transforms.Compose(
        [
            transforms.RandomResizedCrop(IMAGE_SIZE, scale=(0.9, 1)),
            transforms.ToTensor(),
            transforms.ColorJitter(0.5, 0.5, 0.5, 0.5),
        ]
    )
    return chain


def unservable(path: Path) -> str | None:
    """Why the usual loader cannot serve every frame of a video, by its header and packets; None where it can."""
    try:
        with av.open(f"file:{path}") as container:
            if not container.streams.video:
                return "no video stream"
            stream = container.streams.video[0]
            header = _header_of(stream)
            if header is None:
                return f"its {_NO_HEADER}"
            num_frames, step = header
            found = {packet.pts for packet in container.demux(stream) if packet.pts is not None}
            missing = sum(index * step not in found for index in range(num_frames))
            if missing:
                return f"{missing} of {num_frames} frames have another pts than index * {step}"
    except av.FFmpegError as error:
        return str(error)
    return None


class UsualVideo:
    """A map-style dataset: every frame of one video, which stays open in each worker."""

    def __init__(self, path: Path, transform: Callable[["Image"], Any]) -> None:
        """Read the header of `path`.

        Raises:
            UsualLoaderError: the header has no duration or no number of frames.
        """
        self._path = path
        self._transform = transform
        with av.open(f"file:{path}") as container:
            header = _header_of(container.streams.video[0])
        if header is None:
            raise UsualLoaderError(f"{path}: the {_NO_HEADER}")
        self._num_frames, self._step = header
        self._container: InputContainer | None = None

    def __len__(self) -> int:
        """Number of frames by the header."""
        return self._num_frames

    def __getitem__(self, index: int) -> Any:  # noqa: ANN401 - the result of the transform
        if self._container is None:  # opened on first use, in the worker: decoders do not survive a fork
            self._container = av.open(f"file:{self._path}")
        return self._transform(_find_frame(self._container, index * self._step, self._path))

    def close(self) -> None:
        """Close the video."""
        if self._container is not None:
            self._container.close()
            self._container = None


class UsualVideos:
    """The usual loader over many videos: items run through them one after the other, uniform over all frames.

    A video is opened for each item: 200 decoders of 1080p in each of 10 workers would need tens of gigabytes.
    """

    def __init__(self, paths: Sequence[Path], transform: Callable[["Image"], Any]) -> None:
        """Read the headers of `paths`.

        Raises:
            UsualLoaderError: a header has no duration or no number of frames.
        """
        self._videos = [UsualVideo(path, transform) for path in paths]
        self._ends = list(accumulate(map(len, self._videos)))

    def __len__(self) -> int:
        """Number of frames by the headers of all videos."""
        return self._ends[-1]

    def __getitem__(self, index: int) -> Any:  # noqa: ANN401 - the result of the transform
        number = bisect_right(self._ends, index)
        video = self._videos[number]
        try:
            return video[index - self._ends[number] + len(video)]
        finally:
            video.close()


def _header_of(stream: VideoStream) -> tuple[int, int] | None:
    """Number of frames, and the distance of their pts in the time base of the stream; None where they are unknown."""
    if not stream.frames or not stream.duration:
        return None
    return stream.frames, int(stream.duration / stream.frames)


def _find_frame(container: InputContainer, pts: int, path: Path) -> "Image":
    stream = container.streams.video[0]
    container.seek(pts, stream=stream)
    for frame in container.decode(stream):
        if frame.pts == pts:
            image: Image = frame.to_image()  # type: ignore[no-untyped-call]
            return image
    raise UsualLoaderError(f"{path}: no frame has pts {pts}")
