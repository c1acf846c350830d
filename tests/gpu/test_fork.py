"""The fork table on the real driver, and the rows that need a real torch.

The six rows are those of tests/end_to_end/gpu_stub/test_fork_table.py, which runs them on a stub of the driver.
"""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from tests.end_to_end.gpu_stub import test_fork_table as table
from tests.support.gpu.raw_nvdec import bind_primary_context, failure_of, first_frame_format
from tests.support.gpu.stub_driver import CALL, ROOT
from tests.support.videos.tiny_videos import simple_specs, tiny_folder

pytestmark = pytest.mark.gpu


# Called in a process of its own, because this process has started CUDA.


class RawVideosInOwnContext(table.RawVideos):
    """A worker that starts CUDA itself, before it opens the video."""

    def __getitem__(self, _):
        return decode_in_own_context(self.path)


def decode_in_own_context(path):
    def decode():
        bind_primary_context()
        assert first_frame_format(path) == "cuda"

    return failure_of(decode)


def start_torch(_):
    """`worker_init_fn=torch.cuda.init`, which is called with the worker's number."""
    torch.cuda.init()


def rows_of_torch(path):
    """What happens to workers after torch has started CUDA in several ways."""
    videos = table.RawVideos(path)
    rows = {"only pinned": table.first_of_forked_worker(videos, pin_memory=True)}
    torch.zeros(1).cuda()
    rows["forked"] = table.first_of_forked_worker(videos)
    rows["torch initialised in worker"] = failure_of(
        lambda: require_frame(table.first_of_forked_worker(videos, worker_init_fn=start_torch))
    )
    rows["spawned"] = table.first_of_forked_worker(
        RawVideosInOwnContext(path), multiprocessing_context="spawn"
    )
    with ThreadPoolExecutor(4) as threads:
        rows["threads"] = list(threads.map(decode_in_own_context, [path] * 4))
    return rows


def require_frame(failure):
    if failure["error"] is not None:
        raise RuntimeError(failure["log"])


def on_the_real_driver(function, *arguments):
    done = subprocess.run(
        [sys.executable, "-c", CALL, function.__module__, function.__name__, *map(str, arguments)],
        env=os.environ
        | {"PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_folder(tmp_path_factory.mktemp("fork"), simple_specs(2))


def test_fork_table(folder):
    rows = on_the_real_driver(table.fork_table, folder.path, folder.specs[0].path, "real")
    table.check_row_1_pyav_in_a_forked_worker_fails_with_the_exercises_error(rows)
    table.check_row_2_our_store_says_cause_and_cure_in_a_forked_worker(rows)
    table.check_row_3_initialising_cuda_in_the_worker_does_not_help(rows)
    table.check_row_4_a_parent_that_only_started_cuda_is_enough_and_torchs_flag_does_not_know(rows)
    assert rows["spawned"]["is_same"] and rows["spawned"]["num_distinct"] > 1
    table.check_row_6_threads_decode(rows)


def test_what_torch_starts_breaks_forked_workers_too(folder):
    rows = on_the_real_driver(rows_of_torch, folder.specs[0].path)
    table.check_is_the_exercises_error(rows["only pinned"])
    table.check_is_the_exercises_error(rows["forked"])
    assert rows["torch initialised in worker"]["error"] is not None
    assert rows["spawned"]["error"] is None, rows["spawned"]
    assert {each["error"] for each in rows["threads"]} == {None}, rows["threads"]
