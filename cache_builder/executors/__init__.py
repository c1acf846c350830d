"""What runs the jobs of a build: a pool of worker processes, or a cluster."""

from cache_builder.executors.local_pool import WorkerPool
from cache_builder.executors.protocol import (
    Executor,
    JobDied,
    JobDone,
    JobLimits,
    JobLost,
    JobRaised,
    Outcome,
    PreparedJob,
    RunnableJob,
    needs_preparing,
    prepared,
)

__all__ = [
    "Executor",
    "JobDied",
    "JobDone",
    "JobLimits",
    "JobLost",
    "JobRaised",
    "Outcome",
    "PreparedJob",
    "RunnableJob",
    "WorkerPool",
    "needs_preparing",
    "prepared",
]
