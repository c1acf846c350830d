"""A build that is killed, or whose disk fails, at any moment: a sample of `tests/campaigns/crash_campaign.py`.

And videos that cannot be read, that change or vanish on the way, and caches that were moved or are read-only.
"""

import errno
import json
import pickle
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from cache_builder.cli.exit_status import EXIT_MACHINE_FAILED, EXIT_WRONG_COMMAND
from frame_store import open_store
from frame_store.manifest import read_manifest
from tests.support.caches.tree import generation_folder, generation_of
from tests.support.faults.append_trials import APPEND_STARTS, AppendTrials
from tests.support.faults.compaction_trials import CompactionTrials
from tests.support.faults.fault_trials import (
    COLUMNS_STARTS,
    KILLED,
    VARIANTS,
    ColumnsTrials,
    FaultTrials,
    ReadTrials,
)
from tests.support.faults.faults import BuildServer, Fault, FaultyFiles, why_no_faults
from tests.support.videos.tiny_videos import simple_specs, tiny_folder, tiny_video

pytestmark = pytest.mark.skipif(why_no_faults() is not None, reason=str(why_no_faults()))

SMALL = ("--size", "16", "--frames-per-shard", "10")
AFTER_THE_HEAD = 64 << 10
"""Bytes of a video that opening it has read."""
NUM_CHANGES_OF_SCAN = 8
"""A build begins with about this many changes of the disk. After them the scan is stored, and nothing is decoded."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("faults")


@pytest.fixture(scope="module")
def faulty_files(tmp_path_factory, folder):
    return FaultyFiles(tmp_path_factory.mktemp("library"), folder)


@pytest.fixture(scope="module")
def server(tmp_path_factory, faulty_files):
    with BuildServer(faulty_files, tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    """Alone in its folder, and of more bytes than opening it reads."""
    folder = tmp_path_factory.mktemp("video")
    return tiny_video(folder, path=Path("v.mkv"), num_frames=60, width=256, height=256, gop_size=16).path


@pytest.fixture
def output(folder):
    """Below the watched folder."""
    yield folder / "one" / "cache"
    shutil.rmtree(folder / "one", ignore_errors=True)


@pytest.mark.parametrize(
    ("variant", "replaces"), [("wds-jpeg", True), ("zarr-raw", False), ("wds-cameras", False)]
)
def test_whatever_change_is_the_last_the_same_command_ends_the_same(server, folder, variant, replaces):
    trials = FaultTrials(server, folder / variant, variant=variant, replaces=replaces)
    num_changes = len(trials.changes)
    publishing = next(
        number
        for number, change in enumerate(trials.changes, 1)
        if change.endswith("/out/cache") and change.split()[0] in ("rename", "exchange")
    )
    naming = next(
        number
        for number, change in enumerate(trials.changes, 1)
        if change.startswith("rename ") and change.endswith("/cache/manifest-0000.json")
    )
    faults = [
        *(Fault(action="kill", at=at) for at in (naming, publishing, publishing + 1)),
        *(Fault(action="kill", at=at) for at in range(17, num_changes, num_changes // 3)),
        *(Fault(action="full_from", at=at) for at in range(6, publishing, num_changes // 3)),
        Fault(action="fail_once", at=publishing, error=errno.EIO),
    ]
    problems = {(fault.action, trials.changes[fault.at - 1]): trials.problems(fault) for fault in faults}
    assert not {place: found for place, found in problems.items() if found}


@pytest.mark.parametrize("is_scanned", [False, True], ids=["scan", "decode"])
def test_a_video_that_cannot_be_read_is_the_machines_failure(server, video, output, is_scanned):
    """FFmpeg takes it for the end, or for damage; under `skip` a shorter video would be stored."""
    flags = ("--videos", video.parent, "--out", output, *SMALL, "--on-error", "skip")
    if is_scanned:
        server.run(*flags, fault=Fault(action="kill", at=NUM_CHANGES_OF_SCAN))
        assert output.with_name("cache.scan").exists()
    failed = server.run(*flags, fault=Fault(read_path=video, read_offset=AFTER_THE_HEAD))
    assert failed.returncode == EXIT_MACHINE_FAILED
    assert "v.mkv" in failed.stderr
    assert "Input/output error" in failed.stderr
    assert "the same command resumes" in failed.stderr
    assert server.run(*flags).returncode == 0
    assert read_manifest(output).num_frames == 60


def test_a_video_that_cannot_be_opened_is_the_machines_failure(server, video, output):
    flags = ("--videos", video.parent, "--out", output, *SMALL, "--on-error", "skip")
    failed = server.run(*flags, fault=Fault(read_path=video))
    assert failed.returncode == EXIT_MACHINE_FAILED
    assert f"{video}: Input/output error" in failed.stderr


@pytest.mark.parametrize("suffix", [".mp4", ".avi", ".ts", ".mpg"])
def test_one_read_that_fails_is_the_machines_failure(server, folder, suffix):
    """FFmpeg's demuxers go on after the failure or end early, each in its own way."""
    trials = ReadTrials(server, folder / "reads", suffix=suffix)
    while_scanning, while_decoding = trials.num_reads // 4, trials.num_reads - 2
    problems = {number: trials.problems(number) for number in (while_scanning, while_decoding)}
    assert not {number: found for number, found in problems.items() if found}


def test_videos_that_change_before_a_build_is_resumed_are_named(server, output, tmp_path):
    videos = tiny_folder(tmp_path / "videos", simple_specs(3, num_frames=12)).path
    flags = ("--videos", videos, "--out", output, *SMALL)
    assert server.run(*flags, fault=Fault(action="kill", at=25)).returncode == KILLED
    (videos / "01.mp4").unlink()
    tiny_video(videos, path=Path("02.mp4"), num_frames=9)
    again = server.run(*flags)
    assert again.returncode == EXIT_WRONG_COMMAND
    assert "holds an unfinished build of something else" in again.stderr
    assert "01.mp4" in again.stderr
    assert "02.mp4" in again.stderr
    assert server.run(*flags, "--overwrite").returncode == 0
    assert read_manifest(output).num_frames == 12 + 9


def test_a_moved_cache_is_read_and_nothing_is_written_to_it(server, folder, faulty_files, video, output):
    assert server.run("--videos", video.parent, "--out", output, *SMALL).returncode == 0
    expected = open_store(output).read_frames(np.arange(60))
    moved = folder / "one" / "elsewhere" / "moved"
    moved.parent.mkdir()
    output.rename(moved)
    np.testing.assert_array_equal(open_store(moved).read_frames(np.arange(60)), expected)
    before = {path: path.stat().st_mtime_ns for path in [moved, *moved.rglob("*")]}
    code = (
        "import sys, numpy; from frame_store import open_store; from frame_store.verify import verify_store\n"
        "open_store(sys.argv[1]).read_frames(numpy.arange(60)); assert not verify_store(sys.argv[1]).problems"
    )
    done = faulty_files.run([sys.executable, "-c", code, str(moved)], Fault())
    assert done.returncode == 0, done.stderr
    assert done.changes == ()
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_a_shard_that_cannot_be_read_is_named(server, folder, faulty_files, tmp_path):
    """It is a failure of the machine: nothing shows that the bytes are wrong. `cache-verify` names every such file."""
    pytest.importorskip("torch")
    videos = tiny_folder(tmp_path / "videos", simple_specs(1, num_frames=12)).path
    caches = [folder / "named" / variant for variant in ("wds-jpeg", "zarr-raw")]
    for cache in caches:
        assert server.run("--videos", videos, "--out", cache, *VARIANTS[cache.name]).returncode == 0
    pickled = tmp_path / "faulty_files"
    pickled.write_bytes(pickle.dumps(faulty_files))
    command = [sys.executable, "-m", "tests.support.caches.shard_faults", str(pickled), *map(str, caches)]
    done = faulty_files.run(command, Fault())
    assert done.returncode == 0, done.stderr
    for cache in caches:
        said = json.loads(done.stdout)[cache.name]
        shard = generation_folder(cache) / generation_of(cache).shards[0].name
        for way in ("read_frames", "read_encoded", "read_payload", "FrameLoader"):
            assert said[way] == ["OSError", f"[Errno 5] frame 0: Input/output error: '{shard}'"], way
        verified = {name.removeprefix("verify "): found for name, found in said.items() if "verify" in name}
        assert len(verified) > 1
        for name, problems in verified.items():
            assert any(name in problem and "Input/output error" in problem for problem in problems)
    shutil.rmtree(folder / "named")


@pytest.mark.parametrize("start", COLUMNS_STARTS)
def test_columns_are_complete_whatever_change_is_the_last(server, folder, start):
    trials = ColumnsTrials(server, folder / "columns", start=start)
    (publishing,) = [
        number
        for number, change in enumerate(trials.changes, 1)
        if change.startswith("link ")
        and change.endswith(f"/manifest-000{2 if start == 'with columns' else 1}.json")
    ]
    (naming,) = [
        number
        for number, change in enumerate(trials.changes, 1)
        if change.startswith("rename ") and "/cache/columns-" in change
    ]
    faults = [
        *(Fault(action="kill", at=at) for at in (naming, naming + 1, publishing, publishing + 1)),
        Fault(action="full_from", at=naming),
        Fault(action="fail_once", at=publishing, error=errno.EIO),
        Fault(action="fail_once", at=publishing, error=errno.EPERM),  # a file system without hard links
    ]
    problems = {(fault.action, trials.changes[fault.at - 1]): trials.problems(fault) for fault in faults}
    assert not {place: found for place, found in problems.items() if found}


@pytest.mark.parametrize("variant", ["wds-raw", "zarr-zstd"])
def test_a_compaction_is_complete_whatever_change_is_the_last(server, folder, variant):
    trials = CompactionTrials(server, folder / "compaction", variant=variant)
    numbered = [*enumerate(trials.changes, 1)]
    (publishing,) = [number for number, change in numbered if change.endswith("/cache/manifest-0002.json")]
    naming = next(
        number for number, change in numbered if change.startswith("rename ") and "/cache/gen-" in change
    )
    removing = next(number for number, change in numbered if "/removed/gen-" in change)
    faults = [
        *(Fault(action="kill", at=at) for at in (naming, naming + 1, publishing, publishing + 1)),
        *(Fault(action="kill", at=at) for at in (removing, removing + 1, removing + 3)),
        *(Fault(action="kill", at=at) for at in range(5, naming, naming // 3)),
        *(Fault(action="full_from", at=at) for at in (naming // 3, naming, publishing)),
        Fault(action="fail_once", at=naming, error=errno.EIO),
        Fault(action="fail_once", at=removing, error=errno.EIO),
    ]
    problems = {(fault.action, trials.changes[fault.at - 1]): trials.problems(fault) for fault in faults}
    assert not {place: found for place, found in problems.items() if found}


@pytest.mark.parametrize("start", APPEND_STARTS[1:])
def test_an_append_is_complete_whatever_change_is_the_last(server, folder, start):
    trials = AppendTrials(server, folder / "append", start=start)
    numbered = [*enumerate(trials.changes, 1)]
    (publishing,) = [
        number for number, change in numbered if change.startswith("link ") and "/cache/manifest-0" in change
    ]
    naming = [
        number
        for number, change in numbered
        if change.startswith("rename ") and ("/out/cache/gen-" in change or "/out/cache/camera-" in change)
    ]
    faults = [
        *(Fault(action="kill", at=at) for at in (naming[0] // 2, naming[0], naming[-1] + 1)),
        *(Fault(action="kill", at=at) for at in (publishing, publishing + 1)),
        *(Fault(action="full_from", at=at) for at in (naming[0] // 2, publishing)),
        Fault(action="fail_once", at=naming[0], error=errno.EIO),
    ]
    problems = {(fault.action, trials.changes[fault.at - 1]): trials.problems(fault) for fault in faults}
    assert not {place: found for place, found in problems.items() if found}
