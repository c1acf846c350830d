"""A worker pool without processes: quick, and what a test replaces in this process is replaced in the jobs."""

from collections import deque

from cache_builder.executors import JobDone, JobRaised, WorkerPool, prepared


class InProcessPool(WorkerPool):
    """Runs each job when its outcome is asked for, without limits; results and errors are handed on as they are."""

    def __init__(self):
        super().__init__(num_workers=1)
        self._jobs = deque()

    def submit(self, job):
        self._jobs.append(job)

    @property
    def num_unfinished(self):
        return len(self._jobs)

    def next_outcome(self):
        job = self._jobs.popleft()
        try:
            with prepared(job) as ready:
                return JobDone(job=job, result=ready.run())
        except Exception as error:  # noqa: BLE001 - as a worker does
            return JobRaised(job=job, error=error)
