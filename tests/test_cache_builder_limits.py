"""Files of a kilobyte that ask for more than a machine has: an error that names what was found and the limit."""

import struct

import msgspec
import pytest

import frame_store
from cache_builder.cli import EXIT_NOT_WHOLE
from cache_builder.discover import SourceVideo
from cache_builder.errors import VideoError
from cache_builder.unit_job import UnitJob
from cache_builder.video.decode import VideoReader
from cache_builder.video.limits import DEFAULT_LIMITS, VideoLimits
from cache_builder.video.scan import scan_video
from cache_builder.video.scan_cache import scan_frames, scan_videos
from cache_builder.video.scan_job import CountJob, ScanJob
from cache_builder.worker_pool import JobLimits, WorkerPool
from tests.support.commands import SMALL, run
from tests.support.hand_made_mp4 import HandMadeMp4, jpeg_picture
from tests.support.tiny_videos import simple_specs, tiny_folder, tiny_video

BOMBS = {
    "frames": ({"num_samples": 2**31 - 1}, "its header claims 2,147,483,647 frames; the limit is 10,000,000"),
    "frame size": (
        {"width": 65535, "height": 65535, "sample_entry": b"raw "},
        "its frames are 65535 x 65535 pixels; the limit is 142,606,336",
    ),
    "duration": ({"duration": 2**32 - 16}, "its header claims 4,294,967 seconds; the limit is 4,000,000"),
    "tracks": ({"num_tracks": 501}, "it has 501 streams; the limit is 500"),
    "far more tracks": ({"num_tracks": 3000}, "or has more than 500 streams"),
}
LIMITS = msgspec.structs.replace(DEFAULT_LIMITS, max_seconds=4e6)


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
    assert str(caught.value).endswith(reason.replace("4,000,000", "4,000,000.0"))


def test_packets_are_counted_against_the_limit(tmp_path):
    spec = tiny_video(tmp_path, num_frames=12)
    limits = VideoLimits(max_packets=12)
    assert scan_video(spec.path, "v", limits=limits).facts.num_packets == 12
    bare = tiny_video(tmp_path, num_frames=13, path=spec.path.with_suffix(".h264"))  # no header to believe
    with pytest.raises(VideoError, match="v: it has more packets than the limit of 12"):
        scan_video(bare.path, "v", limits=limits)


def test_limits_are_positive():
    with pytest.raises(ValueError, match="max_streams must be positive, found 0"):
        VideoLimits(max_streams=0)


def test_a_fragment_that_claims_a_gigabyte_of_frames_is_stopped_by_the_memory_limit(tmp_path):
    """2^25 samples of no bytes each in 1.3 KB: FFmpeg would take 0.8 GB and more to list them."""
    path = hand_made(tmp_path / "v.mp4", num_samples_in_fragment=2**25)
    limits = VideoLimits(max_memory_bytes=2**29)
    with WorkerPool(num_workers=1) as pool:
        pool.submit(ScanJob(row=0, path=path, relative_path="v.mp4", video_limits=limits))
        error = pool.next_outcome().error
    assert isinstance(error, VideoError)
    assert "it asks for more memory than the limit of 0.5 GiB a process" in str(error)


def grown_vp8(path, *, width, height):
    """Six key frames of 64 x 64, but the fourth says another size (RFC 6386, 9.1)."""
    spec = tiny_video(path.parent, path=path, codec="vp8", num_frames=6, keyframe_interval=1)
    content = bytearray(spec.path.read_bytes())
    starts = [i for i in range(len(content)) if content[i : i + 3] == b"\x9d\x01\x2a"]
    assert len(starts) == 6
    struct.pack_into("<HH", content, starts[3] + 3, width, height)
    spec.path.write_bytes(content)
    return spec.path


def test_a_frame_that_grows_beyond_the_limit_on_the_way_costs_itself(tmp_path):
    path = grown_vp8(tmp_path / "v.webm", width=16000, height=12000)  # FFmpeg alone would take it
    scan = scan_video(path, "v.webm")
    with VideoReader(path, scan) as reader:
        decoder = reader.decode(0, 6)
        assert [frame.packet for frame in decoder] == [0, 1, 2, 4, 5]
    (error,) = decoder.errors
    assert error.packet == 3
    assert "more than 142,606,336 pixels, the limit" in error.reason


def no_time(monkeypatch, kind, is_slow):
    """Give the jobs that `is_slow` picks no time at all."""
    usual = kind.limits.fget
    monkeypatch.setattr(
        kind, "limits", property(lambda job: JobLimits(seconds=0.0) if is_slow(job) else usual(job))
    )


@pytest.mark.parametrize("kind", [ScanJob, CountJob])
def test_a_scan_that_hangs_costs_its_video(tmp_path, monkeypatch, kind):
    specs = tiny_folder(tmp_path, simple_specs(3, num_frames=4, suffix=".avi")).specs
    videos = [SourceVideo(relative_path=spec.path.name, path=spec.path) for spec in specs]
    no_time(monkeypatch, kind, lambda job: job.name == videos[1].relative_path)
    with WorkerPool(num_workers=2) as pool:
        rows = (scan_videos if kind is ScanJob else scan_frames)(videos, cache_path=None, pool=pool)
    assert [isinstance(row, VideoError) for row in rows] == [False, True, False]
    assert rows[1].reason == "the process reading it took longer than 0.0 s, twice"
    assert rows[1].path == videos[1].relative_path


def test_a_unit_that_hangs_costs_itself(tmp_path, monkeypatch):
    folder = tiny_folder(tmp_path / "videos", simple_specs(3, num_frames=4)).path
    no_time(monkeypatch, UnitJob, lambda job: job.unit.video_id == 1)
    result = run("--videos", folder, "--out", tmp_path / "cache", *SMALL, "--on-error", "skip")
    assert result.exit_code == EXIT_NOT_WHOLE
    verdicts = [
        (video.verdict, video.reason) for video in frame_store.open_store(tmp_path / "cache").manifest.videos
    ]
    assert [verdict for verdict, _ in verdicts] == ["whole", "damaged", "whole"]
    assert "packets 0 to 3: the decoder process took longer than 0.0 s, twice" in verdicts[1][1]


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
