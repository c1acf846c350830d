"""Columns of batches against a dict from (video, frame): any sampler, view, layout, window, device and worker."""

import gc
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from frame_store import Columns, concat, select
from frame_store.columns import Column
from frame_store.errors import ColumnError, StoreDamagedError, UnmatchedRowsError
from loader import FrameBatchSampler, FrameDataset, FrameLoader, SamplingError, join_columns, make_dataloader
from loader.windows import WindowSpec
from tests.loader.windows.decoded_store import DecodedStore, expected_window
from tests.support.caches.array_store import ArrayStore

TEXTS = ("push", "open", "Ä")
RATE = 10


@st.composite
def decoded_stores(draw):
    """Stores of 1 to 3 videos that store some of their decoded frames, in any order of ids."""
    num_decoded = draw(st.lists(st.integers(1, 6), min_size=1, max_size=3))
    stored = [sorted(draw(st.sets(st.integers(0, number - 1), min_size=1))) for number in num_decoded]
    num_stored = sum(map(len, stored))
    order = draw(st.one_of(st.none(), st.permutations(range(num_stored))))
    return DecodedStore(
        [[frame / RATE for frame in range(number)] for number in num_decoded], stored, order=order
    )


def value_of(video, frame):
    """What the tables below have for a frame."""
    return [video + 0.5, frame + 0.25]


def frame_table(store, *, missing=()):
    """A table of all decoded frames but those of the videos `missing`."""
    rows = [
        (video, frame)
        for video, times in enumerate(store.pts)
        for frame in range(len(times))
        if video not in missing
    ]
    return {
        "video": [store.videos[video].path for video, _ in rows],
        "frame": [frame for _, frame in rows],
        "state": np.array([value_of(*row) for row in rows], np.float32).reshape(-1, 2),
        "count": np.array([10 * video + frame for video, frame in rows], np.int16),
        "task": [TEXTS[(video + frame) % 3] for video, frame in rows],
        "done": np.array([frame % 2 == 1 for _, frame in rows]),
    }


def video_table(store):
    return {
        "video": [video.path for video in store.videos],
        "weight": np.arange(len(store.videos)) + 0.125,
        "robot": [TEXTS[number % 3] for number in range(len(store.videos))],
    }


@settings(max_examples=60)
@given(store=decoded_stores(), data=st.data())
def test_columns_of_any_windows_are_those_of_a_dict(store, data):
    sampling = data.draw(st.sampled_from(["permutation", "stratified", "iid", "sequential"]))
    offsets = st.lists(st.integers(-4, 4), min_size=1, max_size=3)
    names = data.draw(st.sets(st.sampled_from(["state", "count", "task", "done"])))
    column_offsets = {name: data.draw(offsets) for name in sorted(names)}
    frame_offsets = data.draw(st.one_of(st.none(), offsets))
    ids = data.draw(st.one_of(st.none(), st.sets(st.integers(0, len(store) - 1), min_size=1)))
    view = store if ids is None else select(store, ids=sorted(ids))
    columns = join_columns(view, [frame_table(store), video_table(store)])
    loader = FrameLoader(
        view,
        columns=columns,
        batch_size=2,
        sampling=sampling,
        remainder=None if sampling == "iid" else "uneven",
        frame_offsets=frame_offsets,
        column_offsets=column_offsets,
    )
    spec = WindowSpec(column_offsets={name: tuple(of_name) for name, of_name in column_offsets.items()})
    places = [(video, frame) for video, times in enumerate(store.pts) for frame in range(len(times))]
    for batch in loader:
        assert set(batch.columns) == {"state", "count", "task", "done", "weight", "robot"}
        assert batch.columns_valid == {}
        assert set(batch.column_is_pad) == set(column_offsets)
        for number, frame_id in enumerate(batch.frame_ids.tolist()):
            cache_id = int(view.cache_ids([frame_id])[0]) if ids is not None else frame_id
            row = store.rows_of([cache_id])[0]
            video = int(row["video_id"])
            _, windows = expected_window(store, cache_id, spec)
            for name, read in {
                "state": value_of,
                "count": lambda video, frame: 10 * video + frame,
                "task": lambda video, frame: TEXTS[(video + frame) % 3],
                "done": lambda video, frame: frame % 2 == 1,
            }.items():
                found = batch.columns[name][number].tolist()
                if name in windows:
                    rows, pads = windows[name]
                    expected = [read(*places[place]) for place in rows]
                    assert batch.column_is_pad[name][number].tolist() == pads
                else:
                    expected = read(video, int(row["frame_in_video"]))
                if name == "task":
                    codes = found if name in windows else [found]
                    found = [columns["task"].text_of(code) for code in codes]
                    expected = expected if name in windows else [expected]
                assert found == expected
            assert batch.columns["weight"][number].item() == video + 0.125
            assert columns["robot"].text_of(batch.columns["robot"][number].item()) == TEXTS[video % 3]


def small_store():
    return DecodedStore(
        [[frame / RATE for frame in range(5)], [frame / RATE for frame in range(4)]], [[0, 2, 4], [1, 3]]
    )


def test_dtypes_are_those_of_the_columns():
    store = small_store()
    batch = next(iter(FrameLoader(store, columns=join_columns(store, frame_table(store)), batch_size=2)))
    found = {name: (tensor.dtype, tuple(tensor.shape)) for name, tensor in batch.columns.items()}
    assert found == {
        "state": (torch.float32, (2, 2)),
        "count": (torch.int16, (2,)),
        "task": (torch.int32, (2,)),
        "done": (torch.bool, (2,)),
    }
    assert "state (2, 2)" in repr(batch)
    assert set(batch[0]["columns"]) == set(found)


def test_missing_values_are_marked():
    store = small_store()
    with pytest.raises(UnmatchedRowsError, match=r"5 of 9 decoded frames have no row.*missing='mask'"):
        join_columns(store, frame_table(store, missing={0}))
    with pytest.warns(UserWarning, match="5 of 9 decoded frames have no row"):
        columns = join_columns(store, frame_table(store, missing={0}), missing="mask")
    loader = FrameLoader(
        store, columns=columns, batch_size=5, sampling="sequential", column_offsets={"state": (-1, 0)}
    )
    (batch,) = loader
    assert batch.columns_valid["task"].tolist() == [False] * 3 + [True] * 2
    assert batch.columns_valid["state"].tolist() == [[False, False]] * 3 + [[True, True]] * 2
    assert batch.columns["task"][:3].tolist() == [-1] * 3
    assert batch.columns["state"][:3].tolist() == [[[0, 0]] * 2] * 3


class WithColumns(DecodedStore):
    """A store that has columns itself."""

    @property
    def columns(self):
        return Columns(
            [
                Column.of("action", "frame", np.arange(self.source_order.num_rows)),
                Column.of("weight", "video", np.arange(len(self.videos)) * 2),
            ],
            num_rows=self.source_order.num_rows,
            num_videos=len(self.videos),
            fingerprint=self.fingerprint,
        )


def store_with_columns():
    return WithColumns([[0.0, 0.1, 0.2], [0.0, 0.1]], [[0, 2], [1]])


def test_a_loader_takes_all_columns_of_a_store_unless_it_is_told_which():
    store = store_with_columns()
    options = {"batch_size": 3, "sampling": "sequential"}
    (batch,) = FrameLoader(store, **options)
    assert batch.columns["action"].tolist() == [0, 2, 4]
    assert batch.columns["weight"].tolist() == [0, 0, 2]
    (batch,) = FrameLoader(store, columns=["weight"], **options)
    assert list(batch.columns) == ["weight"]
    (batch,) = FrameLoader(store, columns=(), **options)
    assert batch.columns == {}
    table = {"video": ["000", "001"], "label": [7, 8]}
    joined = store.columns | join_columns(store, table)
    (batch,) = FrameLoader(store, columns=joined, **options)
    assert batch.columns["label"].tolist() == [7, 7, 8]
    assert batch.columns["action"].tolist() == [0, 2, 4]
    (batch,) = FrameLoader(select(store, videos=[1]), **(options | {"batch_size": 1}))
    assert batch.columns["weight"].tolist() == [2]
    assert batch.video_ids.tolist() == [0]


def test_wrong_columns_are_refused():
    store = store_with_columns()
    for columns, message in (
        (["acton"], "near are 'action'"),
        ("action", "must be a list of names"),
        (3, "must be a list of names"),
        (join_columns(ArrayStore([4]), {"video": ["000"], "x": [1]}), "joined to another store"),
    ):
        with pytest.raises(SamplingError, match=message):
            FrameLoader(store, columns=columns)
    with pytest.raises(SamplingError, match="'weight' has one value for a video"):
        FrameLoader(store, column_offsets={"weight": (0, 1)})
    with pytest.raises(SamplingError, match="'action'"):
        FrameLoader(store, columns=["weight"], column_offsets={"action": (0, 1)})
    with pytest.raises(ColumnError, match="'action' occurs twice"):
        store.columns | store.columns
    with pytest.raises(ColumnError, match="different stores"):
        store.columns | join_columns(ArrayStore([4]), {"video": ["000"], "x": [1]})


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("options", [{}, {"column_offsets": {"action": (-1, 0, 1)}}])
def test_worker_processes_give_the_same_columns(num_workers, options):
    store = store_with_columns()
    options = {"batch_size": 2, "sampling": "sequential", **options}
    expected = list(FrameLoader(store, **options))
    loader = make_dataloader(store, num_workers=num_workers, **options)
    found = list(loader)
    assert list(loader.columns) == ["action", "weight"]
    del loader
    gc.collect()
    assert len(found) == len(expected) == 2
    for one, other in zip(found, expected, strict=True):
        for name in ("columns", "column_is_pad", "columns_valid"):
            tensors = {key: tensor.tolist() for key, tensor in getattr(one, name).items()}
            assert tensors == {key: tensor.tolist() for key, tensor in getattr(other, name).items()}


def test_datasets_give_columns_to_torchs_own_loader():
    store = store_with_columns()
    dataset = FrameDataset(store)
    batches = DataLoader(dataset, batch_sampler=FrameBatchSampler(store, batch_size=2, sampling="sequential"),
                         collate_fn=lambda batch: batch)  # fmt: skip
    assert [batch.columns["action"].tolist() for batch in batches] == [[0, 2], [4]]
    plain = next(iter(DataLoader(dataset, batch_size=3)))
    assert plain["columns"]["action"].tolist() == [0, 2, 4]
    assert FrameDataset(store, columns=["weight"])[2]["columns"]["weight"].item() == 2


@pytest.mark.parametrize("options", [{}, {"column_offsets": {"action": (-1, 0)}, "frame_offsets": (0, 1)}])
def test_a_device_gets_columns_in_the_copy_of_the_ids(streams, options):
    store = store_with_columns()
    options = {"batch_size": 3, "sampling": "sequential", **options}
    (batch,) = FrameLoader(store, device="cuda", next_epoch=False, **options)
    (expected,) = FrameLoader(store, **options)
    assert len(streams.uploaded_bytes) == 2
    for name in ("columns", "column_is_pad"):
        tensors = getattr(batch, name)
        assert set(tensors) == set(getattr(expected, name))
        for key, tensor in tensors.items():
            assert tensor.dtype == getattr(expected, name)[key].dtype
            assert tensor.tolist() == getattr(expected, name)[key].tolist()


def test_concat_joins_columns_of_its_parts():
    one, other = store_with_columns(), WithColumns([[0.0], [0.0, 0.1]], [[0], [0, 1]])
    joined = concat([one, other])
    (batch,) = FrameLoader(joined, batch_size=6, sampling="sequential")
    assert batch.columns["action"].tolist() == [0, 2, 4, 0, 1, 2]
    assert batch.columns["weight"].tolist() == [0, 0, 2, 0, 2, 2]


def test_a_loader_says_which_columns_a_concat_leaves_out():
    joined = concat([store_with_columns(), DecodedStore([[0.0]], [[0]])])
    with pytest.warns(
        UserWarning, match="not all stores of the concat have are left out: 'action', 'weight'"
    ):
        loader = FrameLoader(joined, batch_size=4)
    assert list(loader.columns) == []
    FrameLoader(joined, batch_size=4, columns=())  # a warning would be an error


def test_an_index_that_leads_out_of_the_columns_is_damage():
    class Damaged(WithColumns):
        def read_frames_and_rows(self, frame_ids, out=None):
            frames, rows = super().read_frames_and_rows(frame_ids, out)
            rows = rows.copy()
            rows["frame_in_video"] += 9
            return frames, rows

    store = Damaged([[0.0, 0.1, 0.2], [0.0, 0.1]], [[0, 2], [1]])
    with pytest.raises(StoreDamagedError, match="run cache-verify"):
        list(FrameLoader(store, batch_size=3))


def test_live_videos_take_columns_too(tmp_path):
    from pathlib import Path

    from cache_builder import open_videos
    from tests.support.videos.tiny_videos import tiny_video

    for number, name in enumerate("ab"):
        tiny_video(tmp_path, path=Path(f"{name}.mp4"), num_frames=4, video_number=number)
    live = open_videos(tmp_path, size=16)
    pts = live.source_order.source_pts
    tables = [
        {
            "video": ["a"] * 4 + ["b"] * 4,
            "seconds": np.array(pts)[::-1].reshape(2, 4).ravel(),
            "x": np.arange(8),
        },
        {"video": ["b", "a"] * 4, "frame": np.repeat(np.arange(4), 2), "y": np.arange(8) * 10},
    ]
    columns = join_columns(live, tables)
    for lookahead in (0, 2):
        loader = FrameLoader(live, columns=columns, batch_size=3, remainder="uneven", lookahead=lookahead)
        for batch in loader:
            rows = (batch.video_ids * 4 + batch.frame_in_video).tolist()
            assert batch.columns["x"].tolist() == [columns["x"].gather([row])[0] for row in rows]
            frames = list(zip(batch.video_ids.tolist(), batch.frame_in_video.tolist(), strict=True))
            assert batch.columns["x"].tolist() == [4 * video + 3 - frame for video, frame in frames]
            assert batch.columns["y"].tolist() == [20 * frame + 10 * (1 - video) for video, frame in frames]
    live.close()


def test_a_loader_with_columns_pickles():
    store = store_with_columns()
    loader = pickle.loads(pickle.dumps(FrameLoader(store, batch_size=3, sampling="sequential")))
    (batch,) = loader
    assert batch.columns["action"].tolist() == [0, 2, 4]


def test_importing_what_joins_tables_imports_no_table_library():
    import subprocess
    import sys

    code = (
        "import sys, loader.columns, frame_store.tables\n"
        "print([name for name in ('pyarrow', 'pandas', 'polars', 'torch', 'av') if name in sys.modules])"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        == "[]\n"
    )
