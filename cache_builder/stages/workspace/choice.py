"""The workspace of an output that is a folder or a URL, and errors of its store and disk as the builder's own."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cache_builder.errors import ConfigError, MachineError, store_failed
from cache_builder.setting_names import NamesSettings
from cache_builder.stages.workspace.local import Workspace
from cache_builder.stages.workspace.own_files import resolved
from cache_builder.stages.workspace.remote import RemoteWorkspace
from cache_builder.stages.workspace.scratch_objects import ScratchObjects
from frame_store.errors import ObjectMissingError, ObjectStoreError
from frame_store.remote import RemoteUrl


def make_workspace(output: Path | RemoteUrl, scratch: Path | RemoteUrl | None = None) -> Workspace:
    """The workspace of an output. `scratch` is where unfinished work goes; None: beside the output.

    Raises:
        OutputError: the output can be no cache, or a URL cannot be written.
        ConfigError: links form a loop, or may not be followed.
        MachineError: the disk fails.
    """
    if isinstance(scratch, Path):
        scratch = resolved(scratch)
    if isinstance(output, RemoteUrl):
        try:
            return RemoteWorkspace(output, scratch=scratch)
        except OSError as error:
            raise MachineError(f"{error.filename}: {error.strerror or error}") from error
    if isinstance(scratch, RemoteUrl):
        if not scratch.is_writable:
            raise ConfigError(
                f"{{--scratch}} {scratch.text}: web servers are read-only; give a URL of s3, gs or az, or a folder"
            )
        return Workspace(resolved(output), scratch=ScratchObjects(scratch))
    return Workspace(resolved(output), scratch=scratch)


@contextmanager
def store_errors_as_ours(workspace: Workspace) -> Iterator[None]:
    """Raise a failure of the disk or of an object store as a MachineError, since the same call resumes.

    Messages about an output in a store name its URL, and not the copy of its tables.
    """
    try:
        try:
            yield
        except OSError as error:
            raise MachineError(
                f"{error.filename or workspace.output}: {error.strerror or error}; the same command resumes"
            ) from error
        except ObjectStoreError as error:
            raise store_failed(error) from error
    except NamesSettings as error:
        if isinstance(workspace, RemoteWorkspace):
            if isinstance(error, MachineError) and _may_be_overtaken(error) and workspace.was_overtaken():
                raise workspace.published_by_another() from None
            if error.args:
                error.args = (workspace.named(str(error.args[0])), *error.args[1:])
        raise


def _may_be_overtaken(error: MachineError) -> bool:
    """Whether a process that has published, and removed the common work, may be the cause: not of a dead store."""
    cause = error.__cause__
    return not isinstance(cause, ObjectStoreError) or isinstance(cause, ObjectMissingError)
