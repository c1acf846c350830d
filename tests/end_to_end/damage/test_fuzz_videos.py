"""Broken videos end as whole, damaged or unreadable, never as a crash; fuzz_videos.py tries thousands."""

from pathlib import Path

import av
import numpy as np
import pytest
from frame_cache_tools.samples.numbered_videos import read_frame

import frame_store
from cache_builder import open_videos
from cache_builder.build.pipeline import run_build
from cache_builder.errors import VideoError
from cache_builder.settings import BuildConfig, RunOptions
from frame_store.manifest import Encoding
from tests.support.videos.tiny_videos import tiny_video
from tests.support.videos.video_mutants import MUTATIONS, make_mutant, read_samples, size_fields
from tests.support.videos.video_trial import run_trial

NUM_MUTANTS = 48


def test_a_folder_of_broken_videos_builds_verifies_and_reads(sample_folder):
    result = run_trial(sample_folder.path, seed=0, first=0, num=NUM_MUTANTS)
    assert result.finds == []
    assert sum(sum(counts.values()) for counts in result.verdicts.values()) == NUM_MUTANTS
    assert set(result.verdicts) == {*MUTATIONS, "several"}
    assert {verdict for counts in result.verdicts.values() for verdict in counts} == {
        *("whole", "damaged", "unreadable")
    }
    assert result.num_frames_stored > 100
    assert result.num_frames_read_live > 20
    assert result.peak_worker_bytes < 1 << 30


def test_a_mutant_depends_on_seed_and_number_alone(sample_folder):
    samples = read_samples(sample_folder)
    mutants = [make_mutant(samples, seed=3, number=number) for number in range(40)]
    assert [make_mutant(samples, seed=3, number=number) for number in reversed(range(40))] == mutants[::-1]
    contents = dict(samples)
    num_same = sum(mutant.content == contents[mutant.name.split("_", 2)[2]] for mutant in mutants)
    assert num_same < 4  # two equal neighbours swapped, a number set to what it was
    assert make_mutant(samples, seed=4, number=0).content != mutants[0].content


def test_lengths_are_found_in_every_container(sample_folder):
    found = {name: list(size_fields(content)) for name, content in read_samples(sample_folder)}
    for name, content in read_samples(sample_folder):
        assert len(found[name]) >= 8, name
        assert all(0 <= field.position < len(content) - field.num_bytes for field in found[name]), name
    # A field for each frame, beside those of the headers.
    for spec in sample_folder.specs:
        if spec.path.suffix in {".avi", ".flv", ".webm", ".mkv"}:
            assert len(found[spec.path.name]) > spec.num_frames


class TestFound:
    """What the fuzzer has found."""

    @pytest.fixture
    def half_a_picture(self, tmp_path):
        """A video of JPEG pictures, one of which ends in its middle, within its packet."""
        (tmp_path / "videos").mkdir()
        spec = tiny_video(tmp_path / "videos", path=Path("tiny.mov"), codec="mjpeg", pixel_format="yuvj422p")
        with av.open(str(spec.path)) as container:
            packet = [packet for packet in container.demux(video=0) if packet.size][11]
        content = bytearray(spec.path.read_bytes())
        num_pairs = packet.size // 4
        end = packet.pos + packet.size
        content[end - 2 * num_pairs : end] = b"\xff\xd9" * num_pairs
        spec.path.write_bytes(content)
        return spec

    def test_a_jpeg_picture_that_breaks_off_is_damage_and_not_another_picture(self, half_a_picture, tmp_path):
        config = BuildConfig(encoding=Encoding(name="raw"))
        videos = half_a_picture.path.parent
        report = run_build(videos, tmp_path / "cache", config, RunOptions(workers=1, on_error="skip"))
        entry = report.videos[0]
        assert entry.verdict == "damaged"
        assert "packet 11: " in entry.reason
        store = frame_store.open_store(tmp_path / "cache")
        expected = [number for number in range(half_a_picture.num_frames) if number != 11]
        frames = store.read_frames(np.argsort(store.index["frame_in_video"]))
        assert [read_frame(frame) for frame in frames] == [(0, number) for number in expected]

    def test_live_says_so_too(self, half_a_picture):
        with pytest.raises(VideoError, match="decodes to other frames"):
            open_videos(half_a_picture.path.parent, workers=1).read_frames([11])

    def test_harm_that_passes_the_keyframe_of_an_open_gop_is_named(self, tmp_path):
        """A lost packet makes H.264 decoders take other references, after the next keyframe, too."""
        (tmp_path / "videos").mkdir()
        spec = tiny_video(
            tmp_path / "videos", path=Path("0.mkv"), num_frames=72, num_b_frames=3, open_gop=True
        )
        clean = spec.path.read_bytes()
        with av.open(str(spec.path)) as container:
            places = [packet.pos for packet in container.demux(video=0) if packet.size]
        for first in (22, 27):
            start, end = places[first] - 6, places[first + 2] - 6
            spec.path.with_name(f"{first}.mkv").write_bytes(clean[:start] + bytes(end - start) + clean[end:])
        config = BuildConfig(encoding=Encoding(name="raw"))
        options = RunOptions(workers=1, on_error="skip")
        report = run_build(tmp_path / "videos", tmp_path / "cache", config, options)
        store = frame_store.open_store(tmp_path / "cache")
        pixels = {}
        for frame_id, row in enumerate(store.index):
            frame = store.read_frames([frame_id])[0]
            pixels.setdefault(int(row["video_id"]), {})[float(row["pts_seconds"])] = (
                row["frame_in_video"],
                frame,
            )
        for video_id, entry in enumerate(report.videos[1:], start=1):
            wrong = {
                int(number)
                for pts_seconds, (number, frame) in pixels[video_id].items()
                if not np.array_equal(frame, pixels[0][pts_seconds][1])
            }
            named = {
                number
                for span in entry.findings.damaged_spans
                for number in range(span.first_frame, span.last_frame + 1)
            }
            assert len(wrong) > 10
            assert wrong <= named
            assert (
                max(named) < entry.num_frames_decoded - 5
            )  # frames far enough after the damage are not named
