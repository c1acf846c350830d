"""Several processes that train: each takes its share, or a warning states that it does not."""

import warnings

import pytest
import torch.distributed
from torch.utils.data import DataLoader

from loader import (
    FrameBatchSampler,
    FrameDataset,
    FrameLoader,
    SamplingError,
    UnshardedWarning,
    frame_batch_collate,
    make_dataloader,
    rank_and_world_size,
)
from tests.support.caches.array_store import ArrayStore

MAKERS = [
    FrameLoader,
    FrameBatchSampler,
    make_dataloader,
    lambda store, **options: make_dataloader(store, num_workers=1, multiprocessing_context="fork", **options),
]
NAMES = ["FrameLoader", "FrameBatchSampler", "make_dataloader", "make_dataloader with a worker"]


@pytest.fixture(autouse=True)
def no_environment(monkeypatch):
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def process_group(monkeypatch):
    """Fakes a torch.distributed that is set up; tests/end_to_end/frameworks set it up for real."""

    def set_up(world_size):
        for name, value in {"is_initialized": True, "get_rank": 0, "get_world_size": world_size}.items():
            monkeypatch.setattr(torch.distributed, name, lambda value=value: value)

    return set_up


def test_without_a_word_one_process_reads_everything():
    assert rank_and_world_size() == (0, 1)


def test_the_environment_of_torchrun_tells_before_torch_is_set_up(monkeypatch):
    monkeypatch.setenv("RANK", "2")
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert rank_and_world_size() == (2, 4)


def test_torch_has_the_last_word(monkeypatch, process_group):
    monkeypatch.setenv("RANK", "5")
    monkeypatch.setenv("WORLD_SIZE", "7")
    process_group(3)
    assert rank_and_world_size() == (0, 3)


@pytest.mark.parametrize(
    ("rank", "world_size", "found"),
    [
        ("1", None, "RANK = '1', WORLD_SIZE is not set"),
        (None, "2", "RANK is not set, WORLD_SIZE = '2'"),
        ("2", "2", "RANK = '2', WORLD_SIZE = '2'"),
        ("-1", "2", "RANK = '-1'"),
        ("0", "0", "WORLD_SIZE = '0'"),
        ("0", "two", "WORLD_SIZE = 'two'"),
        ("", "2", "RANK = ''"),
        ("0.5", "2", "RANK = '0.5'"),
    ],
)
def test_an_environment_that_holds_no_rank_is_an_error(monkeypatch, rank, world_size, found):
    for name, text in (("RANK", rank), ("WORLD_SIZE", world_size)):
        if text is not None:
            monkeypatch.setenv(name, text)
    with pytest.raises(
        SamplingError, match=f"must hold whole numbers 0 <= RANK < WORLD_SIZE.* found .*{found}"
    ):
        rank_and_world_size()


@pytest.mark.parametrize("make", MAKERS, ids=NAMES)
def test_several_processes_without_a_rank_are_warned_once(monkeypatch, make):
    monkeypatch.setenv("WORLD_SIZE", "3")
    with pytest.warns(
        UnshardedWarning, match=r"3 processes train \(WORLD_SIZE is that number\), and .* no rank"
    ) as warned:
        batches = make(ArrayStore([20]), batch_size=4)
    assert [warning.filename for warning in warned] == [__file__]
    list(batches)  # warnings are errors here


@pytest.mark.parametrize("make", MAKERS, ids=NAMES)
def test_processes_that_come_later_are_noticed_where_an_iteration_begins(process_group, make):
    batches = make(ArrayStore([20]), batch_size=4)
    list(batches)
    process_group(2)
    iteration = iter(batches)
    with pytest.warns(
        UnshardedWarning, match=r"2 processes train \(torch.distributed is set up for them\)"
    ) as warned:
        next(iteration)
    assert [warning.filename for warning in warned] == [__file__]
    list(batches)


def test_the_warning_points_at_the_callers_line_behind_torchs_dataloader(process_group):
    store = ArrayStore([20])
    batches = DataLoader(
        FrameDataset(store),
        batch_sampler=FrameBatchSampler(store, batch_size=4),
        collate_fn=frame_batch_collate,
    )
    process_group(2)
    with pytest.warns(UnshardedWarning) as warned:
        list(batches)
    assert [warning.filename for warning in warned] == [__file__]


@pytest.mark.parametrize("make", MAKERS, ids=NAMES)
def test_one_process_and_a_rank_that_is_given_are_silent(monkeypatch, process_group, make):
    monkeypatch.setenv("WORLD_SIZE", "many")
    list(make(ArrayStore([20]), batch_size=4))
    monkeypatch.setenv("WORLD_SIZE", "3")
    list(make(ArrayStore([20]), batch_size=4, rank=0, world_size=1))
    options = {"batch_size": 4, "rank": 2, "world_size": 3, "remainder": "drop"}
    assert len(list(make(ArrayStore([20]), **options))) == 1
    process_group(1)  # WORLD_SIZE means nothing now
    list(make(ArrayStore([20]), batch_size=4))


@pytest.mark.parametrize("given", [{"rank": 0}, {"world_size": 2}, {"rank": 1, "world_size": None}])
def test_half_a_rank_is_an_error(given):
    for make in (FrameLoader, FrameBatchSampler, make_dataloader):
        with pytest.raises(SamplingError, match="rank and world_size belong together, found rank="):
            make(ArrayStore([20]), **given)


def test_the_ranks_of_an_environment_share_an_epoch(monkeypatch):
    read = []
    monkeypatch.setenv("WORLD_SIZE", "3")
    for rank in range(3):
        monkeypatch.setenv("RANK", str(rank))
        given_rank, world_size = rank_and_world_size()
        with warnings.catch_warnings(action="error"):
            loader = FrameLoader(
                ArrayStore([20]), batch_size=4, rank=given_rank, world_size=world_size, remainder="uneven"
            )
            read += [frame_id for batch in loader for frame_id in batch.frame_ids.tolist()]
    assert sorted(read) == list(range(20))
