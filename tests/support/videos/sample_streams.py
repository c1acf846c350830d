"""Short streams of every codec that this FFmpeg encodes, to be cut, joined, damaged and put into containers."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.bitstream import BitStreamFilterContext
from av.video.frame import PictureType
from frame_cache_tools.samples import scheduling_kept

from tests.support.videos.unstated_reordering import without_reordering_stated

NUM_FRAMES = 40
FPS = 25
WIDTH, HEIGHT = 64, 48


@dataclass(frozen=True, kw_only=True)
class StreamKind:
    name: str
    encoder: str
    suffixes: tuple[str, ...]
    """Suffixes of the containers that may contain the stream; it is encoded into the first."""
    pixel_format: str = "yuv420p"
    num_frames: int = NUM_FRAMES
    size: tuple[int, int] = (WIDTH, HEIGHT)
    options: dict[str, str] = field(default_factory=dict)
    num_b_frames: int = 0
    num_frames_before_b: int = 0
    """Number of frames at the beginning that are coded without B-frames."""
    states_reordering: bool = True
    palettes: int = 0
    """Palettes that the frames use in turn."""


_X264 = {"preset": "veryfast", "g": "10", "keyint_min": "10", "sc_threshold": "0"}
_LATE = {"preset": "veryfast", "g": "50", "sc_threshold": "0", "b_strategy": "0", "b-pyramid": "normal"}
_X265 = "keyint=10:min-keyint=10:log-level=none:pools=none:frame-threads=1:open-gop="
_MPEG = {"g": "8"}


def _kind(
    name: str, encoder: str, suffixes: str, options: dict[str, str] | None = None, **others: Any
) -> StreamKind:
    return StreamKind(
        name=name, encoder=encoder, suffixes=tuple(suffixes.split()), options=options or {}, **others
    )


KINDS: tuple[StreamKind, ...] = (
    _kind("h264", "libx264", "mp4 mkv ts avi flv nut h264", _X264),
    _kind("h264-b", "libx264", "mp4 mkv ts avi flv nut h264", _X264, num_b_frames=2),
    _kind("h264-open", "libx264", "mp4 mkv ts avi", _X264 | {"x264-params": "open-gop=1"}, num_b_frames=3),
    _kind("h264-refresh", "libx264", "mp4 ts mkv", _X264 | {"x264-params": "intra-refresh=1"}),
    _kind(
        "h264-late-b",
        "libx264",
        "mp4 ts mkv flv avi",
        _LATE,
        num_b_frames=3,
        num_frames=220,
        num_frames_before_b=170,
        states_reordering=False,
    ),
    _kind(
        "hevc",
        "libx265",
        "mp4 mkv ts hevc",
        {"preset": "ultrafast", "x265-params": _X265 + "0"},
        num_b_frames=3,
    ),
    _kind(
        "hevc-open",
        "libx265",
        "mp4 mkv ts",
        {"preset": "ultrafast", "x265-params": _X265 + "1"},
        num_b_frames=3,
    ),
    _kind("vp8", "libvpx", "webm mkv ivf", {"g": "10", "auto-alt-ref": "1", "lag-in-frames": "10"}),
    _kind("vp9", "libvpx-vp9", "webm mkv mp4 ivf", {"g": "20", "lag-in-frames": "12", "cpu-used": "8"}),
    _kind("av1", "libsvtav1", "mp4 mkv ivf", {"preset": "12", "g": "10", "svtav1-params": "lp=1"}),
    _kind("mpeg1", "mpeg1video", "mpg ts mkv avi", _MPEG, num_b_frames=2),
    _kind("mpeg2", "mpeg2video", "mpg ts mkv avi m2v", _MPEG, num_b_frames=2),
    _kind("mpeg4", "mpeg4", "mp4 mkv avi m4v", _MPEG, num_b_frames=2),
    _kind("mpeg4-p", "mpeg4", "avi mp4 mkv", _MPEG),
    _kind("msmpeg4v2", "msmpeg4v2", "avi asf", _MPEG),
    _kind("msmpeg4v3", "msmpeg4", "avi mkv asf", _MPEG),
    _kind("wmv1", "wmv1", "wmv avi", _MPEG),
    _kind("wmv2", "wmv2", "wmv avi", _MPEG),
    _kind("flv1", "flv", "flv avi", _MPEG),
    _kind("h263", "h263", "3gp avi", _MPEG, size=(128, 96)),
    _kind("svq1", "svq1", "mov", _MPEG, pixel_format="yuv410p"),
    _kind("snow", "snow", "nut avi", _MPEG),
    _kind("mjpeg", "mjpeg", "avi mkv mov", pixel_format="yuvj420p"),
    _kind("ffv1", "ffv1", "mkv avi nut", _MPEG),
    _kind("png", "png", "mov avi", pixel_format="rgb24"),
    _kind("png-palettes", "png", "mov avi", pixel_format="pal8", palettes=3),
    _kind("prores", "prores_ks", "mov", pixel_format="yuv422p10le"),
    _kind("huffyuv", "huffyuv", "avi", pixel_format="yuv422p"),
    _kind("raw", "rawvideo", "nut", pixel_format="uyvy422"),
    _kind("raw-palette", "rawvideo", "avi", pixel_format="pal8", palettes=1),
    _kind("raw-palettes", "rawvideo", "avi", pixel_format="pal8", palettes=3),
    _kind("msrle", "msrle", "avi", _MPEG, pixel_format="pal8", palettes=2),
    _kind("msvideo1", "msvideo1", "avi", _MPEG, pixel_format="rgb555le"),
    _kind("cinepak", "cinepak", "avi mov", _MPEG, pixel_format="rgb24", num_frames=24),
    _kind("qtrle", "qtrle", "mov", _MPEG, pixel_format="rgb24"),
    _kind("zmbv", "zmbv", "avi", _MPEG, pixel_format="bgr0"),
    _kind("flashsv", "flashsv", "flv", _MPEG, pixel_format="bgr24"),
    _kind("cfhd", "cfhd", "mov", pixel_format="yuv422p10le"),
    _kind("jpeg2000", "jpeg2000", "mov", num_frames=20),
)


@dataclass(frozen=True, kw_only=True)
class SampleStream:
    """A stream in its first container, and its packets: content, pts, dts, duration, is a keyframe."""

    kind: StreamKind
    content: bytes
    packets: tuple[tuple[bytes, int | None, int | None, int, bool], ...]
    time_base: Fraction


@cache
def sample_stream(kind_name: str) -> SampleStream:
    """Encode the stream, once a process. Raises `av.FFmpegError` or `ValueError` if this FFmpeg cannot."""
    kind = next(kind for kind in KINDS if kind.name == kind_name)
    file = BytesIO()
    with scheduling_kept(), av.open(file, "w", format=_format_of(kind.suffixes[0])) as target:
        stream = target.add_stream(kind.encoder, rate=FPS, options=kind.options)
        stream.width, stream.height = kind.size
        stream.pix_fmt = kind.pixel_format
        stream.codec_context.max_b_frames = kind.num_b_frames
        stream.codec_context.thread_count = 1
        for number in range(kind.num_frames):
            frame = _draw(kind, number)
            frame.pts, frame.time_base = number, Fraction(1, FPS)
            if number < kind.num_frames_before_b:
                frame.pict_type = PictureType.P if number % 50 else PictureType.I
            target.mux(stream.encode(frame))
        target.mux(stream.encode(None))
    content = file.getvalue()
    if not kind.states_reordering:
        content = without_reordering_stated(content)
    with av.open(BytesIO(content)) as source:
        stream = source.streams.video[0]
        packets = tuple(
            (bytes(packet), packet.pts, packet.dts, packet.duration or 0, packet.is_keyframe)
            for packet in source.demux(stream)
            if packet.size
        )
        return SampleStream(kind=kind, content=content, packets=packets, time_base=Fraction(stream.time_base))


def write_stream(
    sample: SampleStream,
    path: Path,
    parts: Sequence[tuple[int, int]],
    *,
    damage: Sequence[tuple[int, int]] = (),
) -> None:
    """Write runs of packets [first, end), one after the other in time, into the container of the path's suffix.

    `damage` are (packet of those written, byte modulo its size): the byte and the next three are replaced.
    """
    with av.open(BytesIO(sample.content)) as template, av.open(str(path), "w") as target:
        source = template.streams.video[0]
        stream = target.add_stream_from_template(source, opaque=True)  # for codecs without an encoder, too
        # This container is the only one in use that needs H.264 with start codes and does not convert it.
        filtered = path.suffix == ".avi" and sample.kind.encoder == "libx264"
        start_codes = BitStreamFilterContext("h264_mp4toannexb", source, stream) if filtered else None
        offset, number, damaged = 0, 0, dict(damage)
        for first, end in parts:
            run = sample.packets[first:end]
            dts = [one[2] for one in run if one[2] is not None]
            pts = [one[1] for one in run if one[1] is not None]
            start = min([*dts, *pts], default=0)
            for content, packet_pts, packet_dts, duration, is_keyframe in run:
                packet = av.Packet(content if number not in damaged else _spoilt(content, damaged[number]))
                packet.time_base = sample.time_base
                packet.pts = None if packet_pts is None else packet_pts - start + offset
                packet.dts = None if packet_dts is None else packet_dts - start + offset
                packet.duration, packet.is_keyframe, packet.stream = duration, is_keyframe, stream
                for one in [packet] if start_codes is None else start_codes.filter(packet):
                    one.stream = stream
                    target.mux(one)
                number += 1
            step = max((one[3] for one in run), default=0) or round(1 / (FPS * sample.time_base))
            offset += max([*dts, *pts], default=0) - start + step


def _spoilt(content: bytes, place: int) -> bytes:
    place %= len(content)
    return content[:place] + b"\xa5\x5a\xff\x13"[: len(content) - place] + content[place + 4 :]


def _format_of(suffix: str) -> str:
    known = {"mkv": "matroska", "ts": "mpegts", "mpg": "mpeg", "wmv": "asf", "m2v": "mpeg2video"}
    return known.get(suffix, suffix)


def _draw(kind: StreamKind, number: int) -> av.VideoFrame:
    """A picture that moves everywhere and differs from all others."""
    width, height = kind.size
    rows, columns = np.mgrid[0:height, 0:width]
    if kind.pixel_format == "pal8":
        indices = ((columns + rows + 5 * number) % 64).astype(np.uint8)
        palette = np.zeros((256, 4), np.uint8)
        shade = number * kind.palettes // kind.num_frames
        palette[:, 0] = 255
        palette[:, 1:] = (np.arange(256)[:, None] * (3, 5, 7) + 40 * shade) % 256
        return av.VideoFrame.from_ndarray((indices, palette), format="pal8")
    noise = np.random.default_rng(number).integers(0, 12, (height, width, 3))
    wave = np.stack([columns * 3 + number * 7, rows * 4 + number * 5, columns + rows + number * 11], axis=-1)
    rgb = (np.abs(wave % 256 - 128) + noise + 40).clip(0, 255).astype(np.uint8)
    frame = av.VideoFrame.from_ndarray(rgb, format="rgb24")
    return frame if kind.pixel_format == "rgb24" else frame.reformat(format=kind.pixel_format)
