"""What runs the jobs of a build: a pool of worker processes, or a cluster."""

from cache_builder.executors.choice import LOCAL, RayChoice, read_executor
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
from cache_builder.executors.ray_executor import RayExecutor
from cache_builder.executors.ray_worker import NodeCheck

__all__ = [
    "LOCAL",
    "Executor",
    "JobDied",
    "JobDone",
    "JobLimits",
    "JobLost",
    "JobRaised",
    "NodeCheck",
    "Outcome",
    "PreparedJob",
    "RayChoice",
    "RayExecutor",
    "RunnableJob",
    "WorkerPool",
    "needs_preparing",
    "prepared",
    "read_executor",
]
