"""The stages that a build and a repair have in common: decode units and write shards in a locked workspace."""

from cache_builder.stages.committing import commit_manifest, commit_next
from cache_builder.stages.decode import DecodeResult, DecodeStage
from cache_builder.stages.identity import (
    json_differences,
    library_versions,
    list_changes,
    setting_differences,
    version_differences,
)
from cache_builder.stages.kept_reports import remove_reports, reports_of, write_report
from cache_builder.stages.node_check import NodeCheckJob, cluster_executor, make_node_check
from cache_builder.stages.node_places import NodeTokens
from cache_builder.stages.other_files import (
    write_files_of_index,
    write_index,
    write_other_files,
    write_videos,
)
from cache_builder.stages.shards import collect_shards, write_plan, write_shards
from cache_builder.stages.workspace import (
    REMOVED_NAME,
    RemoteWorkspace,
    ScratchObjects,
    Workspace,
    local_path,
    make_workspace,
    resolved,
    store_errors_as_ours,
)

__all__ = [
    "REMOVED_NAME",
    "DecodeResult",
    "DecodeStage",
    "NodeCheckJob",
    "NodeTokens",
    "RemoteWorkspace",
    "ScratchObjects",
    "Workspace",
    "cluster_executor",
    "collect_shards",
    "commit_manifest",
    "commit_next",
    "json_differences",
    "library_versions",
    "list_changes",
    "local_path",
    "make_node_check",
    "make_workspace",
    "remove_reports",
    "reports_of",
    "resolved",
    "setting_differences",
    "store_errors_as_ours",
    "version_differences",
    "write_files_of_index",
    "write_index",
    "write_other_files",
    "write_plan",
    "write_report",
    "write_shards",
    "write_videos",
]
