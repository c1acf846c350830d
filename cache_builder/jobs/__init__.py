"""The work of one worker process: decode a unit of a video, write a shard."""

from cache_builder.jobs.sample_job import SampleJob, UnitSample
from cache_builder.jobs.shard_job import GatherPlaces, PlanNames, ShardJob, SpillDamagedError
from cache_builder.jobs.shard_receipts import finished_shard, shard_rows_path
from cache_builder.jobs.spill import UnitSpill
from cache_builder.jobs.unit_job import UnitJob, empty_receipt

__all__ = [
    "GatherPlaces",
    "PlanNames",
    "SampleJob",
    "ShardJob",
    "SpillDamagedError",
    "UnitJob",
    "UnitSample",
    "UnitSpill",
    "empty_receipt",
    "finished_shard",
    "shard_rows_path",
]
