"""Turns folders of videos into frame stores. Importing it costs the standard library, PyAV comes at first use."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cache_builder.api import build_cache
    from cache_builder.build.report import BuildReport
    from cache_builder.live.open import open_videos
    from cache_builder.live.store import LiveStore
    from cache_builder.progress import Progress

__all__ = ["BuildReport", "LiveStore", "Progress", "build_cache", "open_videos"]

_LAZY = {
    "BuildReport": "cache_builder.build.report",
    "LiveStore": "cache_builder.live.store",
    "Progress": "cache_builder.progress",
    "build_cache": "cache_builder.api",
    "open_videos": "cache_builder.live.open",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - a module attribute can be anything
    """Import what is asked for (and PyAV behind it) at first use."""
    if name in _LAZY:
        import importlib

        value = getattr(importlib.import_module(_LAZY[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
