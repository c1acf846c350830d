"""Shards of a plan written from decoded units in worker processes."""

import hashlib
import shutil
from collections.abc import Callable, Iterable
from typing import Protocol, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt

from cache_builder.errors import MachineError
from cache_builder.executors import Executor, JobDied, JobDone, RunnableJob
from cache_builder.jobs import (
    PLAN_DIGEST_NAME,
    PLAN_FILES,
    GatherPlaces,
    PlanNames,
    ShardJob,
    SpillDamagedError,
    spilled_unit,
)
from cache_builder.plan import ShardPlan
from cache_builder.settings import BuildConfig
from frame_store.containers import ShardReceipt
from frame_store.errors import ObjectStoreError
from frame_store.files import write_file
from frame_store.names import Container, shard_name

ShardPool = Executor[ShardJob, ShardReceipt]


def write_plan(
    places: GatherPlaces,
    plan: ShardPlan,
    *,
    folder: str,
    container: Container,
    sources: npt.NDArray[np.void],
    names: PlanNames,
) -> GatherPlaces:
    """Write what the shard jobs read, and remove all that an interrupted build left except shards of the same plan.

    `folder` is the name of the generation. It belongs to the plan: shards of another one are removed.

    The plan depends on which frames were decoded. Two runs can differ in that only if a worker was killed.

    Returns the places for the jobs of this plan. Shards that are objects are told apart by their records.

    Raises:
        OSError: disk full or failing.
        ObjectStoreError: a store cannot be reached.
    """
    digest = hashlib.sha256()
    for array in (sources, plan.source_of_frame, plan.shard_sizes):
        digest.update(array.tobytes())
    digest.update(msgspec.json.encode([folder, names]))
    digest_path = places.plan / PLAN_DIGEST_NAME
    if not digest_path.exists() or digest_path.read_text() != digest.hexdigest():
        for stale in (places.receipts, places.cache):
            if stale.exists():
                shutil.rmtree(stale)
            stale.mkdir()
    generation = places.cache / folder
    generation.mkdir(exist_ok=True)
    planned = {generation / shard_name(container, shard) for shard in range(len(plan.shard_sizes))}
    for path in list(places.cache.rglob("*")):
        if path.is_file() and path not in planned:
            path.unlink()  # half written, or a file that is written after the shards
    np.save(places.plan / "sources.npy", sources, allow_pickle=False)
    np.save(places.plan / "source_of_frame.npy", plan.source_of_frame, allow_pickle=False)
    write_file(places.plan / "names.json", msgspec.json.encode(names))
    write_file(digest_path, digest.hexdigest().encode())
    if places.objects is None:
        return places
    if places.objects.plans is not None:
        for name in PLAN_FILES:
            places.objects.plans.put_file(f"{digest.hexdigest()}/{name}", places.plan / name)
    return msgspec.structs.replace(
        places, objects=msgspec.structs.replace(places.objects, plan_digest=digest.hexdigest())
    )


def write_shards(
    pool: ShardPool,
    places: GatherPlaces,
    *,
    folder: str,
    config: BuildConfig,
    plan: ShardPlan,
    shard_ids: Iterable[int],
    progress: Callable[[int], None],
) -> dict[int, ShardReceipt]:
    """Write shards of the plan into the generation `folder` of `places.cache`; returns a receipt for each.

    Raises:
        MachineError: disk full, I/O error, a store that cannot be reached, a worker died, or spilled frames changed.
    """
    starts = plan.shard_starts
    for shard_id in shard_ids:
        pool.submit(
            ShardJob(
                places=places,
                folder=places.cache / folder,
                config=config,
                shard_id=shard_id,
                first_frame_id=int(starts[shard_id]),
                end_frame_id=int(starts[shard_id + 1]),
            )
        )
    try:
        return collect_shards(pool, container=config.format, progress=progress)
    except SpillDamagedError as error:
        unit_name = str(error)
        spilled_unit(places.spill, unit_name).remove()
        raise MachineError(
            f"spilled frames {unit_name} changed after they were written; the same command decodes them again"
        ) from error


class _WritesShard(RunnableJob, Protocol):
    """A job that writes a shard."""

    @property
    def shard_id(self) -> int:
        """Of its generation."""
        ...


_AnyJob = TypeVar("_AnyJob", bound=_WritesShard)


def collect_shards(
    pool: Executor[_AnyJob, ShardReceipt], *, container: Container, progress: Callable[[int], None]
) -> dict[int, ShardReceipt]:
    """The receipts of the shards whose jobs the pool has. `progress` gets the frames of each.

    Raises:
        MachineError: disk full, I/O error, a store that cannot be reached, or a worker died.
        What else a job raises.
    """
    receipts: dict[int, ShardReceipt] = {}
    for outcome in pool.outcomes():
        name = shard_name(container, outcome.job.shard_id)
        if isinstance(outcome, JobDone):
            receipts[outcome.job.shard_id] = outcome.result
            progress(outcome.result.num_frames)
        elif isinstance(outcome, JobDied):
            raise MachineError(f"{name}: the process writing it {outcome.how}; the same command resumes")
        elif isinstance(outcome.error, OSError | MemoryError | ObjectStoreError):
            raise MachineError(
                f"writing {name}: {outcome.error}; the same command resumes"
            ) from outcome.error
        else:
            raise outcome.error
    return receipts
