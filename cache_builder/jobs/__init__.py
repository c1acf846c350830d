"""The work of one worker process: decode a unit of a video, write a shard."""

from cache_builder.jobs.gather_places import (
    PLAN_DIGEST_NAME,
    PLAN_FILES,
    GatherPlaces,
    PlanNames,
    ShardObjects,
    download,
)
from cache_builder.jobs.objects import named_folders, newest_version, put_once
from cache_builder.jobs.put_shards import rows_of_shards
from cache_builder.jobs.sample_job import SampleJob, UnitSample
from cache_builder.jobs.shard_job import ShardJob
from cache_builder.jobs.shard_receipts import finished_shard, shard_rows_path
from cache_builder.jobs.spill import TEMPORARY, ObjectSpill, SpillPlace, UnitSpill, spilled_unit
from cache_builder.jobs.spilled_frames import SpillDamagedError
from cache_builder.jobs.unit_job import UnitJob, empty_receipt

__all__ = [
    "PLAN_DIGEST_NAME",
    "PLAN_FILES",
    "TEMPORARY",
    "GatherPlaces",
    "ObjectSpill",
    "PlanNames",
    "SampleJob",
    "ShardJob",
    "ShardObjects",
    "SpillDamagedError",
    "SpillPlace",
    "UnitJob",
    "UnitSample",
    "UnitSpill",
    "download",
    "empty_receipt",
    "finished_shard",
    "named_folders",
    "newest_version",
    "put_once",
    "rows_of_shards",
    "shard_rows_path",
    "spilled_unit",
]
