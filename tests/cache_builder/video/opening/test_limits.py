"""Files of a kilobyte that ask for more than a machine has. The error names what was found and the limit."""

import struct
from pathlib import Path

import msgspec
import pytest

import frame_store
from cache_builder.cli.exit_status import EXIT_NOT_WHOLE
from cache_builder.errors import VideoError
from cache_builder.executors import WorkerPool
from cache_builder.folder_scan import scan_cache as scan_cache_module
from cache_builder.folder_scan.scan_cache import scan_frames
from cache_builder.folder_scan.scan_job import CountJob, ScanJob
from cache_builder.sources import discover_videos
from cache_builder.stages import decode as decode_stage_module
from cache_builder.video.decode.unit_decoder import VideoReader
from cache_builder.video.opening.limits import DEFAULT_LIMITS, VideoLimits
from cache_builder.video.scan.video_scan import scan_video
from tests.support.commands import SMALL, run
from tests.support.executors.pool_jobs import SLOW_VIDEO, HangingCountJob, HangingScanJob, HangingUnitJob
from tests.support.videos.hand_made_mp4 import HandMadeMp4, jpeg_picture
from tests.support.videos.tiny_videos import tiny_video

BOMBS = {
    "frames": ({"num_samples": 2**31 - 1}, "its header claims 2,147,483,647 frames; the limit is 10,000,000"),
    "frame size": (
        {"width": 65535, "height": 65535, "sample_entry": b"raw "},
        "their size is unknown, or beyond the limit of 142,606,336 pixels",
    ),
    "a frame size that FFmpeg would take": (
        {"width": 16000, "height": 12000, "sample_entry": b"raw "},
        "their size is unknown, or beyond the limit of 142,606,336 pixels",
    ),
    "duration": ({"duration": 2**31 - 16}, "its header claims 2,147,484 seconds; the limit is 2,000,000.0"),
    "tracks": ({"num_tracks": 501}, "it has 501 streams; the limit is 500"),
    "far more tracks": ({"num_tracks": 3000}, "or has more than 500 streams"),
}
LIMITS = msgspec.structs.replace(DEFAULT_LIMITS, max_seconds=2e6)


def hand_made(path, **lies):
    path.write_bytes(HandMadeMp4(picture=jpeg_picture(), **lies).to_bytes())
    return path


def test_the_same_file_without_lies_is_a_video(tmp_path):
    facts = scan_video(hand_made(tmp_path / "v.mp4"), "v.mp4").facts
    assert (facts.width, facts.height, facts.num_packets) == (64, 64, 1)
    assert scan_video(hand_made(tmp_path / "v.mp4", num_tracks=500), "v.mp4").facts.num_video_streams == 500


@pytest.mark.parametrize("lie", BOMBS)
def test_a_header_that_lies_is_refused(tmp_path, lie):
    fields, reason = BOMBS[lie]
    path = hand_made(tmp_path / "v.mp4", **fields)
    with pytest.raises(VideoError) as caught:
        scan_video(path, "v.mp4", limits=LIMITS)
    assert str(caught.value).startswith("v.mp4: ")
    assert str(caught.value).endswith(reason)


def test_a_picture_within_the_limit_may_have_it_lowered(tmp_path):
    path = hand_made(tmp_path / "v.mp4")
    with pytest.raises(VideoError, match=r"decoded|64 x 64 pixels; the limit is 4,095"):
        scan_video(path, "v.mp4", limits=VideoLimits(max_pixels=4095))
    assert scan_video(path, "v.mp4", limits=VideoLimits(max_pixels=4096)).facts.width == 64


def test_packets_are_counted_against_the_limit(tmp_path):
    spec = tiny_video(tmp_path, num_frames=12)
    limits = VideoLimits(max_packets=12)
    assert scan_video(spec.path, "v", limits=limits).facts.num_packets == 12
    bare = tiny_video(
        tmp_path, num_frames=13, path=spec.path.with_suffix(".h264")
    )  # no header with a number of frames
    with pytest.raises(VideoError, match="v: it has more packets than the limit of 12"):
        scan_video(bare.path, "v", limits=limits)


def test_limits_are_positive():
    with pytest.raises(ValueError, match="max_streams must be positive, found 0"):
        VideoLimits(max_streams=0)


def test_a_fragment_that_claims_a_gigabyte_of_frames_is_stopped_by_the_memory_limit(tmp_path):
    """2^25 samples of 0 bytes each: FFmpeg would take 0.8 GB and more to list them.

    FFmpeg 9 refuses more samples than the file has bytes; so the file ends in 64 MiB that hold nothing.
    """
    path = hand_made(tmp_path / "v.mp4", num_samples_in_fragment=2**25)
    with path.open("ab") as file:
        file.write(struct.pack(">I4s", 2**26, b"free"))
        file.truncate(file.tell() - 8 + 2**26)
    limits = VideoLimits(max_memory_bytes=2**29)
    with WorkerPool(num_workers=1) as pool:
        pool.submit(ScanJob(row=0, path=path, relative_path="v.mp4", video_limits=limits))
        error = pool.next_outcome().error
    assert isinstance(error, VideoError)
    assert "it asks for more memory than the limit of 0.5 GiB a process" in str(error)


def grown_vp8(path, *, width, height):
    """Six key frames of 64 x 64, except the fourth, whose header states another size (RFC 6386, 9.1)."""
    spec = tiny_video(path.parent, path=path, codec="vp8", num_frames=6, gop_size=1)
    content = bytearray(spec.path.read_bytes())
    starts = [i for i in range(len(content)) if content[i : i + 3] == b"\x9d\x01\x2a"]
    assert len(starts) == 6
    struct.pack_into("<HH", content, starts[3] + 3, width, height)
    spec.path.write_bytes(content)
    return spec.path


def test_a_frame_that_grows_beyond_the_limit_on_the_way_costs_itself(tmp_path):
    path = grown_vp8(
        tmp_path / "v.webm", width=16000, height=12000
    )  # FFmpeg without our limits would read it
    scan = scan_video(path, "v.webm")
    with VideoReader(path, scan) as reader:
        decoder = reader.decode(0, 6)
        assert [frame.packet for frame in decoder] == [0, 1, 2, 4, 5]
    (error,) = decoder.errors
    assert error.packet == 3
    assert "more than 142,606,336 pixels, the limit" in error.reason


@pytest.fixture
def folder_with_a_slow_video(tmp_path):
    folder = tmp_path / "videos"
    folder.mkdir()
    for name in ("1.avi", f"2{SLOW_VIDEO}.avi", "3.avi"):
        tiny_video(folder, path=Path(name), num_frames=8, num_b_frames=2)  # only decoding counts these frames
    return folder


@pytest.mark.parametrize("stage", ["scan", "count"])
def test_a_scan_that_hangs_costs_its_video(folder_with_a_slow_video, monkeypatch, stage):
    if stage == "scan":
        monkeypatch.setattr(scan_cache_module, "ScanJob", HangingScanJob)
    else:
        monkeypatch.setattr(scan_cache_module, "CountJob", HangingCountJob)
    videos = discover_videos(folder_with_a_slow_video)
    done = []
    with WorkerPool(num_workers=2) as pool:
        rows = scan_frames(
            videos, cache_path=None, pool=pool, progress=lambda now, total: done.append((now, total))
        )
    assert [isinstance(row, VideoError) for row in rows] == [False, True, False]
    assert str(rows[1]) == f"2{SLOW_VIDEO}.avi: the process reading it took longer than 0.3 s, twice"
    assert done == [(1, 3), (2, 3), (3, 3)]


def test_a_unit_that_hangs_costs_itself(folder_with_a_slow_video, tmp_path, monkeypatch):
    monkeypatch.setattr(decode_stage_module, "UnitJob", HangingUnitJob)
    result = run(
        "--videos", folder_with_a_slow_video, "--out", tmp_path / "cache", *SMALL, "--on-error", "skip"
    )
    assert result.exit_code == EXIT_NOT_WHOLE, result.stderr
    videos = frame_store.open_store(tmp_path / "cache").video_entries
    assert [video.verdict for video in videos] == ["whole", "damaged", "whole"]
    assert "packets 0 to 7: the decoder process took longer than 0.3 s, twice" in videos[1].reason


def test_the_time_and_memory_of_real_jobs_are_bounded(tmp_path):
    spec = tiny_video(tmp_path, num_frames=4)
    job = ScanJob(row=0, path=spec.path, relative_path="v")
    assert 60 < job.limits.seconds < 61
    assert job.limits.memory_bytes == DEFAULT_LIMITS.max_memory_bytes
    missing = ScanJob(row=0, path=tmp_path / "gone", relative_path="v")
    assert missing.limits.seconds == 60
    counting = CountJob(row=0, path=spec.path, scan=job.run())
    assert 62 < counting.limits.seconds < 64
    assert counting.limits.memory_bytes == DEFAULT_LIMITS.max_memory_bytes
