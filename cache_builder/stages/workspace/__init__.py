"""The places of a build: its output, a folder or a URL, and the unfinished work beside it or elsewhere."""

from cache_builder.stages.workspace.choice import make_workspace, store_errors_as_ours
from cache_builder.stages.workspace.local import REMOVED_NAME, Workspace
from cache_builder.stages.workspace.own_files import local_path, resolved
from cache_builder.stages.workspace.remote import RemoteWorkspace
from cache_builder.stages.workspace.scratch_objects import ScratchObjects

__all__ = [
    "REMOVED_NAME",
    "RemoteWorkspace",
    "ScratchObjects",
    "Workspace",
    "local_path",
    "make_workspace",
    "resolved",
    "store_errors_as_ours",
]
