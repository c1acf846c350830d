"""What an append is asked for, and the videos that it would add."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cache_builder.errors import ConfigError, store_failed
from cache_builder.folder_scan import scanned_files
from cache_builder.growing.agreement import recorded_configs, require_same_cameras, require_same_settings
from cache_builder.growing.append_columns import TablesGiven
from cache_builder.growing.comparing import compared_or_refused
from cache_builder.growing.forgetting import ids_to_forget
from cache_builder.growing.live_cache import read_live_cache
from cache_builder.jobs import newest_version
from cache_builder.settings import BuildConfig, BuildSettings, RunOptions, resolve
from cache_builder.sources import SourceContents
from cache_builder.stages import Workspace
from frame_store.errors import ObjectStoreError
from frame_store.not_a_cache import is_cache
from frame_store.remote import ObjectClient, RemoteUrl


@dataclass(frozen=True, kw_only=True)
class AppendRequest:
    """What an append is asked for, beside its sources."""

    given: BuildSettings = field(default_factory=BuildSettings)
    """The settings that were given: each must be that of the cache."""
    forget: Sequence[str] = ()
    """Paths of live videos that the same version forgets; the sources may have them again."""
    rehash: bool = False
    """Read and hash the files of all videos that the cache has."""
    tables: TablesGiven = field(default_factory=TablesGiven)


def resolve_for(
    settings: BuildSettings, output: Path | RemoteUrl, *, append: bool
) -> tuple[BuildConfig, RunOptions]:
    """`resolve`. Settings for an append may contradict the defaults, and go with the cache that is there.

    Raises:
        ConfigError: settings that contradict each other; or the store refuses the credentials.
        MachineError: the object store of the cache cannot be reached.
    """
    try:
        return resolve(settings)
    except ConfigError:
        if not append or not _is_cache(output):
            raise
        return resolve(settings.of_run())


def _is_cache(output: Path | RemoteUrl) -> bool:
    try:
        return (
            is_cache(output) if isinstance(output, Path) else newest_version(ObjectClient(output)) is not None
        )
    except ObjectStoreError as error:
        raise store_failed(error) from None


@dataclass(frozen=True, kw_only=True, eq=False)
class NewVideos:
    """The videos that an append would add."""

    contents: SourceContents
    configs: list[BuildConfig]
    """Of each camera."""


def new_videos(contents: SourceContents, workspace: Workspace, request: AppendRequest) -> NewVideos | None:
    """What an append would decode, as far as names, sizes and times tell; None where no cache is there.

    Raises:
        OutputError: as an append.
    """
    if not is_cache(workspace.output):
        return None
    cache = read_live_cache(workspace.output)
    require_same_cameras(cache, contents)
    require_same_settings(cache, request.given, contents)
    forget = set(ids_to_forget(cache, request.forget))
    compared = compared_or_refused(
        cache,
        contents,
        forget=forget,
        scanned=scanned_files(workspace.scan_cache),
        rehash=request.rehash,
    )
    return NewVideos(
        contents=contents.of_names([*compared.new, *compared.changed]), configs=recorded_configs(cache)
    )
