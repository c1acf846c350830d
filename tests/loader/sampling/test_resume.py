"""A run goes on where it stopped, with any world size and batch size."""

import json
import random
from itertools import chain, islice

import pytest
import torch
from torch.utils.data import DataLoader

from loader import FrameBatchSampler, FrameDataset, FrameLoader, SamplingError, frame_batch_collate
from loader.sampling.plan import plan_store
from loader.sampling.resume import LoaderState, plan_epochs
from loader.windows import plan_windows
from tests.support.caches.array_store import ArrayStore

SIZES = [40, 7, 23, 0, 31]
ONCE_AN_EPOCH = [
    {"sampling": "permutation", "remainder": "uneven"},
    {"sampling": "sequential"},
    {"sampling": "block", "shards_per_block": 2, "remainder": "uneven"},
]


def ids_of(batches):
    return [batch.frame_ids.tolist() for batch in batches]


@pytest.mark.parametrize("options", ONCE_AN_EPOCH, ids=lambda options: options["sampling"])
def test_stopped_anywhere_and_resumed_by_others_an_epoch_is_every_frame_once(options):
    """200 random (stop, world size before, world size after, batch sizes)."""
    draw = random.Random(7)
    num_frames = sum(SIZES)
    for _ in range(200):
        before, after = draw.randint(1, 5), draw.randint(1, 5)
        batch_before, batch_after = draw.randint(1, 12), draw.randint(1, 12)
        epoch = draw.randrange(3)
        seen, states = [], []
        num_steps = draw.randrange(max(1, -(-num_frames // (before * batch_before)) - 1))
        for rank in range(before):
            where = {"batch_size": batch_before, "rank": rank, "world_size": before}
            cursor = plan_epochs("test", ArrayStore(SIZES), where | options, plan_store)
            plan = cursor.plan
            cursor.set_epoch(epoch)
            iteration = cursor.begin()
            at, first = iteration.began
            for step, ids in enumerate(islice(plan.batches(at), num_steps)):
                seen += ids.tolist()
                iteration.give(plan.slice_from(first).position_after(step))
            states.append(cursor.state())
        assert len({json.dumps(state.to_builtins()) for state in states}) == 1, "one state for every rank"
        for rank in range(after):
            where = {"batch_size": batch_after, "rank": rank, "world_size": after}
            cursor = plan_epochs("test", ArrayStore(SIZES), where | options, plan_store)
            plan = cursor.plan
            cursor.load(states[0])
            iteration = cursor.begin()
            at, first = iteration.began
            assert at == epoch
            seen += chain.from_iterable(ids.tolist() for ids in plan.batches(at, first_position=first))
        assert sorted(seen) == list(range(num_frames))


@pytest.mark.parametrize(
    "options",
    [
        *ONCE_AN_EPOCH,
        {"sampling": "permutation"},
        {"sampling": "iid"},
        {"sampling": "shards", "frames_per_visit": 2},
        {"clip_frames": 3},
        {"clip_frames": 3, "clip_stride": 2, "sampling": "iid"},
    ],
    ids=lambda options: options.get("sampling", "clips"),
)
@pytest.mark.parametrize("num_given", [0, 1, 5])
def test_the_next_batch_is_the_one_that_would_have_come(options, num_given):
    store = ArrayStore(SIZES)
    undisturbed = FrameLoader(store, batch_size=4, seed=3, **options)
    undisturbed.set_epoch(2)
    expected = ids_of(undisturbed) + ids_of(undisturbed)
    stopped = FrameLoader(store, batch_size=4, seed=3, **options)
    stopped.set_epoch(2)
    batches = iter(stopped)
    given = ids_of(islice(batches, num_given))
    state = json.loads(json.dumps(stopped.state_dict()))
    batches.close()
    resumed = FrameLoader(store, batch_size=4, seed=3, num_threads=1, **options)
    resumed.load_state_dict(state)
    assert given + ids_of(resumed) + ids_of(resumed) == expected


def test_the_position_counts_what_was_delivered_and_not_what_was_read_ahead():
    loader = FrameLoader(ArrayStore([100]), batch_size=8, read_ahead=6)
    batches = iter(loader)
    assert loader.state_dict()["position"] == 0
    for number in range(1, 4):
        next(batches)
        assert loader.state_dict()["position"] == 8 * number
    batches.close()
    assert loader.state_dict()["position"] == 24


@pytest.mark.parametrize("remainder", ["drop", "pad", "uneven"])
def test_after_the_last_batch_comes_the_next_epoch(remainder):
    loader = FrameLoader(ArrayStore([20]), batch_size=8, remainder=remainder)
    for batch in loader:
        last = batch
    assert len(last)
    state = loader.state_dict()
    assert (state["epoch"], state["position"]) == (1, 0)
    resumed = FrameLoader(ArrayStore([20]), batch_size=8, remainder=remainder)
    resumed.load_state_dict(state)
    assert ids_of(resumed) == ids_of(loader)


DROPPING = [
    {"sampling": "permutation"},
    {"sampling": "block", "shards_per_block": 2},
    {"clip_frames": 3},
]


@pytest.mark.parametrize("options", DROPPING, ids=["permutation", "block", "clips"])
def test_resumed_with_other_sizes_nothing_is_shown_twice_and_less_than_a_step_is_left_out(options):
    """200 random (stop, world size before, world size after, batch sizes), as the default cuts an epoch."""
    draw, num_over = random.Random(5), 0
    store = ArrayStore(SIZES, video_sizes=[30, 40, 31])
    for _ in range(200):
        before, after = draw.randint(1, 4), draw.randint(1, 4)

        def cursors(world_size, batch_size):
            where = {"batch_size": batch_size, "world_size": world_size, **options}
            of_ranks = [plan_windows("test", store, {"rank": rank, **where}) for rank in range(world_size)]
            return [(epochs.plan, epochs.cursor) for epochs in of_ranks]

        seen = []
        stopped = cursors(before, draw.randint(1, 12))
        num_steps = draw.randint(0, len(stopped[0][0]) - 1)
        for plan, cursor in stopped:
            iteration = cursor.begin()
            epoch, first = iteration.began
            for step, ids in enumerate(islice(plan.batches(epoch), num_steps)):
                seen += map(str, ids.tolist())
                iteration.give(plan.slice_from(first).position_after(step))
        state = stopped[0][1].state()
        resumed = cursors(after, draw.randint(1, 24))
        num_left = resumed[0][0].num_positions - state.position
        per_step = after * resumed[0][0].batch_size
        num_given = []
        for plan, cursor in resumed:
            cursor.load(state)
            with cursor.iteration() as iteration:
                assert iteration.began == (0, state.position)
                batches = list(plan.batches(0, first_position=state.position))
            assert cursor.next_place == (1, 0)
            num_given.append(len(batches))
            seen += [str(item) for ids in batches for item in ids.tolist()]
        assert set(num_given) == {num_left // per_step}
        num_over += num_left < per_step
        assert len(set(seen)) == len(seen) == state.position + num_left // per_step * per_step
    assert num_over > 2


@pytest.mark.parametrize("num_workers", [0, 2])
def test_with_torchs_data_loader_the_training_loop_says_how_many_it_got(num_workers):
    store = ArrayStore(SIZES)

    def batches_of(sampler):
        return DataLoader(
            FrameDataset(store),
            batch_sampler=sampler,
            collate_fn=frame_batch_collate,
            num_workers=num_workers,
        )

    expected = ids_of(FrameLoader(store, batch_size=4))
    sampler = FrameBatchSampler(store, batch_size=4)
    got = ids_of(islice(iter(batches_of(sampler)), 3))
    state = sampler.state_dict(batches_received=3)
    assert state["position"] == 12
    resumed = FrameBatchSampler(store, batch_size=4)
    resumed.load_state_dict(state)
    assert got + ids_of(batches_of(resumed)) == expected
    again = resumed.state_dict(batches_received=len(expected) - 3)
    assert (again["epoch"], again["position"]) == (1, 0)
    with pytest.raises(SamplingError, match="99 batches received, but the iteration had 22 to give"):
        resumed.state_dict(batches_received=99)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"store": ArrayStore([41, 7])}, r"fingerprint: .* in the state, .* here"),
        ({"seed": 1}, "seed: 0 in the state, 1 here"),
        ({"sampling": "iid"}, "sampling: permutation in the state, iid here"),
        (
            {"sampling": "block", "shards_per_block": 3},
            "shards_per_block: None in the state, 3 here",
        ),
        ({"clip_frames": 2, "clip_stride": 2}, r"frame_offsets: None in the state, \[0, 2\] here"),
        ({"frame_offsets": (-1, 0), "edges": "whole"}, "edges: None in the state, whole here"),
    ],
)
def test_a_state_of_another_run_is_refused_and_both_sides_are_named(other, message):
    state = FrameLoader(ArrayStore(SIZES), batch_size=4).state_dict()
    loader = FrameLoader(**{"store": ArrayStore(SIZES), "batch_size": 4, **other})
    with pytest.raises(SamplingError, match=f"(?s)of another run:.*{message}"):
        loader.load_state_dict(state)
    assert ids_of(loader) == ids_of(FrameLoader(**{"store": ArrayStore(SIZES), "batch_size": 4, **other}))


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ({"frame_offsets": (-1, 0)}, {"frame_offsets": (-2, 0)}, r"\[-1, 0\] in the state, \[-2, 0\] here"),
        (
            {"frame_offsets": (-1, 0)},
            {"frame_offsets": (-1, 0), "edges": "whole"},
            "edges: pad in the state, whole here",
        ),
        (
            {"frame_offsets_seconds": (-0.04, 0), "tolerance_seconds": 0.01},
            {"frame_offsets_seconds": (-0.04, 0)},
            "tolerance_seconds: 0.01 in the state, None here",
        ),
    ],
)
def test_a_state_of_other_windows_is_refused_and_both_are_named(before, after, message):
    store = ArrayStore(SIZES)
    state = json.loads(json.dumps(FrameLoader(store, batch_size=4, **before).state_dict()))
    FrameLoader(store, batch_size=4, **before).load_state_dict(state)
    with pytest.raises(SamplingError, match=f"(?s)of another run:.*{message}"):
        FrameLoader(store, batch_size=4, **after).load_state_dict(state)


def test_a_state_with_an_option_that_is_no_more_is_refused():
    loader = FrameLoader(ArrayStore(SIZES), batch_size=4, clip_frames=2)
    state = loader.state_dict()
    state["sampling"] = {**state["sampling"], "clip_windows": "anchor"}
    with pytest.raises(SamplingError, match="clip_windows: anchor in the state, None here"):
        loader.load_state_dict(state)


@pytest.mark.parametrize("broken", [{}, {"epoch": 1}, None, [1], "x"])
def test_what_is_no_state_is_refused(broken):
    loader = FrameLoader(ArrayStore(SIZES), batch_size=4)
    with pytest.raises(SamplingError, match="not the state of a loader: expected fingerprint"):
        loader.load_state_dict(broken)
    with pytest.raises(SamplingError, match=r"; found an empty dict$"):
        loader.load_state_dict({})
    state = loader.state_dict()
    with pytest.raises(SamplingError, match=r"expected .*position \(int\); found .*position \(str\)"):
        loader.load_state_dict(state | {"position": "12"})
    for position in (-1, 102):
        with pytest.raises(SamplingError, match=f"an epoch of 101 positions cannot go on at {position}"):
            loader.load_state_dict(state | {"position": position})
    with pytest.raises(SamplingError, match="epoch must be in"):
        loader.load_state_dict(state | {"epoch": -1})


def test_a_state_survives_a_torch_checkpoint(tmp_path):
    loader = FrameLoader(ArrayStore(SIZES), batch_size=4)
    next(iter(loader))
    torch.save({"loader": loader.state_dict()}, tmp_path / "checkpoint.pt")
    loaded = torch.load(tmp_path / "checkpoint.pt", weights_only=True)["loader"]
    assert LoaderState.from_builtins(loaded).position == 4
