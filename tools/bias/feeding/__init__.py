"""What a sampler costs where the cache lies in an object store: requests, bytes, dollars and frames/s."""

from frame_cache_tools.bias.feeding.counting import (
    Feed,
    Requests,
    StoredFrames,
    StorePrices,
    StoreSpeed,
    count_feed,
    count_ranges,
)
from frame_cache_tools.bias.feeding.store_plan import (
    PlannedFeed,
    StoreOptions,
    batches_of_host,
    feed_builtins,
    feeds_text,
    options_of_flags,
    planned_feeds,
    stored_frames,
)

__all__ = [
    "Feed",
    "PlannedFeed",
    "Requests",
    "StoreOptions",
    "StorePrices",
    "StoreSpeed",
    "StoredFrames",
    "batches_of_host",
    "count_feed",
    "count_ranges",
    "feed_builtins",
    "feeds_text",
    "options_of_flags",
    "planned_feeds",
    "stored_frames",
]
