"""The commands cache-compact and cache-fetch, which make or change whole caches."""

from typing import TYPE_CHECKING

from frame_store.shared import lazy_names

if TYPE_CHECKING:
    from cache_builder.cli.caches.compact_command import cache_compact
    from cache_builder.cli.caches.fetch_command import cache_fetch

__all__ = ["cache_compact", "cache_fetch"]

__getattr__ = lazy_names(
    __name__,
    {
        "cache_builder.cli.caches.compact_command": ["cache_compact"],
        "cache_builder.cli.caches.fetch_command": ["cache_fetch"],
    },
)
