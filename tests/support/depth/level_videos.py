"""Gray videos of 8 to 16 bits whose every level is known, written losslessly."""

from pathlib import Path

import av
import numpy as np

LOSSLESS_HEVC = {"x265-params": "lossless=1:log-level=none"}
WAYS = {
    "ffv1": ("levels.mkv", "ffv1", "gray16le", {}),
    "png": ("levels.mov", "png", "gray16be", {}),
    "big endian": ("levels.nut", "rawvideo", "gray16be", {}),
    "hevc 12": ("levels.mp4", "libx265", "gray12le", LOSSLESS_HEVC),
    "hevc 10": ("levels.mp4", "libx265", "gray10le", LOSSLESS_HEVC),
    "ffv1 9": ("levels.mkv", "ffv1", "gray9le", {}),
    "ffv1 14": ("levels.mkv", "ffv1", "gray14le", {}),
    "ffv1 8": ("levels.mkv", "ffv1", "gray", {}),
}
"""Name of the file, encoder, pixel format and options of lossless gray videos."""


def num_levels(pixel_format):
    bits = av.VideoFormat(pixel_format).components[0].bits
    return 1 << bits


def ramps(pixel_format="gray16le", *, num_frames=3, height=256, width=256):
    """Frames (N, H, W, 1), uint16, each with every level of the format where it has the pixels; no two are equal."""
    places = np.arange(num_frames * height * width).reshape(num_frames, height, width, 1)
    frame, y, x, _ = np.ogrid[:num_frames, :height, :width, :1]
    return ((y * width + x + frame * 12_289 + 0 * places) % num_levels(pixel_format)).astype(np.uint16)


def level_frame(levels, pixel_format):
    """A frame of `levels` (H, W), as a decoder gives it: rows are padded, and the padding holds other values."""
    height, width = levels.shape[:2]
    frame = av.VideoFrame(width, height, pixel_format)
    stored = {"le": "<u2", "be": ">u2"}.get(pixel_format[-2:], "u1")
    own = np.ascontiguousarray(levels.reshape(height, width).astype(stored)).view(np.uint8)
    rows = np.full((height, frame.planes[0].line_size), 0xA5, np.uint8)
    rows[:, : own.shape[1]] = own
    frame.planes[0].update(rows.tobytes())
    return frame


def write_levels(path, frames, *, codec="ffv1", pixel_format="gray16le", options=None):
    """Write `frames` (N, H, W, 1) losslessly at 25 frames/s; returns the path."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options=options or {})
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = pixel_format
        for levels in frames:
            container.mux(stream.encode(level_frame(levels, pixel_format)))
        container.mux(stream.encode(None))
    return Path(path)


def write_pngs_of_formats(path, pictures):
    """A `.mov` of PNG whose frames have pixel formats of their own: `pictures` are (array, pixel format)."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("png", rate=25)
        first, first_format = pictures[0]
        stream.height, stream.width, stream.pix_fmt = *first.shape[:2], first_format
        stream.codec_context.open()
        for number, (picture, pixel_format) in enumerate(pictures):
            encoder = av.CodecContext.create("png", "w")
            encoder.height, encoder.width, encoder.pix_fmt = *picture.shape[:2], pixel_format
            encoder.time_base = stream.codec_context.time_base
            if pixel_format.startswith("gray"):
                frame = level_frame(picture, pixel_format)
            else:
                frame = av.VideoFrame.from_ndarray(picture, format=pixel_format)
            frame.pts = number
            for packet in encoder.encode(frame):
                packet.stream, packet.pts, packet.dts = stream, number, number
                packet.time_base = stream.codec_context.time_base
                container.mux(packet)
    return Path(path)
