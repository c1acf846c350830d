"""Requests without windows, for tests of what carries requests out."""

import numpy as np

from loader.windows import BatchRequest


def request_of(frame_ids):
    """A request of the frames (B,), or of windows (B, T) that begin with their anchors, of a store that is no view."""
    ids = np.asarray(frame_ids, np.int64)
    anchors = ids[:, 0] if ids.ndim == 2 else ids
    return BatchRequest(frame_ids=anchors, anchor_cache_ids=anchors, cache_ids=ids)
