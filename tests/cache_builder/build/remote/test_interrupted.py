"""Builds into an object store that are interrupted: the same command goes on and gives the bytes of a local build."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from typing import Any
from unittest.mock import Mock

import pytest
from msgspec.structs import replace

from cache_builder.build import pipeline, run_build
from cache_builder.errors import MachineError, OutputError
from cache_builder.jobs import ShardJob
from cache_builder.settings import BuildSettings, resolve
from cache_builder.sources import Sources
from cache_builder.stages import RemoteWorkspace
from frame_store.errors import ObjectStoreError
from frame_store.remote import ObjectClient, RemoteUrl
from tests.support.commands import SMALL, run
from tests.support.executors.in_process_pool import InProcessPool
from tests.support.object_stores.listing import files_at, keys_at, objects_at

WRITES = ("put", "create", "put_file", "delete")


@pytest.fixture
def in_process(monkeypatch, tmp_path):
    """Jobs run in this process, and temporary files lie in a folder that can be lost."""
    monkeypatch.setattr(pipeline, "WorkerPool", {(Any, Any): lambda **_: InProcessPool()})
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))


def build(folder, out, *, seed=0, scratch=None, overwrite=False):
    config, options = resolve(BuildSettings(size=32, frames_per_shard=20, seed=seed))
    return run_build(Sources.of(folder.path), out, config, options, scratch=scratch, overwrite=overwrite)


class Writes:
    """Counts the requests that write, and fails at one of them: before it is made, or when it has been made."""

    def __init__(self, monkeypatch, *, at=None, error=KeyboardInterrupt, is_made=False):
        self.number, self._at, self._error, self._is_made = 0, at, error, is_made
        for name in WRITES:
            monkeypatch.setattr(ObjectClient, name, self._counted(getattr(ObjectClient, name)))

    def _counted(self, method):
        def write(client, *arguments):
            self.number += 1
            fails = self.number == self._at
            if fails and not self._is_made:
                raise self._error
            result = method(client, *arguments)
            if fails:
                raise self._error
            return result

        return write


def test_interrupted_at_any_write_it_goes_on(in_process, simple_folder, tmp_path, bucket_folder, monkeypatch):
    build(simple_folder, tmp_path / "local")
    expected = files_at(tmp_path / "local")
    with monkeypatch.context() as patch:
        writes = Writes(patch)
        build(simple_folder, RemoteUrl.of(f"{bucket_folder}/whole"))
    assert objects_at(f"{bucket_folder}/whole") == expected
    for at in range(2, writes.number + 1, 5):
        url = f"{bucket_folder}/at-{at}"
        with monkeypatch.context() as patch:
            Writes(patch, at=at, is_made=at % 2 == 0)
            with pytest.raises(KeyboardInterrupt):
                build(simple_folder, RemoteUrl.of(url))
        if at % 4 > 1:
            shutil.rmtree(tmp_path / "tmp")
            (tmp_path / "tmp").mkdir()
        build(simple_folder, RemoteUrl.of(url))
        assert objects_at(url) == expected, f"interrupted at write {at} of {writes.number}"
        assert not keys_at(f"{url}.building"), at
        assert not [path for path in (tmp_path / "tmp").rglob("*") if path.is_file()], at


def test_work_that_is_done_is_not_done_again(in_process, simple_folder, bucket_folder, monkeypatch):
    url = RemoteUrl.of(f"{bucket_folder}/c")
    with monkeypatch.context() as patch:
        patch.setattr(RemoteWorkspace, "publish", Mock(side_effect=KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            build(simple_folder, url)
    put = []
    with monkeypatch.context() as patch:
        for name in WRITES[:3]:
            method = getattr(ObjectClient, name)
            patch.setattr(
                ObjectClient,
                name,
                lambda client, key, content, method=method: put.append(key) or method(client, key, content),
            )
        report = build(simple_folder, url)
    assert report.is_resumed
    assert not [key for key in put if key.endswith((".frames", ".receipt", ".record"))]
    assert not [key for key in put if "/shards/" in key]


def test_what_was_changed_or_lost_is_made_again(
    in_process, simple_folder, tmp_path, bucket_folder, monkeypatch
):
    build(simple_folder, tmp_path / "local")
    url = f"{bucket_folder}/c"
    with monkeypatch.context() as patch:
        patch.setattr(RemoteWorkspace, "publish", Mock(side_effect=KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            build(simple_folder, RemoteUrl.of(url))
    cache = ObjectClient(RemoteUrl.of(url))
    changed, lost, *_ = cache.objects()
    cache.put(changed.key, bytes(changed.num_bytes))
    cache.delete([lost.key])
    spill = ObjectClient(RemoteUrl.of(f"{url}.building/spill"))
    for frames in [found.key for found in spill.objects() if found.key.endswith(".frames")]:
        spill.put(frames, b"cut off")
    build(simple_folder, RemoteUrl.of(url))
    assert objects_at(url) == files_at(tmp_path / "local")


def test_unfinished_work_of_something_else_stays_without_overwrite(
    in_process, simple_folder, bucket_folder, monkeypatch
):
    url = RemoteUrl.of(f"{bucket_folder}/c")
    with monkeypatch.context() as patch:
        patch.setattr(RemoteWorkspace, "publish", Mock(side_effect=KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            build(simple_folder, url)
    before = objects_at(f"{url}.building")
    with pytest.raises(OutputError, match="unfinished build of something else"):
        build(simple_folder, url, seed=1)
    assert objects_at(f"{url}.building") == before
    ObjectClient(url.sibling(".building")).put("notes.txt", b"mine")
    with pytest.raises(OutputError, match=r"notes\.txt"):
        build(simple_folder, url, seed=1, overwrite=True)
    ObjectClient(url.sibling(".building")).delete(["notes.txt"])
    assert build(simple_folder, url, seed=1, overwrite=True).status == "built"
    assert not keys_at(f"{url}.building")


def test_jobs_of_a_machine_without_the_folders_of_the_build(
    in_process, simple_folder, tmp_path, bucket_folder, monkeypatch
):
    build(simple_folder, tmp_path / "local")
    elsewhere, submit = tmp_path / "nowhere", InProcessPool.submit
    (tmp_path / "plan").mkdir()
    (tmp_path / "plan" / "sha256").write_text("of another plan")

    def submit_elsewhere(pool, job):
        if isinstance(job, ShardJob):
            objects = replace(job.places.objects, work=elsewhere)
            job = replace(job, places=replace(job.places, plan=tmp_path / "plan", objects=objects))
        submit(pool, job)

    monkeypatch.setattr(InProcessPool, "submit", submit_elsewhere)
    build(simple_folder, RemoteUrl.of(f"{bucket_folder}/c"))
    assert objects_at(f"{bucket_folder}/c") == files_at(tmp_path / "local")
    assert not elsewhere.exists()


@pytest.mark.parametrize("at", [1, 9])  # of the command itself, and of a job
def test_a_failing_store_is_a_failure_of_the_machine(
    at, in_process, simple_folder, bucket_folder, monkeypatch
):
    url = RemoteUrl.of(f"{bucket_folder}/c")
    with monkeypatch.context() as patch:
        Writes(patch, at=at, error=ObjectStoreError("s3://…: gave up"))
        with pytest.raises(MachineError, match="gave up"):
            build(simple_folder, url)
    assert build(simple_folder, url).status == "built"


def test_spill_that_is_lost_is_decoded_again(in_process, simple_folder, bucket_folder, monkeypatch):
    url = RemoteUrl.of(f"{bucket_folder}/c")
    spill = ObjectClient(RemoteUrl.of(f"{bucket_folder}/c.building/spill"))
    gathered = pipeline.Making.gathered

    def lose(making, *arguments):
        frames = [found for found in spill.objects() if found.key.endswith(".frames")]
        spill.put(frames[0].key, bytes(frames[0].num_bytes))  # of the same size
        return gathered(making, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(pipeline.Making, "gathered", lose)
        with pytest.raises(MachineError, match="changed after they were written"):
            build(simple_folder, url)
    assert build(simple_folder, url).status == "built"


def test_of_two_publishers_one_wins(in_process, simple_folder, tmp_path, bucket_folder, monkeypatch):
    caches = [tmp_path / f"local-{seed}" for seed in (0, 1)]
    for seed, cache in enumerate(caches):
        build(simple_folder, cache, seed=seed)
    for round_number in range(3):
        url = RemoteUrl.of(f"{bucket_folder}/{round_number}")
        both = threading.Barrier(2)
        ends = {}
        create = RemoteWorkspace._create

        def created(workspace, name, content, both=both, create=create):
            both.wait()
            create(workspace, name, content)

        def publish(seed, url=url, ends=ends, round_number=round_number):
            try:
                build(simple_folder, url, seed=seed, scratch=tmp_path / f"{round_number}-{seed}")
                ends[seed] = "built"
            except OutputError as error:
                ends[seed] = str(error)

        # Decoding in two threads of a process would mix the messages of the decoders.
        with monkeypatch.context() as patch:
            patch.setattr(RemoteWorkspace, "publish", Mock(side_effect=KeyboardInterrupt))
            for seed in (0, 1):
                with pytest.raises(KeyboardInterrupt):
                    build(simple_folder, url, seed=seed, scratch=tmp_path / f"{round_number}-{seed}")
        with monkeypatch.context() as patch:
            patch.setattr(RemoteWorkspace, "_create", created)
            threads = [threading.Thread(target=publish, args=[seed]) for seed in (0, 1)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        (winner,) = [seed for seed, end in ends.items() if end == "built"]
        assert "another process has published it meanwhile" in ends[1 - winner]
        there = objects_at(url.text)
        expected = files_at(caches[winner])
        assert {key: there[key] for key in expected} == expected


def test_killed_with_its_workers_it_goes_on(simple_folder, tmp_path, bucket_folder, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    common = ["--videos", str(simple_folder.path), *SMALL, "--frames-per-shard", "3"]
    assert run(*common, "--out", tmp_path / "local").exit_code == 0
    url = f"{bucket_folder}/c"
    code = "from cache_builder.cli import cache_build; cache_build()"
    command = [sys.executable, "-c", code, *common, "--out", url]
    process = subprocess.Popen(command, start_new_session=True, stderr=subprocess.DEVNULL)
    while not keys_at(f"{url}.building/receipts") and process.poll() is None:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not [key for key in keys_at(url) if key.startswith("manifest")], "too late to be killed"
    assert run(*common, "--out", url).exit_code == 0
    assert objects_at(url) == files_at(tmp_path / "local")
