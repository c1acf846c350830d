"""Videos of object stores and web servers: downloaded into a folder of bounded size while a job reads them."""

from cache_builder.staging.stage import DEFAULT_STAGE_BYTES, Stage, StageSettings
from cache_builder.staging.staged_object import FileStatus, StagedObject
from cache_builder.staging.video_job import StagedVideoJob

__all__ = [
    "DEFAULT_STAGE_BYTES",
    "FileStatus",
    "Stage",
    "StageSettings",
    "StagedObject",
    "StagedVideoJob",
]
