"""Windows of any offsets over any store, against a loop over frames."""

import itertools
import math
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frame_store.views import base_of, cache_ids_of, select
from loader.errors import SamplingError
from loader.windows import Windows, WindowSpec, plan_windows
from tests.loader.windows.decoded_store import DecodedStore, expected_window, is_whole

OFFSETS = st.lists(st.integers(-5, 5), min_size=1, max_size=4)
SECONDS = st.lists(st.integers(-12, 12).map(lambda eighths: eighths / 8), min_size=1, max_size=4)


@st.composite
def decoded_stores(draw):
    """Videos of regular and irregular times, some frames without pts, all, every k-th or any frames stored."""
    chance = random.Random(draw(st.integers(0, 2**32 - 1)))
    pts, stored = [], []
    for kind in draw(st.lists(st.sampled_from(["regular", "steps", "any"]), min_size=1, max_size=4)):
        num_decoded = chance.randint(1, 9)
        steps = [2] * num_decoded if kind == "regular" else chance.choices(range(1, 6), k=num_decoded)
        times = [time / 8 for time in itertools.accumulate(steps)]
        if kind == "any":  # out of order, and one time twice or missing
            times[-1] = chance.choice([times[0], math.nan])
            chance.shuffle(times)
        pts.append(times)
        frames = list(range(0, num_decoded, chance.randint(1, 4)))
        if chance.random() < 0.5:
            frames = sorted(chance.sample(range(num_decoded), chance.randint(1, num_decoded)))
        stored.append(frames)
    num_stored = sum(map(len, stored))
    order = chance.sample(range(num_stored), num_stored) if draw(st.booleans()) else None
    ends = sorted(chance.choices(range(num_stored + 1), k=chance.randint(0, 3)))
    return DecodedStore(pts, stored, order=order, shard_sizes=np.diff([0, *ends, num_stored]))


@st.composite
def specs(draw, edges):
    given_offsets = {}
    if draw(st.booleans()):
        given_offsets["frame_offsets"] = draw(OFFSETS)
    elif draw(st.booleans()):
        given_offsets["frame_offsets_seconds"] = draw(SECONDS)
    if draw(st.booleans()) or not given_offsets:
        given_offsets["column_offsets"] = {"action": draw(OFFSETS)}
    if draw(st.booleans()):
        given_offsets["column_offsets_seconds"] = {"state": draw(SECONDS)}
    tolerance = draw(st.sampled_from([None, 0.0, 0.125, 0.3]))
    return WindowSpec(**given_offsets, edges=edges, tolerance_seconds=tolerance)


def has_pts(store):
    return np.isfinite(store.source_order.source_pts).any()


def assert_shows(store, request, spec):
    """Every window of `request`, which is of frames of `store`, is that of the loop."""
    base = base_of(store)
    assert request.anchor_cache_ids.tolist() == cache_ids_of(store, request.frame_ids).tolist()
    for number, anchor in enumerate(request.anchor_cache_ids.tolist()):
        (ids, pads), columns = expected_window(base, anchor, spec)
        assert np.ravel(request.cache_ids[number]).tolist() == ids
        if spec.has_frame_windows:
            assert request.frame_is_pad[number].tolist() == pads
        assert request.column_rows.keys() == request.column_is_pad.keys() == columns.keys()
        for name, (rows, is_pad) in columns.items():
            assert request.column_rows[name][number].tolist() == rows
            assert request.column_is_pad[name][number].tolist() == is_pad
        row = base.rows_of([anchor])[0]
        order = base.source_order
        assert request.video_ids[number] == row["video_id"]
        assert request.anchor_rows[number] == order.first_row[row["video_id"]] + row["frame_in_video"]
    assert (request.cache_ids.ndim == 2) == spec.has_frame_windows
    assert (request.frame_is_pad is not None) == spec.has_frame_windows


@settings(max_examples=2000, deadline=None)
@given(st.data())
def test_windows_are_those_of_a_loop_over_frames(data):
    base = data.draw(decoded_stores())
    spec = data.draw(specs(data.draw(st.sampled_from(["pad", "whole"]))))
    if spec.uses_seconds and not has_pts(base):
        with pytest.raises(SamplingError, match="offsets in seconds need the times of frames"):
            Windows(base, spec, columns=["action", "state"])
        return
    store = base
    if data.draw(st.booleans()):
        num_chosen = data.draw(st.integers(1, len(base)))
        store = select(base, ids=random.Random(num_chosen).sample(range(len(base)), num_chosen))
    wanted = [
        frame_id
        for frame_id, anchor in enumerate(cache_ids_of(store, np.arange(len(store))).tolist())
        if spec.edges == "pad" or is_whole(base, anchor, spec)
    ]
    options = {
        name: getattr(spec, name)
        for name in (
            "frame_offsets",
            "frame_offsets_seconds",
            "column_offsets",
            "column_offsets_seconds",
            "edges",
            "tolerance_seconds",
        )
    }
    options |= {"batch_size": 3, "sampling": "sequential"}
    if not wanted:
        with pytest.raises(SamplingError, match="edges='whole': "):
            plan_windows("test", store, options, columns=["action", "state"])
        return
    epochs = plan_windows("test", store, options, columns=["action", "state"])
    requests = list(epochs.requests(0))
    assert [frame_id for request in requests for frame_id in request.frame_ids.tolist()] == wanted
    for request in requests:
        assert_shows(store, request, spec)
