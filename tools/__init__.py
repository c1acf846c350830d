"""Command-line tools around the frame cache, shipped as `frame_cache_tools`."""
