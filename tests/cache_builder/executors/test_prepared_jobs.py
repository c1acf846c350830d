"""Jobs that are prepared in the worker, as by a download: their limits begin when they run."""

import pytest

from cache_builder.executors import JobDied, JobDone, JobRaised, WorkerPool
from tests.support.executors.prepared_jobs import SlowToPrepare


@pytest.fixture
def pool():
    with WorkerPool(num_workers=1) as pool:
        yield pool


def test_the_limit_of_time_does_not_count_the_preparation(pool, tmp_path):
    pool.submit(SlowToPrepare(prepare_seconds=1.0, trace=tmp_path / "trace"))
    outcome = pool.next_outcome()
    assert isinstance(outcome, JobDone) and outcome.result == "prepared"
    assert outcome.job.text == "as submitted"  # the caller knows its own job
    assert (tmp_path / "trace").read_text() == "let go"


def test_a_prepared_job_that_takes_too_long_is_killed(pool):
    pool.submit(SlowToPrepare(run_seconds=60))
    outcome = pool.next_outcome()
    assert isinstance(outcome, JobDied) and outcome.how == "took longer than 0.5 s"


def test_a_failed_preparation_is_the_error_of_the_job(pool):
    pool.submit(SlowToPrepare(fails=True))
    outcome = pool.next_outcome()
    assert isinstance(outcome, JobRaised) and "cannot be prepared" in str(outcome.error)
