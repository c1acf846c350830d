"""The command `cache-info`: what a cache states about itself."""

from cache_builder.cli.info.command import cache_info

__all__ = ["cache_info"]
