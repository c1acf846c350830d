"""Makes damaged files of a cache again from the videos."""

from cache_builder.repair.repair import repair_cache

__all__ = ["repair_cache"]
