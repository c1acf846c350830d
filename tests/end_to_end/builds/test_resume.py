"""A build is the same after any interruption: by workers, kills, a full disk, a second builder."""

import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from unittest.mock import patch

import psutil
import pytest

from cache_builder.cli import cache_verify
from cache_builder.cli.exit_status import (
    EXIT_INTERRUPTED,
    EXIT_MACHINE_FAILED,
    EXIT_NOT_WHOLE,
    EXIT_TERMINATED,
    EXIT_WRONG_COMMAND,
)
from tests.support.commands import run as run_here
from tests.support.videos.tiny_videos import simple_specs, tiny_folder

NUM_TRIALS = int(os.environ.get("RANDOM_TRIALS", "2"))
"""Builds that are killed at random moments, of each kind."""

PROGRAM = Path(sys.executable).with_name("cache-build")
VARIANTS = {
    "wds-jpeg": ["--frames-per-shard", "50"],
    "zarr-raw": ["--format", "zarr", "--encoding", "raw", "--frames-per-shard", "50", "--stride", "2"],
}


def command(folder, output, *flags):
    return [str(PROGRAM), "--videos", str(folder), "--out", str(output), *flags]


def run(folder, output, *flags):
    return subprocess.run(command(folder, output, *flags), capture_output=True, text=True, timeout=120)


def start(folder, output, *flags):
    return subprocess.Popen(
        command(folder, output, *flags),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # A test run in the background of a shell ignores SIGINT, and children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
    )


def digests(cache):
    return {
        path.relative_to(cache).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(cache.rglob("*"))
        if path.is_file()
    }


def wait_for_workers(process, count=2):
    """The worker processes of a running build, once it has them."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        workers = psutil.Process(process.pid).children()
        if len(workers) >= count:
            return workers
        time.sleep(0.01)
    raise AssertionError("the build started no workers")


def wait_for_spill(output):
    """Until a running build has scanned the videos and begun to decode them."""
    spill = output.with_name(output.name + ".building") / "spill"
    deadline = time.monotonic() + 60
    while not any(spill.glob("*.frames")):
        assert time.monotonic() < deadline, "the build decoded nothing"
        time.sleep(0.001)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Videos that keep two workers busy for a few seconds."""
    return tiny_folder(tmp_path_factory.mktemp("videos"), simple_specs(12, num_frames=60)).path


@pytest.fixture(scope="module", params=list(VARIANTS))
def undisturbed_cache(request, folder, tmp_path_factory):
    """Flags, and what two workers built that nobody disturbed, and in how many seconds. Read-only."""
    output = tmp_path_factory.mktemp("undisturbed") / "cache"
    started = time.monotonic()
    assert run(folder, output, "--workers", "2", *VARIANTS[request.param]).returncode == 0
    return VARIANTS[request.param], output, time.monotonic() - started


@pytest.fixture(scope="module")
def undisturbed(undisturbed_cache):
    """Flags, digests of that build, and its seconds."""
    flags, output, seconds = undisturbed_cache
    return flags, digests(output), seconds


@pytest.mark.parametrize("workers", [1, 4])
def test_the_number_of_workers_leaves_no_trace(folder, undisturbed, tmp_path, workers):
    flags, expected, _ = undisturbed
    assert run(folder, tmp_path / "cache", "--workers", str(workers), *flags).returncode == 0
    assert digests(tmp_path / "cache") == expected


def test_a_copy_of_the_videos_elsewhere_gives_the_same_bytes(folder, undisturbed, tmp_path):
    flags, expected, _ = undisturbed
    for video in folder.iterdir():
        (tmp_path / "moved" / video.name).parent.mkdir(exist_ok=True)
        (tmp_path / "moved" / video.name).write_bytes(video.read_bytes())
    assert run(tmp_path / "moved", tmp_path / "cache", *flags).returncode == 0
    assert digests(tmp_path / "cache") == expected


@pytest.mark.parametrize("seed", range(NUM_TRIALS))
def test_killed_at_random_moments_it_ends_the_same(folder, undisturbed, tmp_path, seed):
    flags, expected, seconds = undisturbed
    generator = random.Random(seed)
    for _ in range(3):
        process = start(folder, tmp_path / "cache", *flags)
        time.sleep(generator.uniform(0.3, 0.9) * seconds)
        kill = os.killpg if generator.random() < 0.5 else os.kill
        kill(process.pid, signal.SIGKILL)
        process.communicate()
    again = run(folder, tmp_path / "cache", *flags)
    assert again.returncode == 0, again.stderr
    assert digests(tmp_path / "cache") == expected
    assert {path.name for path in tmp_path.iterdir()} <= {
        "cache",
        "cache.lock",
        "cache.scan",
        "cache.report.json",
    }


def test_a_finished_cache_is_left_untouched(folder, undisturbed_cache):
    flags, cache, _ = undisturbed_cache
    report = cache.with_name("cache.report.json")
    content = report.read_bytes()
    before = {path: (path.stat().st_mtime_ns, path.stat().st_ino) for path in cache.rglob("*")}
    again = run(folder, cache, *flags)
    assert again.returncode == 0
    assert "already complete" in again.stdout
    assert {path: (path.stat().st_mtime_ns, path.stat().st_ino) for path in before} == before
    assert report.read_bytes() == content


def test_a_worker_that_is_killed_costs_nothing(folder, undisturbed, tmp_path):
    flags, expected, _ = undisturbed
    process = start(folder, tmp_path / "cache", *flags)
    workers = wait_for_workers(process)
    wait_for_spill(tmp_path / "cache")
    workers[0].kill()
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert digests(tmp_path / "cache") == expected


def test_workers_die_with_their_parent(folder, tmp_path):
    process = start(folder, tmp_path / "cache")
    workers = wait_for_workers(process)
    process.kill()
    process.communicate()
    _, alive = psutil.wait_procs(workers, timeout=10)
    assert not alive


@pytest.mark.parametrize(
    ("number", "exit_code"),
    [(signal.SIGINT, EXIT_INTERRUPTED), (signal.SIGTERM, EXIT_TERMINATED)],
    ids=["ctrl-c", "sigterm"],
)
def test_a_stop_says_how_to_go_on_and_leaves_no_process(folder, undisturbed, tmp_path, number, exit_code):
    """Sent to the workers too, as a batch system or `docker stop` does: they leave it to their parent."""
    flags, expected, _ = undisturbed
    process = start(folder, tmp_path / "cache", *flags)
    workers = wait_for_workers(process)
    wait_for_spill(tmp_path / "cache")
    for worker in workers:
        worker.send_signal(number)
    os.killpg(process.pid, number)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == exit_code
    assert "the same command resumes" in errors
    assert "Traceback" not in errors
    assert not psutil.wait_procs(workers, timeout=10)[1]
    assert run(folder, tmp_path / "cache", *flags).returncode == 0
    assert digests(tmp_path / "cache") == expected


def test_two_builders_on_one_output(folder, tmp_path):
    process = start(folder, tmp_path / "cache")
    wait_for_workers(process)
    second = run(folder, tmp_path / "cache")
    assert second.returncode == EXIT_WRONG_COMMAND
    assert "another process is writing it" in second.stderr
    process.communicate(timeout=60)
    assert process.returncode == 0


def test_a_full_disk_is_said_and_the_same_command_resumes(folder, undisturbed, tmp_path):
    flags, expected, _ = undisturbed
    disk = tmp_path / "disk"
    disk.mkdir()
    num_bytes = sum(path.stat().st_size for path in tmp_path.iterdir() if path.is_file())
    size = 3_000_000 if "raw" not in flags else 100_000_000
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size + num_bytes}", "tmpfs", disk])
    if mounted.returncode:
        pytest.skip("needs the right to mount a tmpfs of a few MB")
    try:
        filler = disk / "filler"
        full = run(folder, disk / "cache", *flags)
        assert full.returncode == EXIT_MACHINE_FAILED, full.stderr
        assert "No space left" in full.stderr or "are free" in full.stderr
        assert "Traceback" not in full.stderr
        assert not (disk / "cache").exists()
        filler.unlink(missing_ok=True)
        subprocess.run(["mount", "-o", "remount,size=1G", disk], check=True)
        assert run(folder, disk / "cache", *flags).returncode == 0
        assert digests(disk / "cache") == expected
    finally:
        subprocess.run(["umount", disk], check=True)


def test_an_unfinished_build_of_other_settings_is_not_thrown_away(folder, tmp_path):
    process = start(folder, tmp_path / "cache", "--quality", "80")
    wait_for_spill(tmp_path / "cache")
    process.kill()
    process.communicate()
    other = run(folder, tmp_path / "cache", "--quality", "90")
    assert other.returncode == EXIT_WRONG_COMMAND
    assert "--quality: 80 there, 90 asked for" in other.stderr
    assert run(folder, tmp_path / "cache", "--quality", "90", "--overwrite").returncode == 0


def test_an_unfinished_build_of_a_cropped_aspect_is_resumed(folder, tmp_path):
    process = start(folder, tmp_path / "cache", "--crop-aspect", "4:3")
    wait_for_spill(tmp_path / "cache")
    process.kill()
    process.communicate()
    assert run(folder, tmp_path / "cache", "--crop-aspect", "4:3").returncode == 0


def test_frames_of_an_interrupted_run_count_for_no_speed(tmp_path):
    videos = tiny_folder(tmp_path / "videos", simple_specs(2, num_frames=5)).path
    asked = (videos, "--out", tmp_path / "cache", "--size", "64", "--workers", "1")
    with patch("cache_builder.build.making.gather", side_effect=KeyboardInterrupt):
        assert run_here(*asked).exit_code == EXIT_INTERRUPTED
    resumed = run_here(*asked).stdout
    assert "13 frames decoded by this run and an interrupted one; this run took " in resumed
    assert "frames/s" not in resumed
    fresh = run_here(*asked, "--seed", "1", "--overwrite").stdout
    assert "13 frames decoded in " in fresh and "frames/s" in fresh


def test_what_begins_anew_promises_no_resuming(tmp_path):
    videos = tiny_folder(tmp_path / "videos", simple_specs(1, num_frames=3)).path
    cache = tmp_path / "cache"
    with patch("cache_builder.cli.build_command.estimate_build", side_effect=KeyboardInterrupt):
        ended = run_here(videos, "--out", cache, "--dry-run")
    assert (ended.exit_code, ended.stderr) == (EXIT_INTERRUPTED, "interrupted\n")
    assert run_here(videos, "--out", cache, "--size", "32", "--workers", "1").exit_code == 0
    with patch("cache_builder.cli.verify_command.verify_store", side_effect=KeyboardInterrupt):
        ended = run_here(cache, command=cache_verify)
    assert (ended.exit_code, ended.stderr.splitlines()[-1]) == (EXIT_INTERRUPTED, "interrupted")


def test_what_stopped_at_a_damaged_video_goes_on_with_skip(tmp_path):
    """Under `fail` the build stops at the damage; `skip` takes up what was decoded and stores the rest."""
    specs = tiny_folder(tmp_path / "videos", simple_specs(3, num_frames=60)).specs
    content = bytearray(specs[1].path.read_bytes())
    middle = content.index(b"mdat") + 4 + (len(content) - content.index(b"mdat")) // 3
    content[middle : middle + 300] = bytes(300)
    specs[1].path.write_bytes(content)
    stopped = run(tmp_path / "videos", tmp_path / "cache")
    assert stopped.returncode == EXIT_NOT_WHOLE
    assert "01.mp4: " in stopped.stderr
    assert not (tmp_path / "cache").exists()
    finished = run(tmp_path / "videos", tmp_path / "cache", "--on-error", "skip")
    assert finished.returncode == EXIT_NOT_WHOLE
    assert "'01.mp4': damaged" in finished.stdout
    again = run(tmp_path / "videos", tmp_path / "cache")
    assert again.returncode == EXIT_NOT_WHOLE
    assert "already complete" in again.stdout


def test_a_disk_that_is_full_at_any_moment_is_an_error_and_no_crash(tmp_path):
    """Sizes chosen so that it fills up while decoding, in shards, at the index and at the manifest."""
    folder = tiny_folder(tmp_path / "videos", simple_specs(3, num_frames=150)).path
    flags = ["--size", "8", "--encoding", "raw", "--frames-per-shard", "50", "--workers", "1"]
    assert run(folder, tmp_path / "cache", *flags).returncode == 0
    expected = digests(tmp_path / "cache")
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", disk]).returncode:
        pytest.skip("needs the right to mount a tmpfs of a few MB")
    try:
        failures = []
        for kilobytes in range(300, 1600, 100):
            subprocess.run(["mount", "-o", f"remount,size={kilobytes}k", disk], check=True)
            full = run(folder, disk / "cache", *flags)
            if full.returncode == 0:
                break
            assert full.returncode == EXIT_MACHINE_FAILED, full.stderr
            assert "Traceback" not in full.stderr
            failures.append(full.stderr)
        assert len(failures) > 4
        assert digests(disk / "cache") == expected
    finally:
        subprocess.run(["umount", disk], check=True)
