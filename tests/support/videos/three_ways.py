"""One video decoded in three ways: by plain PyAV in one sequential pass, by a build, and by a live store."""

import random
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

import av
import numpy as np

from cache_builder.errors import VideoError
from cache_builder.findings.verdict import DecodedVideo
from cache_builder.gpu.decoder_choice import DecoderChoice
from cache_builder.live.footage import place_videos
from cache_builder.live.store import LiveStore
from cache_builder.settings import BuildConfig, ErrorPolicy
from cache_builder.sources import SourceVideo
from cache_builder.stages.decode import DecodeStage
from cache_builder.video.decode import units
from cache_builder.video.decode.frame_table import count_frames, predict_frames
from cache_builder.video.decode.start_check import check_starts
from cache_builder.video.opening.open_video import open_container
from cache_builder.video.picture.convert import FrameConverter
from cache_builder.video.picture.geometry import FrameGeometry
from cache_builder.video.scan.video_scan import VideoScan, scan_video
from frame_store.codec import crc32c
from frame_store.manifest import Encoding, VideoEntry
from tests.support.executors.in_process_pool import InProcessPool

GEOMETRY = FrameGeometry(height=32, width=32)


@dataclass(frozen=True, kw_only=True)
class Built:
    entry: VideoEntry
    frames: list[int]
    """CRC-32C of the stored pixels, in output order."""
    pts_seconds: list[float]

    def is_named(self, frame: int) -> bool:
        """Whether the report marks the frame as possibly wrong."""
        return any(
            span.first_frame is not None and span.first_frame <= frame <= span.last_frame
            for span in self.entry.findings.damaged_spans
        )


def scan(path: Path) -> VideoScan:
    return check_starts(path, scan_video(path, path.name))


def one_pass(path: Path, scanned: VideoScan, *, reorder_depth: int | None = None) -> list[int]:
    """Checksums of all frames, with the decoder fed from the first packet to the last."""
    converter = _converter(scanned)
    checksums = []
    opened = open_container(
        path, path.name
    )  # without the allow-list of formats, a damaged file may be taken for another kind
    with opened.container as container:
        stream = container.streams.best("video")
        stream.codec_context.thread_type, stream.codec_context.thread_count = "NONE", 1
        if reorder_depth is not None:
            stream.codec_context.reorder_depth = reorder_depth
        for packet in container.demux(stream):
            if packet.size == 0 and packet.dts is not None:
                continue
            try:
                decoded = stream.codec_context.decode(packet if packet.size else None)
            except av.FFmpegError:
                continue
            checksums += [crc32c(converter.convert(frame).tobytes()) for frame in decoded]
    opened.close()
    return checksums


def build(
    path: Path,
    scanned: VideoScan,
    *,
    min_packets: int,
    fps: float | None = None,
    on_error: ErrorPolicy = "skip",
) -> Built:
    """The result of a build with units of at least `min_packets` packets."""
    config = BuildConfig(encoding=Encoding(name="raw"), geometry=GEOMETRY, fps=fps)
    with TemporaryDirectory() as spill, patch.object(units, "MIN_PACKETS_PER_UNIT", min_packets):
        stage = DecodeStage(
            InProcessPool(),
            files=[SourceVideo(relative_path=scanned.facts.path, path=path)],
            spill=Path(spill),
            scans=[scanned],
            decoders=DecoderChoice(),
            configs=[config],
            on_error=on_error,
            progress=lambda steps: None,
        )
        (video,) = stage.run().videos
    if isinstance(video, VideoError):
        raise video
    assert isinstance(video, DecodedVideo)
    rows = video.sources(0)
    return Built(
        entry=video.entry(),
        frames=rows["crc32c"].tolist(),
        pts_seconds=rows["pts_seconds"].tolist(),
    )


def look_up(
    path: Path, scanned: VideoScan, *, min_packets: int, seed: int, num: int, is_counted: bool = False
) -> tuple[LiveStore, dict[int, int | VideoError]]:
    """The live store, and `num` of its frames in random order, or the error of one of them.

    With `is_counted` its frames are those that decode, as with `open_videos(decode_all=True)`.
    """
    with patch.object(units, "MIN_PACKETS_PER_UNIT", min_packets):
        table = None if is_counted else predict_frames(scanned)
        if table is None:
            table = count_frames(path, scanned)
    footage = place_videos([SourceVideo(relative_path=path.name, path=path)], {path.name: (scanned, table)})
    store = LiveStore(footage, geometry=GEOMETRY, max_open=1)
    found: dict[int, int | VideoError] = {}
    ids = list(range(len(store)))
    random.Random(seed).shuffle(ids)
    for frame_id in ids[:num]:
        try:
            found[frame_id] = crc32c(store.read_frames([frame_id])[0].tobytes())
        except VideoError as error:
            found[frame_id] = error
    store.close()
    return store, found


def _converter(scanned: VideoScan) -> FrameConverter:
    return FrameConverter(GEOMETRY, scanned.facts.presentation.plain)


def rising(values: list[float]) -> bool:
    return bool((np.diff(values) > 0).all())
