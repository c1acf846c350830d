"""`--dry-run`: what it says is held to what a build then gives; and it leaves nothing behind."""

import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest

import cache_builder
import frame_store
from cache_builder.build import dry_run
from cache_builder.cli.exit_status import EXIT_NOT_WHOLE, EXIT_WRONG_COMMAND
from cache_builder.executors import WorkerPool
from tests.support.commands import SMALL, digests, names_beside, run
from tests.support.videos.tiny_videos import (
    damage_packets,
    simple_specs,
    tiny_folder,
    tiny_video,
    truncate_file,
)

SIZE = 32


@pytest.fixture
def scratch(tmp_path, monkeypatch):
    """The folder in which temporary folders are made."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"stride": 3, "encoding": "raw"},
        {"fps": 7.0, "layout": "video", "encoding": "raw", "frames_per_shard": "video"},
        {"fps": 29.97, "format": "zarr"},
        {"format": "zarr", "encoding": "raw", "frames_per_shard": 5, "size": "48x16"},
    ],
    ids=str,
)
def test_it_says_what_a_build_gives(sample_folder, tmp_path, scratch, settings):
    settings = {"size": SIZE, "workers": 2, "on_error": "skip", **settings}
    said = cache_builder.estimate_build(sample_folder.path, tmp_path / "cache", **settings)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["temporary"]
    assert not list(scratch.iterdir())
    report = cache_builder.build_cache(sample_folder.path, tmp_path / "cache", **settings)
    assert said.num_videos == len(report.videos)
    assert said.num_frames_stored == report.num_frames
    assert said.num_frames_decoded == sum(video.num_frames_decoded for video in report.videos)
    assert said.num_videos_unreadable == sum(video.verdict == "unreadable" for video in report.videos)
    assert len(said.problems) == len(report.not_whole)
    assert said.num_shards == report.num_shards
    assert said.num_source_bytes == sum(path.stat().st_size for path in sample_folder.path.rglob("*.*"))
    payload = int(frame_store.open_store(tmp_path / "cache").index["byte_length"].sum())
    if settings.get("encoding") == "raw":
        assert said.num_payload_bytes == payload
    assert said.num_payload_bytes == pytest.approx(payload, rel=0.05)
    assert said.num_cache_bytes == pytest.approx(report.num_bytes, rel=0.2)
    assert said.num_cache_bytes + payload * 0.95 < said.num_building_bytes < 2.5 * report.num_bytes
    assert said.sample.num_frames_packed > 0 and said.seconds_decode > 0 and said.seconds_gather > 0


def test_what_packets_do_not_prove_is_no_count(tmp_path):
    tiny_video(tmp_path, path=Path("sound.mp4"), num_frames=20)
    tiny_video(tmp_path, path=Path("refresh.ts"), num_frames=36, intra_refresh=True)
    proved, claimed = (
        cache_builder.estimate_build(tmp_path / name, size=SIZE, workers=1)
        for name in ("sound.mp4", "refresh.ts")
    )
    assert (proved.num_videos_uncounted, claimed.num_videos_uncounted) == (0, 1)
    text = run(tmp_path / "refresh.ts", "--dry-run", *SMALL).stdout
    assert "about 36 to store of about 36 to decode (the packets of 1 video do not prove" in text
    text = run(tmp_path / "sound.mp4", "--dry-run", *SMALL, "--stride", "3").stdout
    assert "frames  7 to store of 20 to decode (by the packets, if all of them decode)" in text


def test_frames_that_a_build_stores_once_in_a_long_time_are_measured_on_others(tmp_path, monkeypatch):
    """The part that is decoded is not the first one, and a build would store no frame of it."""
    tiny_video(tmp_path, num_frames=650, gop_size=50)
    monkeypatch.setattr(dry_run, "SAMPLE_SECONDS", 0.0)
    said = cache_builder.estimate_build(tmp_path, size=SIZE, fps=0.01, workers=1)
    assert (said.num_frames_stored, said.num_frames_decoded) == (1, 650)
    assert (said.sample.num_frames_decoded, said.sample.num_frames_packed) == (150, 8)
    assert 200 < said.num_payload_bytes < SIZE * SIZE * 3


def test_a_sample_is_bounded(tmp_path, monkeypatch):
    tiny_folder(tmp_path / "clips", simple_specs(4, num_frames=40))
    tiny_video(tmp_path / "long", num_frames=400, gop_size=400)
    monkeypatch.setattr(dry_run, "SAMPLE_SECONDS", 0.0)
    assert cache_builder.estimate_build(tmp_path / "clips", size=SIZE, workers=2).sample.num_units == 2
    said = cache_builder.estimate_build(tmp_path / "long", size=SIZE, workers=2)
    assert (said.sample.num_frames_decoded, said.num_frames_decoded) == (dry_run.MOST_PACKETS, 400)
    monkeypatch.setattr(dry_run, "_MOST_RAW_BYTES", 20 * SIZE * SIZE * 3)
    few = cache_builder.estimate_build(tmp_path / "long", size=SIZE, workers=1)
    assert few.sample.num_frames_decoded == 20


def test_nothing_is_written_and_a_scan_cache_is_used(tmp_path, scratch, monkeypatch):
    clips = tiny_folder(tmp_path / "clips", simple_specs(2)).path
    before = names_beside(clips)
    result = run(clips, "--dry-run", *SMALL)
    assert (result.exit_code, names_beside(clips)) == (0, before), result.stderr
    assert result.stdout.endswith(f"{clips}.cache: nothing was written\n")
    assert run(clips, *SMALL).exit_code == 0
    beside, cache = names_beside(clips), digests(tmp_path / "clips.cache")
    scan = (tmp_path / "clips.cache.scan").read_bytes()
    tiny_video(clips, path=Path("new.mp4"), num_frames=5)
    submitted = []
    submit = WorkerPool.submit
    monkeypatch.setattr(WorkerPool, "submit", lambda pool, job: submitted.append(job) or submit(pool, job))
    result = run(clips, "--dry-run", *SMALL, "--overwrite")
    assert [job.relative_path for job in submitted if hasattr(job, "relative_path")] == ["new.mp4"]
    assert "videos  3, " in result.stdout and "something is there already" in result.stdout
    assert (names_beside(clips), digests(tmp_path / "clips.cache")) == (beside, cache)
    assert (tmp_path / "clips.cache.scan").read_bytes() == scan
    assert not list(scratch.iterdir())


def test_videos_that_are_not_whole(tmp_path):
    clips = tiny_folder(tmp_path / "clips", simple_specs(3)).path
    truncate_file(clips / "01.mp4", 0.6)
    damage_packets(clips / "02.mp4", [4])
    said = run(clips, "--dry-run", *SMALL)
    assert said.exit_code == EXIT_NOT_WHOLE
    assert "  01.mp4: truncated" in said.stdout and "a build stops at these; --on-error skip" in said.stdout
    assert "videos  3, 1 of them unreadable" in said.stdout
    skipping = run(clips, "--dry-run", *SMALL, "--on-error", "skip")
    assert skipping.exit_code == EXIT_NOT_WHOLE and "a build stops" not in skipping.stdout
    for path in clips.glob("0[02].mp4"):
        path.unlink()
    nothing = run(clips, "--dry-run", *SMALL)
    assert nothing.exit_code == EXIT_NOT_WHOLE
    assert "frames  0 to store of 0 to decode" in nothing.stdout
    assert "cache   unknown: no frame could be encoded" in nothing.stdout
    assert "time    unknown: no frame could be decoded" in nothing.stdout


def test_wrong_commands_are_refused_as_by_a_build(tmp_path):
    clips = tiny_folder(tmp_path / "clips", simple_specs(1)).path
    for words in ([tmp_path / "gone"], [clips, clips], [clips, "--stride", "0"], [clips, "--include", "x"]):
        result = run(*words, "--dry-run")
        assert result.exit_code == EXIT_WRONG_COMMAND and result.stderr.startswith("error: ")
    (tmp_path / "clips.cache.report.json").write_text("mine")
    assert "is not the report of a build" in run(clips, "--dry-run").stderr


def test_a_disk_that_is_too_small(tmp_path, monkeypatch):
    clips = tiny_folder(tmp_path / "clips", simple_specs(1)).path
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    result = run(clips, "--dry-run", *SMALL, "--out", tmp_path / "below" / "there")
    assert result.exit_code == 0 and "0.00 MB are free: TOO LITTLE" in result.stdout
    assert not (tmp_path / "below").exists()
    # What an unfinished build holds is taken over, or makes room.
    unfinished = tmp_path / "there.building" / "spill"
    unfinished.mkdir(parents=True)
    (unfinished / "unit").write_bytes(bytes(20_000_000))
    result = run(clips, "--dry-run", *SMALL, "--out", tmp_path / "there")
    assert "0.00 MB are free, and an unfinished build already holds 20.00 MB\n" in result.stdout


def test_sources_and_filters(tmp_path):
    for name, num_frames in (("one/a.mp4", 5), ("one/b.mp4", 7), ("two/c.mp4", 9)):
        tiny_video(tmp_path, path=Path(name), num_frames=num_frames)
    said = cache_builder.estimate_build(
        [tmp_path / "one", tmp_path / "two"], tmp_path / "cache", exclude="b.*", limit=2, size=SIZE, workers=1
    )
    assert (said.num_videos, said.num_frames_stored) == (2, 14)
    assert said.passed_over.num_excluded == 1
    assert np.isfinite(said.seconds_decode)


def test_a_dry_run_joins_no_cluster_and_says_so(sample_folder, tmp_path):
    flags = ["--videos", sample_folder.path, "--out", tmp_path / "cache", "--size", "32"]
    result = run(*flags, "--dry-run", "--executor", "ray:local")
    assert "its times are those of this machine's workers: a dry run joins no cluster" in result.stderr
    assert "joins no cluster" not in run(*flags, "--dry-run").stderr
