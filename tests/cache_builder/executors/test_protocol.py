"""What `outcomes` makes of jobs that were lost, whatever runs them."""

from pathlib import Path

import pytest

import cache_builder
from cache_builder.build import pipeline
from cache_builder.errors import MachineError
from cache_builder.executors import JobDied, JobDone, JobLost
from cache_builder.executors.protocol import MAX_LOSSES
from tests.support.executors.in_process_pool import InProcessPool
from tests.support.executors.losing_pool import LosingPool
from tests.support.executors.pool_jobs import Number
from tests.support.faults.faults import digests
from tests.support.videos.tiny_videos import simple_specs, tiny_folder


class Scripted(InProcessPool):
    """Ends each job as the script says, then with its result."""

    def __init__(self, script):
        super().__init__()
        self._script = list(script)

    def next_outcome(self):
        if not self._script:
            return super().next_outcome()
        return self._script.pop(0)(job=self._jobs.popleft(), how="of the script")


def test_a_lost_job_is_submitted_again_and_the_others_are_done_meanwhile():
    pool = LosingPool()
    for value in range(3):
        pool.submit(Number(value=value))
    found = list(pool.outcomes())
    assert [outcome.result for outcome in found] == [0, 1, 2]
    assert sum(pool.losses.values()) == 3


def test_losses_are_no_deaths():
    """Two losses, a death, a loss of the job that is tried again, and it is done: nobody hears of a death."""
    pool = Scripted([JobLost, JobLost, JobDied, JobLost])
    pool.submit(Number(value=5))
    assert [type(outcome) for outcome in pool.outcomes(retry_deaths=True)] == [JobDone]


@pytest.mark.parametrize("num_losses", [MAX_LOSSES - 1, MAX_LOSSES])
def test_a_job_that_is_always_lost_ends_with_the_cause(num_losses):
    pool = LosingPool()
    pool.num_losses = num_losses
    pool.submit(Number(value=1))
    if num_losses < MAX_LOSSES:
        assert [outcome.result for outcome in pool.outcomes()] == [1]
    else:
        with pytest.raises(MachineError, match=r"lost 20 times.*its node ended.*the same command resumes"):
            list(pool.outcomes())


def test_a_build_whose_jobs_are_all_lost_once_has_the_same_bytes_and_blames_no_video(tmp_path, monkeypatch):
    videos = tiny_folder(tmp_path / "videos", simple_specs(2))

    def built(name: str, pool: type) -> Path:
        monkeypatch.setattr(pipeline, "WorkerPool", pool)
        report = cache_builder.build_cache(videos.path, tmp_path / name, size=16)
        assert report.is_whole
        return tmp_path / name

    class Pool(LosingPool):
        num_losses = 0

    expected = built("undisturbed", Pool)
    assert digests(built("lost", LosingPool)) == digests(expected)
