"""The mp4 files of a camera: episodes encoded alone, then those of a file joined, as LeRobot does."""

import tempfile
from pathlib import Path

import av
import numpy as np
from frame_cache_tools.samples import scheduling_kept

from tests.support.lerobot.specs import CameraSpec
from tests.support.lerobot.spelling import draw_picture

_ENCODERS = {"h264": "libx264", "hevc": "libx265", "av1": "libsvtav1", "ffv1": "ffv1", "png": "png"}


def write_videos(
    paths: list[Path], camera: CameraSpec, number: int, lengths: tuple[int, ...], fps: int
) -> None:
    """Write the files of a camera; `paths` has the file of each episode."""
    with tempfile.TemporaryDirectory() as folder:
        parts: dict[Path, list[Path]] = {}
        for episode, (path, length) in enumerate(zip(paths, lengths, strict=True)):
            part = Path(folder) / f"{episode}{path.suffix}"
            with scheduling_kept():
                _encode(part, camera, (number, episode), length, fps)
            parts.setdefault(path, []).append(part)
        for path, of_file in parts.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            _join(of_file, path)


def _encode(path: Path, camera: CameraSpec, shown: tuple[int, int], length: int, fps: int) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(_ENCODERS[camera.codec], rate=fps, options=_options(camera))
        stream.width, stream.height = camera.width, camera.height
        stream.pix_fmt = camera.depth or "yuv420p"
        stream.codec_context.thread_count = 1
        for frame in range(length):
            picture = _frame(camera, *shown, frame)
            picture.pts = frame
            container.mux(stream.encode(picture))
        container.mux(stream.encode())


def _options(camera: CameraSpec) -> dict[str, str]:
    if camera.codec in {"ffv1", "png"}:
        return dict(camera.encoder_options)
    options = {"g": str(camera.gop_size), "crf": "18", "bf": str(camera.num_b_frames)}
    if camera.codec == "h264":
        options["preset"] = "ultrafast" if not camera.num_b_frames else "veryfast"
    if camera.codec == "hevc":
        params = "log-level=none:pools=1:frame-threads=1" + (":lossless=1" if camera.depth else "")
        options |= {"preset": "ultrafast", "x265-params": params}
    if camera.codec == "av1":
        options = {"g": str(camera.gop_size), "crf": "25", "preset": "12"}
    return options | dict(camera.encoder_options)


def _frame(camera: CameraSpec, number: int, episode: int, frame: int) -> av.VideoFrame:
    size = camera.width, camera.height
    picture = (
        draw_picture(number, episode, frame, *size, num_levels=camera.num_levels)
        if camera.draw is None
        else camera.draw(episode, frame)
    )
    if camera.depth is None:
        return av.VideoFrame.from_ndarray(picture, format="rgb24")
    made = av.VideoFrame(*size, camera.depth)
    padded = np.zeros(
        (camera.height, made.planes[0].line_size // 2), ">u2" if camera.depth.endswith("be") else "<u2"
    )
    padded[:, : camera.width] = picture
    made.planes[0].update(padded.tobytes())
    return made


def _join(parts: list[Path], path: Path) -> None:
    """Copy the packets of files one after another, by FFmpeg's concat demuxer."""
    names = parts[0].with_suffix(".ffconcat")
    names.write_text("ffconcat version 1.0\n" + "".join(f"file '{part}'\n" for part in parts))
    options = {"movflags": "faststart"}
    with (
        av.open(str(names), format="concat", options={"safe": "0"}) as source,
        av.open(str(path), "w", options=options) as target,
    ):
        stream = target.add_stream_from_template(source.streams.video[0], opaque=True)
        stream.time_base = source.streams.video[0].time_base
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
