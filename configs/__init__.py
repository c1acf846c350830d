"""Presets for `cache-build --config NAME`; installed as `frame_cache_presets`, found by `cache_builder.settings.presets`."""
