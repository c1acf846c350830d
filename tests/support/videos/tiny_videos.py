"""Tiny numbered videos, damaged videos, files that are no videos, and a plain way to decode."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import simplejpeg
from frame_cache_tools.samples.numbered_videos import NumberedVideo, draw_frame, write_numbered_video

# In the order of their paths: index = video number. Subfolders, a space and non-ASCII letters are intended.
TINY_SPECS = tuple(
    replace(spec, video_number=number)
    for number, spec in enumerate(
        (
            NumberedVideo(path=Path("00_open.mkv"), num_frames=40, num_b_frames=3, open_gop=True),
            NumberedVideo(
                path=Path("01_vfr_rot90.mp4"),
                num_frames=31,
                width=96,
                height=160,
                num_b_frames=2,
                variable_rate=True,
                rotation_degrees=90,
            ),
            NumberedVideo(path=Path("02_refresh.ts"), num_frames=36, intra_refresh=True),
            NumberedVideo(path=Path("03_bframes.avi"), num_frames=26, num_b_frames=2),
            NumberedVideo(path=Path("04 flash.flv"), num_frames=21, num_b_frames=2, gop_size=7),
            NumberedVideo(path=Path("05_raw.h264"), num_frames=24, num_b_frames=2, gop_size=8),
            NumberedVideo(
                path=Path("06_hevc_10bit.mp4"),
                num_frames=30,
                codec="hevc",
                num_b_frames=3,
                open_gop=True,
                pixel_format="yuv420p10le",
                color_matrix="bt2020",
            ),
            NumberedVideo(
                path=Path("07_full_wide.mp4"),
                num_frames=22,
                width=120,
                full_range=True,
                color_matrix="bt709",
                sample_aspect_ratio=Fraction(4, 3),
                fps=Fraction(30000, 1001),
            ),
            NumberedVideo(path=Path("08_all_keys.mp4"), num_frames=1, gop_size=1, width=128, height=128),
            NumberedVideo(
                path=Path("part/09_hevc_rot270.mov"),
                num_frames=25,
                codec="hevc",
                width=90,
                height=160,
                num_b_frames=2,
                rotation_degrees=270,
            ),
            NumberedVideo(
                path=Path("part/10_vp9_odd.webm"),
                num_frames=33,
                codec="vp9",
                width=161,
                height=91,
                encoder_options=(("deadline", "good"), ("auto-alt-ref", "1"), ("lag-in-frames", "16")),
            ),
            NumberedVideo(
                path=Path("part/11_av1.webm"), num_frames=20, codec="av1", pixel_format="yuv420p10le"
            ),
            NumberedVideo(path=Path("part/12_mpeg4.avi"), num_frames=29, codec="mpeg4", num_b_frames=2),
            NumberedVideo(path=Path("part/13_mpeg4.mp4"), num_frames=27, codec="mpeg4", gop_size=250),
            NumberedVideo(
                path=Path("part/14_mpeg2.mpg"),
                num_frames=28,
                codec="mpeg2video",
                num_b_frames=2,
                open_gop=True,
            ),
            NumberedVideo(
                path=Path("part/é/15_mjpeg.mov"),
                num_frames=23,
                codec="mjpeg",
                width=97,
                height=131,
                pixel_format="yuvj422p",
                full_range=True,
            ),
        )
    )
)


@dataclass(frozen=True, kw_only=True)
class TinyFolder:
    """A folder of numbered videos; `specs` are in the order of their relative paths and contain full paths."""

    path: Path
    specs: tuple[NumberedVideo, ...]

    @property
    def num_frames(self) -> int:
        return sum(spec.num_frames for spec in self.specs)


def tiny_video(folder: Path, **overrides) -> NumberedVideo:
    """Write one video into a folder, `tiny.mp4` unless `path` names it, and return its specification."""
    spec = NumberedVideo(**{"path": Path("tiny.mp4"), **overrides})
    spec = replace(spec, path=folder / spec.path)
    write_numbered_video(spec)
    return spec


def tiny_folder(folder: Path, specs: tuple[NumberedVideo, ...] = TINY_SPECS) -> TinyFolder:
    """Write videos with relative paths into a folder."""
    written = tuple(replace(spec, path=folder / spec.path) for spec in specs)
    for spec in written:
        write_numbered_video(spec)
    return TinyFolder(path=folder, specs=written)


def simple_specs(
    num_videos: int = 3, *, num_frames: int = 20, suffix: str = ".mp4"
) -> tuple[NumberedVideo, ...]:
    """A few plain videos of unequal lengths: num_frames, num_frames + 3, num_frames + 6 ..."""
    return tuple(
        NumberedVideo(
            path=Path(f"{i:02d}{suffix}"), video_number=i, num_frames=num_frames + 3 * i, gop_size=8
        )
        for i in range(num_videos)
    )


def decode_upright(path: Path) -> list[np.ndarray]:
    """Every frame as a simple reader gets it: in decoder order, rotation applied, uint8 RGB (H, W, 3)."""
    with av.open(str(path)) as container:
        return [
            np.rot90(frame.to_ndarray(format="rgb24"), frame.rotation // 90)
            for frame in container.decode(video=0)
        ]


def truncate_file(path: Path, fraction: float) -> None:
    """Keep the first part of a file."""
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * fraction)])


def damage_file(path: Path, *, start: float = 0.5, num_bytes: int = 400) -> None:
    """Overwrite bytes, from a fraction of the file on."""
    content = bytearray(path.read_bytes())
    offset = int(len(content) * start)
    content[offset : offset + num_bytes] = b"\xa5" * len(content[offset : offset + num_bytes])
    path.write_bytes(content)


def damage_packets(path: Path, ordinals: list[int]) -> None:
    """Overwrite all bytes of some packets of the first video stream, of a container that gives their positions."""
    with av.open(str(path)) as container:
        packets = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    content = bytearray(path.read_bytes())
    for ordinal in ordinals:
        pos, size = packets[ordinal]
        content[pos : pos + size] = b"\xa5" * size
    path.write_bytes(content)


def remux(
    source_path: Path,
    target_path: Path,
    *,
    without: Collection[int] = (),
    options: dict[str, str] | None = None,
) -> None:
    """Copy the packets of a file into another container, without those of the ordinals `without`."""
    with av.open(str(source_path)) as source, av.open(str(target_path), "w", options=options or {}) as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for ordinal, packet in enumerate(source.demux(video=0)):
            if packet.dts is not None and ordinal not in without:
                packet.stream = stream
                target.mux(packet)


def write_text(path: Path) -> None:
    path.write_text("This is no video.\n" * 50)


def write_nothing(path: Path) -> None:
    path.write_bytes(b"")


def write_still_image(path: Path) -> None:
    """A JPEG file, whatever its name is."""
    path.write_bytes(simplejpeg.encode_jpeg(draw_frame(0, 0, 160, 96)))


def write_audio_only(path: Path) -> None:
    """A second of a tone, with no video stream."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000, layout="mono")
        tone = np.sin(np.arange(16000) * 0.1).astype(np.float32)[None]
        frame = av.AudioFrame.from_ndarray(tone, format="fltp", layout="mono")
        frame.sample_rate = 16000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
