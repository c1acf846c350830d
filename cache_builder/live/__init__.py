"""Stores that decode frames of videos when they are asked for."""

from cache_builder.live.open import open_videos
from cache_builder.live.store import LiveStore

__all__ = ["LiveStore", "open_videos"]
