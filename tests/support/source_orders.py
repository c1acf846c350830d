"""Made-up rows of stores and their source order, for Hypothesis."""

import numpy as np
from hypothesis import strategies as st

from frame_store.names import INDEX_DTYPE
from frame_store.source_order import source_order_of_rows


@st.composite
def rows_of_stores(draw, *, least_stored=0):
    """Rows (video_id, frame_in_video) by frame id, and the number of decoded frames of each video."""
    num_decoded = draw(st.lists(st.integers(0, 40), max_size=6))
    kept = []
    for video_id, count in enumerate(num_decoded):
        way = draw(st.sampled_from(["all", "stride", "some", "none"]))
        stride = draw(st.integers(1, 9))
        frames = {
            "all": range(count),
            "stride": range(0, count, stride),
            "some": sorted(draw(st.sets(st.integers(0, count - 1)))) if count else (),
            "none": (),
        }[way]
        kept += [(video_id, frame) for frame in frames]
    if len(kept) < least_stored:
        num_decoded.append(least_stored)
        kept += [(len(num_decoded) - 1, frame) for frame in range(least_stored)]
    rows = draw(st.permutations(kept)) if draw(st.booleans()) else kept
    return rows, num_decoded


def order_of(rows, num_decoded):
    table = np.array(rows, np.uint32).reshape(-1, 2)
    return source_order_of_rows(table[:, 0], table[:, 1], num_decoded=num_decoded)


def index_of(rows):
    """Rows of `INDEX_DTYPE`; every seventh frame of a video has no pts."""
    index = np.zeros(len(rows), INDEX_DTYPE)
    index["video_id"], index["frame_in_video"] = np.array(rows, np.uint32).reshape(-1, 2).T
    index["pts_seconds"] = times_of(index["video_id"], index["frame_in_video"])
    return index


def times_of(video_ids, frames):
    return np.where(frames % 7 == 6, np.nan, video_ids + frames / 25)
