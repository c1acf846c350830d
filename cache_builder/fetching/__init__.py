"""Copies a cache from an object store to this machine."""

from cache_builder.fetching.fetch import DEFAULT_JOBS, fetch_cache
from cache_builder.fetching.report import FetchReport

__all__ = ["DEFAULT_JOBS", "FetchReport", "fetch_cache"]
