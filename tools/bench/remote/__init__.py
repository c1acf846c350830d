"""The rows of `cache-bench --url`: a cache in an object store, beside a local copy and the limits of the store."""

from frame_cache_tools.bench.remote.cases import PreparedUrl, prepare_url

__all__ = ["PreparedUrl", "prepare_url"]
