"""The commands cache-build, cache-info and cache-verify."""
