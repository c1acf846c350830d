"""The folder of samples: repeatable, ordered, resumable, and every kind shows its numbers."""

import subprocess
import sys
from collections import Counter
from dataclasses import replace

import pytest
from click.testing import CliRunner
from frame_cache_tools.samples.numbered_videos import ENCODERS, read_frame, write_numbered_video
from frame_cache_tools.samples.sample_videos import KINDS, main, sample_specs, write_samples

from tests.support.videos.tiny_videos import decode_upright


@pytest.mark.parametrize("count", [1, 3, 200, 1001])
def test_video_numbers_follow_the_order_of_paths(count):
    specs = sample_specs(count)
    assert [spec.video_number for spec in specs] == list(range(count))
    assert sorted(spec.path for spec in specs) == [spec.path for spec in specs]
    assert sorted(str(spec.path) for spec in specs) == [str(spec.path) for spec in specs]


def test_a_seed_decides_everything():
    assert sample_specs(200, seed=3) == sample_specs(200, seed=3)
    assert sample_specs(200, seed=3) != sample_specs(200, seed=4)


def test_two_hundred_samples_are_as_varied_as_promised():
    specs = sample_specs()
    lengths = [spec.num_frames for spec in specs]
    assert sum(20 <= length <= 200 for length in lengths) == 192
    assert sum(400 <= length <= 600 for length in lengths) == 8
    assert len(set(lengths)) > 80
    assert {spec.codec for spec in specs} == set(ENCODERS)
    assert {spec.gop_size for spec in specs} >= {1, 5, 12, 25, 60, 250}
    assert {spec.rotation_degrees for spec in specs} == {0, 90, 180, 270}
    suffixes = Counter(spec.path.suffix for spec in specs)
    assert " ".join(sorted(suffixes)) == ".avi .flv .h264 .h265 .mkv .mov .mp4 .mpg .ts .webm"
    assert len({spec.path.parent for spec in specs}) == 4
    for trait in ("open_gop", "intra_refresh", "variable_rate", "full_range"):
        assert sum(getattr(spec, trait) for spec in specs) >= 5
    assert any(spec.width % 2 and spec.height % 2 for spec in specs)
    assert all(spec.width <= spec.height for spec in specs if spec.rotation_degrees in (90, 270))
    assert len({spec.fps for spec in specs}) == 4
    assert sum("10le" in spec.pixel_format for spec in specs) >= 10


@pytest.mark.parametrize("count", [0, 65537])
def test_a_count_that_cannot_be_numbered_is_refused(count):
    with pytest.raises(ValueError, match=f"count is {count}"):
        sample_specs(count)


@pytest.mark.parametrize("number", range(len(KINDS)), ids=lambda number: KINDS[number].path.name)
def test_every_kind_shows_its_numbers(tmp_path, number):
    sample = sample_specs()[number]
    spec = replace(sample, path=tmp_path / sample.path.name, num_frames=min(sample.num_frames, 24))
    write_numbered_video(spec)
    numbers = [
        read_frame(frame, source_size=spec.display_size, resize="stretch")
        for frame in decode_upright(spec.path)
    ]
    assert numbers == [(number, frame_number) for frame_number in range(spec.num_frames)]


def small_samples(count):
    return [replace(spec, num_frames=5, width=64, height=64) for spec in sample_specs(count)]


def test_files_that_are_there_are_kept(tmp_path):
    specs = small_samples(4)
    kept = tmp_path / specs[2].path
    kept.parent.mkdir(parents=True)
    kept.write_bytes(b"made before")
    assert {spec.path for spec in write_samples(tmp_path, specs)} == {spec.path for spec in specs}
    assert kept.read_bytes() == b"made before"
    assert len(decode_upright(tmp_path / specs[3].path)) == 5


def test_workers_make_the_same_bytes(tmp_path):
    specs = small_samples(6)
    for num_workers in (1, 2):
        list(write_samples(tmp_path / str(num_workers), specs, num_workers=num_workers))
    for spec in specs:
        assert (tmp_path / "1" / spec.path).read_bytes() == (tmp_path / "2" / spec.path).read_bytes()


def test_the_command_writes_and_writes_once(tmp_path):
    arguments = [str(tmp_path), "--count", "2", "--workers", "1"]
    first = CliRunner().invoke(main, arguments)
    assert first.exit_code == 0
    num_frames = sum(spec.num_frames for spec in sample_specs(2))
    assert f"2 videos, {num_frames} frames" in first.output
    times = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.mp4")}
    (tmp_path / "000_killed.mp4.unfinished").write_bytes(b"half")
    assert CliRunner().invoke(main, arguments).exit_code == 0
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.mp4")} == times


def test_the_room_runs_as_a_command(tmp_path):
    command = [sys.executable, "-m", "frame_cache_tools.samples", str(tmp_path / "videos"), "--count", "1"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert run.returncode == 0, run.stderr
    assert "1 video, " in run.stdout and len(list((tmp_path / "videos").iterdir())) == 1


def test_the_command_refuses_a_folder_of_other_files(tmp_path):
    (tmp_path / "holiday.mp4").write_bytes(b"mine")
    result = CliRunner().invoke(main, [str(tmp_path), "--count", "2"])
    assert result.exit_code == 2
    assert "holiday.mp4" in result.output
    assert [path.name for path in tmp_path.iterdir()] == ["holiday.mp4"]
