"""Joins against references that loop over rows, and every kind of table that does not fit."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from frame_store.errors import ColumnError, UnmatchedRowsError
from frame_store.source_order import SourceOrder
from frame_store.tables import NO_ROW, JoinTarget, join_tables, nearest_one_to_one, read_table

FPS = 10


def make_target(num_frames, *, verdicts=None, paths=None, pts=None) -> JoinTarget:
    first = np.concatenate([[0], np.cumsum(num_frames)]).astype(np.int64)
    if pts is None:
        pts = [np.arange(number) / FPS for number in num_frames]
    return JoinTarget(
        paths=paths or [f"dir/v{number}.mp4" for number in range(len(num_frames))],
        verdicts=verdicts or ["whole"] * len(num_frames),
        source_order=SourceOrder(
            first_row=first, first_stored=first, source_pts=np.concatenate([np.array(p, float) for p in pts])
        ),
    )


def frame_table(rows):
    """A table of (video, frame, value)."""
    return read_table(
        {"video": [row[0] for row in rows], "frame": [row[1] for row in rows], "x": [row[2] for row in rows]}
    )


def time_table(rows):
    return read_table(
        {
            "video": [row[0] for row in rows],
            "seconds": [row[1] for row in rows],
            "x": [row[2] for row in rows],
        }
    )


def only_column(join):
    (column,) = join.columns
    return column.in_memory()


@given(st.lists(st.integers(0, 4), min_size=1, max_size=4).filter(any), st.randoms())
def test_rows_by_frame_go_to_their_frames_in_any_order(num_frames, random):
    target = make_target(num_frames)
    rows = [
        (
            random.choice([f"dir/v{video}.mp4", f"v{video}.mp4", f"v{video}", f"dir/v{video}"]),
            frame,
            100 * video + frame,
        )
        for video, number in enumerate(num_frames)
        for frame in range(number)
    ]
    random.shuffle(rows)
    column = only_column(join_tables([frame_table(rows)], target))
    assert column.scope == "frame" and not column.may_miss_values
    expected = [100 * video + frame for video, number in enumerate(num_frames) for frame in range(number)]
    assert column.gather(np.arange(sum(num_frames))).tolist() == expected


@given(
    pts=st.lists(st.one_of(st.integers(0, 20).map(float), st.just(float("nan"))), max_size=8),
    seconds=st.lists(st.integers(-8, 88).map(lambda number: number / 4), max_size=8),
    tolerance=st.sampled_from([0.0, 0.25, 0.5, 3.0]),
)
def test_times_match_as_in_a_loop_over_rows(pts, seconds, tolerance):
    """Each row goes to the frame of the nearest pts (the earlier of two), each frame keeps its nearest row."""
    frames = sorted((i for i, value in enumerate(pts) if not math.isnan(value)), key=lambda i: (pts[i], i))
    wanted: dict[int, tuple[float, int]] = {}
    for row, second in enumerate(seconds):
        if not frames:
            break
        nearest = min(frames, key=lambda i: (abs(pts[i] - second), pts[i]))
        candidate = (abs(pts[nearest] - second), row)
        if candidate[0] <= tolerance:
            wanted[pts[nearest]] = min(wanted.get(pts[nearest], candidate), candidate)
    found_frames, found_rows = nearest_one_to_one(
        np.array(pts, float), np.array(seconds, float), tolerance_seconds=tolerance
    )
    assert len(set(found_frames.tolist())) == len(found_frames)
    found = {pts[frame]: row for frame, row in zip(found_frames, found_rows, strict=True)}
    assert found == {time: row for time, (_, row) in wanted.items()}


def test_the_default_tolerance_is_half_a_median_step():
    target = make_target([3])
    join = join_tables([time_table([("v0", 0.049, 1), ("v0", 0.1, 2), ("v0", 0.16, 3)])], target)
    assert only_column(join).gather([0, 1, 2]).tolist() == [1, 2, 3]
    with pytest.raises(UnmatchedRowsError, match=r"1 of 3 rows matches no frame: row 2 \('v0' at 0\.251 s\)"):
        join_tables([time_table([("v0", 0, 1), ("v0", 0.1, 2), ("v0", 0.251, 3)])], target)


def test_rows_by_time_fit_a_damaged_video():
    target = make_target([2], verdicts=["damaged"], pts=[[0.0, 0.5]])
    join = join_tables([time_table([("v0", 0.5, 7), ("v0", 0.0, 6)])], target)
    assert only_column(join).gather([0, 1]).tolist() == [6, 7]


def test_unmatched_rows_and_frames_are_refused_with_their_count_and_the_first_three():
    target = make_target([4, 2])
    table = time_table([("v0", 0, 1), ("w", 0, 2), ("v1", 9, 3), ("w", 1, 4), ("w", 2, 5)])
    with pytest.raises(UnmatchedRowsError) as raised:
        join_tables([table], target)
    assert str(raised.value).splitlines() == [
        "the dict: 4 of 5 rows match no frame: row 1 ('w' (no such video)), row 2 ('v1' at 9 s), "
        "row 3 ('w' (no such video)) ...",
        "the dict: 5 of 6 decoded frames have no row: 'dir/v0.mp4' frame 1, 'dir/v0.mp4' frame 2, 'dir/v0.mp4' frame 3 "
        "...",
    ]
    join = join_tables([table], target, missing="mask")
    column = only_column(join)
    assert join.notes == str(raised.value).splitlines()
    assert column.gather(np.arange(6)).tolist() == [1, 0, 0, 0, 0, 0]
    assert column.gather_valid(np.arange(6)).tolist() == [True] + [False] * 5
    assert column.num_missing == 5


def test_a_missing_text_has_the_code_of_no_text():
    target = make_target([1, 1])
    table = read_table({"video": ["v1"], "task": ["push"]})
    column = only_column(join_tables([table], target, missing="mask"))
    assert [column.text_of(code) for code in column.gather([0, 1])] == [None, "push"]
    assert column.scope == "video"


def test_rows_of_a_table_without_frame_or_seconds_belong_to_videos():
    target = make_target([3, 0])
    table = read_table({"video": ["v1", "v0"], "weight": [1.5, 2.5]})
    assert only_column(join_tables([table], target)).gather([0, 1]).tolist() == [2.5, 1.5]
    with pytest.raises(ColumnError, match=r"dir/v0.mp4: expected one row.*found 2: row 0, row 2"):
        join_tables([read_table({"video": ["v0", "v1", "v0"], "weight": [1, 2, 3]})], target)
    with pytest.raises(UnmatchedRowsError, match=r"1 of 2 videos has no row: 'dir/v1.mp4'"):
        join_tables([read_table({"video": ["v0"], "weight": [1]})], target)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([(0, 1), (1, 2)], "expected a row for each of 3 decoded frames, found 2 rows"),
        ([(0, 1), (1, 2), (2, 3), (3, 4)], r"of 3 decoded frames, found 4 rows, row 3 is for frame 3"),
        ([(0, 1), (1, 2), (-1, 3)], r"found 3 rows, row 2 is for frame -1"),
        ([(0, 1), (1, 2), (1, 3)], "frame 1 has 2 rows, the second is row 2"),
    ],
)
def test_rows_by_frame_must_be_those_of_the_video(rows, message):
    target = make_target([3, 1])
    table = frame_table([("v0", frame, value) for frame, value in rows] + [("v1", 0, 9)])
    for missing in ("refuse", "mask"):
        with pytest.raises(ColumnError, match=message):
            join_tables([table], target, missing=missing)
    join = join_tables([table], target, skip=True)
    assert len(join.problems) == 1 and "dir/v0.mp4" in join.problems[0]
    assert only_column(join).gather_valid(np.arange(4)).tolist() == [False, False, False, True]
    assert only_column(join).gather([3]).tolist() == [9]


@pytest.mark.parametrize("scope", ["frame", "video"])
def test_skip_excuses_only_the_videos_whose_rows_do_not_fit(scope):
    target = make_target([3, 1, 2])
    table = frame_table([("v0", 0, 1), ("v0", 2, 2), ("v1", 0, 3)])  # too few rows of v0, none of v2
    said = r"the dict: 2 of 6 decoded frames have no row: 'dir/v2.mp4' frame 0, 'dir/v2.mp4' frame 1"
    if scope == "video":
        table = read_table({"video": ["v0", "v0", "v1"], "x": [1, 2, 3]})
        said = r"the dict: 1 of 3 videos has no row: 'dir/v2.mp4'"
    with pytest.raises(UnmatchedRowsError, match=f"^{said}$"):
        join_tables([table], target, skip=True)
    join = join_tables([table], target, skip=True, missing="mask")
    assert [*map(str, join.notes)] == [said]
    assert len(join.problems) == 1 and "dir/v0.mp4" in join.problems[0]


@pytest.mark.parametrize("verdict", ["damaged", "unreadable"])
def test_rows_by_frame_need_a_whole_video(verdict):
    target = make_target([2, 1], verdicts=["whole", verdict])
    table = frame_table([("v0", 0, 1), ("v0", 1, 2), ("v1", 0, 3)])
    with pytest.raises(ColumnError, match=f"dir/v1.mp4: is {verdict}, and rows by frame need a whole video"):
        join_tables([table], target)
    join = join_tables([table], target, skip=True)
    assert only_column(join).gather_valid(np.arange(3)).tolist() == [True, True, False]
    live = make_target([2, 1], verdicts=["whole", None])
    assert only_column(join_tables([table], live)).gather(np.arange(3)).tolist() == [1, 2, 3]


def test_a_join_in_which_nothing_matches_names_the_nearest():
    target = make_target([1, 1, 1, 1], paths=["kitchen_01.mp4", "kitchen_02.mp4", "lab.mp4", "zoo.mp4"])
    table = read_table({"video": ["kitchen_1.mp4"], "x": [1]})
    for options in ({}, {"missing": "mask"}, {"skip": True}):
        with pytest.raises(
            ColumnError, match=r"none of its 1 row matches.*'kitchen_1.mp4'.*nearest.*'kitchen_01"
        ):
            join_tables([table], target, **options)


def test_a_name_of_several_videos_is_refused_and_a_path_is_not():
    target = make_target([1, 1], paths=["a/x.mp4", "b/x.mp4"])
    with pytest.raises(ColumnError, match=r"'x' may be any of 2 videos \('a/x.mp4', 'b/x.mp4'\)"):
        join_tables([read_table({"video": ["x", "b/x.mp4"], "y": [1, 2]})], target)
    table = read_table({"video": ["b/x", "a/x.mp4"], "y": [1, 2]})
    assert only_column(join_tables([table], target)).gather([0, 1]).tolist() == [2, 1]


def test_videos_with_one_path_are_refused():
    target = make_target([1, 1], paths=["a.mp4", "a.mp4"])
    with pytest.raises(ColumnError, match=r"'a.mp4' may be any of 2 videos: stores of a concat"):
        join_tables([read_table({"video": ["a.mp4"], "y": [1]})], target, missing="mask")


def test_several_tables_give_their_columns_together():
    target = make_target([2])
    tables = [frame_table([("v0", 1, 5), ("v0", 0, 4)]), read_table({"video": ["v0"], "task": ["push"]})]
    join = join_tables(tables, target)
    assert [(column.name, column.scope) for column in join.columns] == [("x", "frame"), ("task", "video")]
    with pytest.raises(ColumnError, match="'x' occurs twice"):
        join_tables([tables[0], tables[0]], target)


def test_blocks_are_the_values_whatever_their_size(monkeypatch):
    monkeypatch.setattr("frame_store.tables.join.ROWS_PER_BLOCK", 2)
    target = make_target([5])
    table = time_table([("v0", frame / FPS, frame + 1) for frame in (0, 1, 4)])
    (column,) = join_tables([table], target, missing="mask").columns
    assert [block.tolist() for block in column.blocks()] == [[1, 2], [0, 0], [5]]
    assert column.table_rows.tolist() == [0, 1, NO_ROW, NO_ROW, 2]


def test_times_need_known_pts():
    first = np.array([0, 1], np.int64)
    target = JoinTarget(
        paths=["a"], verdicts=["whole"], source_order=SourceOrder(first_row=first, first_stored=first)
    )
    with pytest.raises(ColumnError, match="give 'frame' instead"):
        join_tables([time_table([("a", 0, 1)])], target)


def test_wrong_options_are_refused():
    table, target = time_table([("v0", 0, 1)]), make_target([1])
    with pytest.raises(ColumnError, match="missing must be"):
        join_tables([table], target, missing="fill")
    with pytest.raises(ColumnError, match="tolerance_seconds must be"):
        join_tables([table], target, tolerance_seconds=-1)
    with pytest.raises(ColumnError, match="tolerance_seconds must be"):
        join_tables([table], target, tolerance_seconds=float("nan"))
    with pytest.raises(ColumnError, match="tolerance_seconds must be 0 or more, found '1'"):
        join_tables([table], target, tolerance_seconds="1")
