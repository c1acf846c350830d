"""Commands, live stores and webdataset where this process may hold few descriptors: no video and no cache is blamed."""

import errno
import os
import random
import resource
import shutil
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import cache_builder
import loader
from cache_builder.cli.exit_status import EXIT_MACHINE_FAILED, EXIT_NOT_WHOLE
from cache_builder.executors import WorkerPool
from cache_builder.folder_scan.scan_cache import scan_videos
from cache_builder.jobs.spill import UnitSpill
from cache_builder.settings import read_settings
from cache_builder.sources import discover_videos
from cache_builder.stages.workspace import Workspace
from frame_store import open_store
from frame_store.manifest import read_tree
from frame_store.verify import check_file
from loader.bias.rho import load_features
from tests.support.caches.tree import generation_folder
from tests.support.faults.few_descriptors import (
    descriptors_left,
    end_of_the_process,  # noqa: F401 - a fixture
    num_descriptors_left,
    open_paths,
    run_with_descriptors,
)
from tests.support.videos.tiny_videos import simple_specs, tiny_folder, tiny_video, write_text

SIZE = 16
NUM_VIDEOS = 300
TOO_MANY = os.strerror(errno.EMFILE)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Six videos, and a text that claims to be one."""
    folder = tmp_path_factory.mktemp("videos")
    tiny_folder(folder, simple_specs(6))
    write_text(folder / "text.mp4")
    return folder


def command(limit, name, *arguments):
    """A command in a process of its own that may hold `limit` descriptors."""
    call = f"from cache_builder.cli import {name}; {name}(prog_name='{name}')"
    limits = partial(resource.setrlimit, resource.RLIMIT_NOFILE, (limit, limit))
    return subprocess.run(
        [sys.executable, "-c", call, *map(str, arguments)], preexec_fn=limits, capture_output=True, text=True
    )


@pytest.fixture(scope="module", params=["wds", "zarr"])
def cache(request, folder, tmp_path_factory):
    """55 shards of 3 frames."""
    out = tmp_path_factory.mktemp("cache") / request.param
    done = build(20_000, folder, out, request.param)
    assert done.returncode == EXIT_NOT_WHOLE, done.stderr  # for the text
    return out


def build(limit, folder, out, container, *flags):
    small = ("--size", SIZE, "--frames-per-shard", 3, "--on-error", "skip", "--workers", 2)
    where = ("--videos", folder, "--out", out, "--format", container)
    return command(limit, "cache_build", *where, *small, *flags)


def test_a_build_with_few_descriptors_gives_the_same_bytes_or_says_that_the_machine_failed(
    folder, cache, tmp_path
):
    out, codes = tmp_path / "cache", []
    for limit in (6, 10, 16, 64):
        done = build(limit, folder, out, cache.name)
        codes.append(done.returncode)
        if done.returncode == EXIT_MACHINE_FAILED:
            assert TOO_MANY in done.stderr and "the same command resumes" in done.stderr
    assert set(codes) == {EXIT_MACHINE_FAILED, EXIT_NOT_WHOLE} and codes[-1] == EXIT_NOT_WHOLE, codes
    files = sorted(path.relative_to(cache) for path in cache.rglob("*") if path.is_file())
    assert files == sorted(path.relative_to(out) for path in out.rglob("*") if path.is_file())
    assert all((out / name).read_bytes() == (cache / name).read_bytes() for name in files)


def test_more_workers_than_descriptors_are_fewer_workers(folder, tmp_path):
    done = build(20, folder, tmp_path / "cache", "wds", "--workers", 50)
    assert done.returncode == EXIT_NOT_WHOLE, done.stderr


def test_a_sound_cache_is_never_found_damaged_nor_its_videos_changed(folder, cache):
    for name, arguments, sound in (
        ("cache_verify", [cache], 0),
        ("cache_info", [cache, "--against", folder], 0),
    ):
        codes = []
        for limit in (5, 7, 10, 64):
            done = command(limit, name, *arguments)
            codes.append(done.returncode)
            assert done.returncode == sound or TOO_MANY in done.stderr, (limit, done)
        assert set(codes) <= {sound, EXIT_MACHINE_FAILED} and codes[-1] == sound, (name, codes)


def test_damaged_shards_are_made_again_with_few_descriptors(folder, cache, tmp_path):
    damaged = shutil.copytree(cache, tmp_path / "cache")
    shards = [shard.name for shard in open_store(cache).common.shards]
    for name in shards[::2]:
        (generation_folder(damaged) / name).write_bytes(b"damage")
    done = command(48, "cache_verify", damaged, "--repair", "--videos", folder, "--workers", 2)
    assert done.returncode == 0, done.stderr
    made, sound = generation_folder(damaged), generation_folder(cache)
    assert all((made / name).read_bytes() == (sound / name).read_bytes() for name in shards)


def starved_outcomes(path, folder, other):
    """What each of these raises while this process can open no more files."""
    tree, workspace = read_tree(path), Workspace(other)
    workspace.claim({"of": "this"}, overwrite=False)
    spilled = workspace.spill / "frames"
    spilled.write_bytes(b"hours of work")
    calls = {
        "open_store": lambda: open_store(path),
        "discover_videos": lambda: discover_videos(folder),
        "read_videos": tree.read_videos,
        "check_file": lambda: check_file(tree.generations[0].path, tree.common.shards[0]),
        "read_settings": lambda: read_settings(other.with_suffix(".toml")),
        "read_receipt": lambda: UnitSpill(workspace.spill, "unit").read_receipt(),
        "scan_videos": lambda: scan_videos(
            [], cache_path=workspace.scan_cache, pool=WorkerPool(num_workers=1)
        ),
        "load_features": lambda: load_features(other.with_suffix(".npy"), num_frames=1),
        "claim": lambda: workspace.claim({"of": "this"}, overwrite=False),
        "webdataset": lambda: next(iter(loader.webdataset_batches(path, batch_size=2))),
    }
    found = {}
    for name, call in calls.items():
        with descriptors_left(0), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                found[name] = repr(call())
            except Exception as error:  # noqa: BLE001 - looked at by the test
                found[name] = (type(error).__name__, getattr(error, "errno", None))
    return found, spilled.exists()


def test_whoever_opens_a_file_passes_the_shortage_on(folder, cache, tmp_path):
    if cache.name != "wds":
        pytest.skip("one container tells: webdataset reads tar")
    found, is_kept = run_with_descriptors(64, starved_outcomes, cache, folder, tmp_path / "other")
    assert found == dict.fromkeys(found, ("OSError", errno.EMFILE))
    assert is_kept


def starved_webdataset(path):
    """What the first batch comes to where no shard can be opened, once all is imported."""
    next(iter(loader.webdataset_batches(path, batch_size=2)))
    batches = iter(loader.webdataset_batches(path, batch_size=2))
    with descriptors_left(0):
        try:
            next(batches)
        except Exception as error:  # noqa: BLE001 - looked at by the test
            return type(error).__name__, getattr(error, "errno", None)
    return None


def test_a_shard_that_webdataset_cannot_open_is_not_damaged(cache):
    if cache.name == "wds":
        assert run_with_descriptors(64, starved_webdataset, cache) == ("OSError", errno.EMFILE)


@pytest.fixture(scope="module")
def many_videos(tmp_path_factory):
    """300 videos, all alike."""
    folder = tmp_path_factory.mktemp("many")
    spec = tiny_video(folder, path=Path("000.mp4"), num_frames=9, gop_size=4)
    for number in range(1, NUM_VIDEOS):
        shutil.copy(spec.path, folder / f"{number:03d}.mp4")
    return folder


@pytest.fixture(scope="module")
def scans(many_videos, tmp_path_factory):
    path = tmp_path_factory.mktemp("scans") / "scan"
    cache_builder.open_videos(many_videos, size=SIZE, scan_cache=path)
    return path


def read_live(folder, scans, max_open):
    """Whether four threads read the right frames of 300 videos, how many stay open, and how many more could."""
    store = cache_builder.open_videos(folder, size=SIZE, scan_cache=scans, max_open=max_open)
    first = store.read_frames(range(9))
    draw = random.Random(0)
    requests = [draw.choices(range(len(store)), k=20) for _ in range(40)]
    with ThreadPoolExecutor(4) as threads:
        frames = list(threads.map(store.read_frames, requests))
    is_right = all(
        np.array_equal(found, first[np.array(ids) % 9]) for ids, found in zip(requests, frames, strict=True)
    )
    counts = len(open_paths(folder)), num_descriptors_left()
    store.close()
    return is_right, *counts


@pytest.mark.parametrize("max_open", [32, 300])
def test_threads_read_300_videos_live_with_64_descriptors(many_videos, scans, max_open):
    is_right, num_open, num_left = run_with_descriptors(64, read_live, many_videos, scans, max_open)
    assert is_right
    assert num_open <= 16
    assert num_left >= 24


def read_live_while_others_take_all(folder, scans):
    """Whether a frame is right that is read with no descriptor left but those of idle videos, and the error without."""
    store = cache_builder.open_videos(folder, size=SIZE, scan_cache=scans)
    first = store.read_frames(range(9 * 6))[:1]
    with descriptors_left(0):
        is_right = np.array_equal(store.read_frames([9 * 100]), first)
    store.close()
    with descriptors_left(0):
        try:
            store.read_frames([9 * 200])
        except OSError as error:
            return is_right, error.errno, error.filename
    return None


def test_a_live_store_closes_its_own_videos_first_and_blames_none(many_videos, scans):
    is_right, number, path = run_with_descriptors(64, read_live_while_others_take_all, many_videos, scans)
    assert is_right
    assert (number, path) == (errno.EMFILE, str(many_videos / "200.mp4"))
