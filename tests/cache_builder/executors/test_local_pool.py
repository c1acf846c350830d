import resource

import pytest

from cache_builder.executors import JobDied, JobDone, JobLimits, JobRaised, WorkerPool
from tests.support.executors.pool_jobs import (
    Collector,
    Hang,
    KillItself,
    KillItselfOnce,
    MemoryLimit,
    Number,
    TakeMemory,
    Unpicklable,
)

pytestmark = pytest.mark.usefixtures("workers_of_its_own")


def outcomes(*jobs, num_workers=1, retry_deaths=False):
    with WorkerPool(num_workers=num_workers) as pool:
        for job in jobs:
            pool.submit(job)
        return list(pool.outcomes(retry_deaths=retry_deaths))


def test_a_pool_that_is_given_nothing_starts_nothing():
    with WorkerPool(num_workers=2) as pool:
        assert pool.num_unfinished == 0
        assert not pool._workers


def test_a_job_that_takes_too_long_is_killed_and_the_others_go_on():
    hang = Hang(limits=JobLimits(seconds=0.2))
    found = outcomes(hang, Number(value=1), Number(value=2, limits=JobLimits(seconds=600)), num_workers=2)
    died = [outcome for outcome in found if isinstance(outcome, JobDied)]
    assert died == [JobDied(job=hang, how="took longer than 0.2 s")]
    assert sorted(outcome.result for outcome in found if isinstance(outcome, JobDone)) == [1, 2]


def test_memory_beyond_the_limit_is_refused_and_the_process_goes_on():
    """In one process: each job has its own limit, which is removed after the job."""
    limits = JobLimits(memory_bytes=2**30)
    too_much, enough, limit, unlimited = outcomes(
        TakeMemory(num_bytes=2**31, limits=limits),
        TakeMemory(num_bytes=2**20, limits=limits),
        MemoryLimit(limits=limits),
        MemoryLimit(),
    )
    assert isinstance(too_much, JobRaised)
    assert isinstance(too_much.error, MemoryError)
    assert enough.result == 2**20
    assert limit.result == 2**30
    assert unlimited.result == resource.getrlimit(resource.RLIMIT_DATA)[0]


def test_the_garbage_collector_looks_at_what_jobs_make_and_not_at_modules():
    (done,) = outcomes(Collector())
    is_enabled, num_frozen = done.result
    assert is_enabled and num_frozen > 10_000


def test_a_worker_ends_with_its_pool_and_without_an_error():
    with WorkerPool(num_workers=1) as pool:
        pool.submit(Number(value=1))
        pool.next_outcome()
        (worker,) = pool._workers
    assert worker.process.returncode == 0


def test_a_death_and_a_job_that_cannot_be_read_cost_themselves_alone():
    died, raised, done = outcomes(KillItself(), Unpicklable(), Number(value=3))
    assert died.how == "was killed by SIGKILL"
    assert isinstance(raised.error, ImportError)
    assert done.result == 3


def test_a_job_whose_process_died_is_tried_once_more_when_the_others_are_done(tmp_path):
    once, always = KillItselfOnce(mark=tmp_path / "mark"), KillItself()
    first, *retried = outcomes(once, always, Number(value=1), retry_deaths=True)
    assert first.result == 1
    assert sorted(retried, key=lambda outcome: isinstance(outcome, JobDone)) == [
        JobDied(job=always, how="was killed by SIGKILL"),
        JobDone(job=once, result="alive"),
    ]


def test_jobs_that_are_submitted_between_two_outcomes_are_done_too():
    with WorkerPool(num_workers=1) as pool:
        pool.submit(Number(value=3))
        found = []
        for outcome in pool.outcomes():
            found.append(outcome.result)
            if outcome.result:
                pool.submit(Number(value=outcome.result - 1))
    assert found == [3, 2, 1, 0]


def test_an_error_names_where_in_the_worker_it_was_raised():
    (raised,) = outcomes(Unpicklable())
    assert "_refuse" in str(raised.error.__cause__)
