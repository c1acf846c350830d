"""Turns folders of videos into frame stores. Importing it costs the standard library, PyAV comes at first use."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cache_builder.build import build_cache
    from cache_builder.config import BuildConfig, RunOptions
    from cache_builder.video.live_store import LiveStore, open_videos

__all__ = ["BuildConfig", "LiveStore", "RunOptions", "build_cache", "open_videos"]

_LAZY = {
    "BuildConfig": "cache_builder.config",
    "LiveStore": "cache_builder.video.live_store",
    "RunOptions": "cache_builder.config",
    "build_cache": "cache_builder.build",
    "open_videos": "cache_builder.video.live_store",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - a module attribute can be anything
    """Import what is asked for (and PyAV behind it) at first use."""
    if name in _LAZY:
        import importlib

        value = getattr(importlib.import_module(_LAZY[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
