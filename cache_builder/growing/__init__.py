"""A cache that grows: how sources differ from it, what an append adds, and the manifest that names it."""

from cache_builder.growing.agreement import (
    recorded_configs,
    require_same_cameras,
    require_same_settings,
    require_same_size,
    require_same_versions,
)
from cache_builder.growing.append_columns import (
    ColumnsPlan,
    TablesGiven,
    WrittenColumns,
    columns_of,
    plan_columns,
    write_append_columns,
)
from cache_builder.growing.comparing import (
    Compared,
    changed_error,
    compared_or_refused,
    same_as_recorded,
    unchanged_forgotten,
)
from cache_builder.growing.forgetting import ForgetReport, forget_text, forget_videos, ids_to_forget
from cache_builder.growing.grown_files import differing_episodes
from cache_builder.growing.live_cache import LiveCache, read_live_cache, require_cache
from cache_builder.growing.places import refuse_at_url
from cache_builder.growing.publishing import (
    Growth,
    found_whole,
    publish_growth,
    require_writable,
    tree_of_new,
)
from cache_builder.growing.request import AppendRequest, NewVideos, new_videos, resolve_for

__all__ = [
    "AppendRequest",
    "ColumnsPlan",
    "Compared",
    "ForgetReport",
    "Growth",
    "LiveCache",
    "NewVideos",
    "TablesGiven",
    "WrittenColumns",
    "changed_error",
    "columns_of",
    "compared_or_refused",
    "differing_episodes",
    "forget_text",
    "forget_videos",
    "found_whole",
    "ids_to_forget",
    "new_videos",
    "plan_columns",
    "publish_growth",
    "read_live_cache",
    "recorded_configs",
    "refuse_at_url",
    "require_cache",
    "require_same_cameras",
    "require_same_settings",
    "require_same_size",
    "require_same_versions",
    "require_writable",
    "resolve_for",
    "same_as_recorded",
    "tree_of_new",
    "unchanged_forgotten",
    "write_append_columns",
]
