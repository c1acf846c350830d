"""What a process of a Ray cluster does with jobs; Ray itself is not needed for it."""

import pickle
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from cache_builder.executors import JobLimits
from cache_builder.executors.ray_worker import _Kept, version_text
from tests.support.executors.pool_jobs import KillItself, Number, Unpicklable


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """Writes a line each time it runs."""

    log: Path
    differences: Sequence[str] = ()
    limits: JobLimits = JobLimits()

    def run(self):
        with self.log.open("a") as file:
            file.write("checked\n")
        return self.differences


@pytest.fixture
def kept():
    kept = _Kept()
    yield kept
    if kept._pool is not None:
        kept._pool.__exit__(None, None, None)


def answers(kept, check, *jobs, version=None):
    return [
        kept.answer("node", version or version_text(), pickle.dumps(check), pickle.dumps(job)) for job in jobs
    ]


def test_a_process_runs_the_check_once_and_then_jobs_of_every_end(tmp_path, kept):
    check = Check(log=tmp_path / "log")
    done, died, again = answers(kept, check, Number(value=7), KillItself(), Number(value=8))
    assert (done.kind, done.value) == ("done", 7)
    assert (died.kind, died.value) == ("died", "was killed by SIGKILL")
    assert (again.kind, again.value) == ("done", 8)
    assert check.log.read_text() == "checked\n"


def test_a_node_that_differs_runs_no_job(tmp_path, kept):
    (answer,) = answers(kept, Check(log=tmp_path / "log", differences=["has av 1"]), Number(value=7))
    assert (answer.kind, answer.value) == ("refused", ["has av 1"])


def test_another_version_is_refused_before_anything_is_unpickled(tmp_path, kept):
    (answer,) = answers(kept, Unpicklable(), Unpicklable(), version="frame-cache 0 under Python 3.11")
    assert answer.kind == "refused"
    assert answer.value == [f"has {version_text()}, this machine frame-cache 0 under Python 3.11"]


def test_other_gpus_need_another_process(tmp_path, kept, monkeypatch):
    check = Check(log=tmp_path / "log")
    answers(kept, check, Number(value=1))
    first = kept._pool
    answers(kept, check, Number(value=1))
    assert kept._pool is first
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    answers(kept, check, Number(value=1))
    assert kept._pool is not first
