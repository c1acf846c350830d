"""LeRobot v3 data sets: episodes as stretches of video files, cameras, columns. Their metadata is not trusted."""

from cache_builder.sources.lerobot.look import is_lerobot, look_into_lerobot

__all__ = ["is_lerobot", "look_into_lerobot"]
