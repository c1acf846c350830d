"""Stores that decode frames of videos on demand."""

from cache_builder.live.open import open_videos
from cache_builder.live.store import LiveStore

__all__ = ["LiveStore", "open_videos"]
