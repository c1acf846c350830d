"""Presets for `cache-build --config NAME`, installed as `frame_cache_presets` (see `cache_builder.settings.presets`)."""
