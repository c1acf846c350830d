"""Frames as small pictures that stand in a page as data."""

import base64
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from frame_store.html.elements import Html, element
from frame_store.protocol import Frames


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A JPEG of a frame."""

    jpeg: bytes
    width: int
    height: int
    levels: tuple[int, int] | None = None
    """Of 16-bit gray: the levels that black and white stand for. None for colour."""

    @property
    def num_page_bytes(self) -> int:
        """Bytes that the picture takes in a page, where three bytes are written as four characters."""
        return 4 * -(-len(self.jpeg) // 3)

    def html(self, *, alt: str, class_: str | None = None) -> Html:
        """The element. `alt` says what the picture shows, for those who do not see it."""
        uri = f"data:image/jpeg;base64,{base64.b64encode(self.jpeg).decode()}"
        return element("img", src=uri, width=self.width, height=self.height, alt=alt, class_=class_)


def picture_of(frame: Frames, *, max_side: int | None = None, quality: int = 75) -> Picture:
    """A frame as a picture: uint8 (H, W, 3), or uint16 (H, W, 1), whose levels are scaled to black and white.

    It is made smaller if a side is longer than `max_side` pixels. Equal frames give equal bytes.
    """
    import simplejpeg

    levels = None
    if frame.dtype == np.uint16:
        low, high = int(frame.min()), int(frame.max())
        levels = (low, high)
        scaled = (frame.astype(np.float32) - low) * (255 / max(1, high - low))
        small = shrunk(scaled, max_side)
        jpeg = simplejpeg.encode_jpeg(_bytes_of(small), quality=quality, colorspace="GRAY")
    else:
        small = shrunk(frame, max_side)
        jpeg = simplejpeg.encode_jpeg(
            _bytes_of(small), quality=quality, colorspace="RGB", colorsubsampling="420", fastdct=False
        )
    return Picture(jpeg=jpeg, width=small.shape[1], height=small.shape[0], levels=levels)


def shrunk(pixels: npt.NDArray[np.generic], max_side: int | None) -> npt.NDArray[np.generic]:
    """Pixels (H, W, C) with no side longer than `max_side`: a pixel is the mean of those that it covers.

    The result is float32 if it was made smaller, else `pixels`.
    """
    height, width = pixels.shape[:2]
    if max_side is None or max(height, width) <= max_side:
        return pixels
    scale = max_side / max(height, width)
    small: npt.NDArray[np.float32] = pixels.astype(np.float32)
    for axis, side in enumerate((height, width)):
        wanted = max(1, round(side * scale))
        starts = np.arange(wanted) * side // wanted
        counts = np.diff(np.append(starts, side)).astype(np.float32)
        shape = [1, 1, 1]
        shape[axis] = wanted
        small = (np.add.reduceat(small, starts, axis=axis) / counts.reshape(shape)).astype(np.float32)
    return small


def _bytes_of(pixels: npt.NDArray[np.generic]) -> npt.NDArray[np.uint8]:
    if pixels.dtype == np.uint8:
        return np.ascontiguousarray(pixels, dtype=np.uint8)
    return np.ascontiguousarray(np.rint(pixels.astype(np.float32)).clip(0, 255).astype(np.uint8))
