"""Presets for `cache-build --config NAME`, installed as `frame_cache_presets`."""
