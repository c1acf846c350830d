"""Every loader refuses an argument of another type by its name; NumPy's integers count as integers."""

import numpy as np
import pytest

from loader import FrameBatchSampler, FrameLoader, make_dataloader
from loader.errors import SamplingError
from loader.sampling.spec import SamplingSpec
from loader.windows import WindowSpec, window_spec
from tests.support.caches.array_store import ArrayStore

SHARDS = {"sampling": "shards", "batch_size": 4, "shards_per_batch": 2, "frames_per_visit": 2}
NUMBERS = {
    "batch_size": {},
    "seed": {},
    "rank": {"world_size": 2},
    "world_size": {},
    "shards_per_batch": SHARDS,
    "frames_per_visit": SHARDS,
    "shards_per_block": {"sampling": "block"},
    "clip_frames": {},
    "clip_stride": {"clip_frames": 2},
}
OF_THREADS = ("num_threads", "read_ahead", "lookahead", "lookahead_bytes")


@pytest.mark.parametrize("value", [0.5, 2.0, "2", True, np.float64(1), np.True_, [1]])
@pytest.mark.parametrize("name", [*NUMBERS, *OF_THREADS])
def test_a_number_of_another_type_is_refused_by_name(name, value):
    options = NUMBERS.get(name, {}) | {name: value}
    makers = [FrameLoader] if name in OF_THREADS else [FrameLoader, FrameBatchSampler]
    for make in makers:
        with pytest.raises(SamplingError, match=f"^{name} must be a whole number, found "):
            make(ArrayStore([4, 4]), **options)


def test_numbers_of_epochs_batches_and_workers_are_too():
    store = ArrayStore([4, 4])
    sampler = FrameBatchSampler(store, batch_size=2)
    with pytest.raises(SamplingError, match="epoch must be a whole number, found 1"):
        sampler.set_epoch(1.0)
    with pytest.raises(SamplingError, match="batches_received must be a whole number, found 1"):
        sampler.state_dict(batches_received=1.0)
    with pytest.raises(SamplingError, match="num_workers must be a whole number, found True"):
        make_dataloader(store, num_workers=True)


@pytest.mark.parametrize(("name", "options"), [("frames_with_replacement", SHARDS), ("pin_memory", {})])
@pytest.mark.parametrize("value", [1, "no", 0.0])
def test_a_flag_is_true_or_false(name, options, value):
    with pytest.raises(SamplingError, match=f"^{name} must be True or False, found "):
        FrameLoader(ArrayStore([4, 4]), **options, **{name: value})


def test_numpys_integers_are_as_good_and_leave_no_trace():
    store = ArrayStore([4, 4])
    plain = {"rank": 1, "world_size": 2, "seed": 3, "num_threads": 2, "read_ahead": 1}
    plain |= {"batch_size": 4, "shards_per_batch": 2, "frames_per_visit": 2}
    loaders = [
        FrameLoader(store, sampling="shards", **{name: kind(value) for name, value in plain.items()})
        for kind in (int, np.int64, np.uint8)
    ]
    for loader in loaders:
        loader.set_epoch(np.int32(1))
    first, *others = [[batch.frame_ids.tolist() for batch in loader] for loader in loaders]
    assert first and others == [first, first]
    for loader in loaders:
        state = loader.state_dict()
        assert state == loaders[0].state_dict()
        assert {type(state[name]) for name in ("seed", "epoch", "position")} == {int}
        assert type(state["sampling"]["frames_per_visit"]) is int


def test_a_spec_keeps_plain_integers():
    spec = window_spec(clip_frames=np.int64(2), clip_stride=np.uint8(3), edges="pad")
    assert {type(offset) for offset in spec.frame_offsets} == {int}
    assert spec == WindowSpec(frame_offsets=np.array([0, 3]))
    visits = SamplingSpec(sampling="shards", frames_per_visit=np.int64(2))
    assert type(visits.frames_per_visit) is int
