"""`split`: each frame in one part, no video in two, copies and groups together, no video moved by an append."""

import collections
import hashlib
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from frame_store import ViewError, concat, select, split
from frame_store.columns import NO_COLUMNS, Column, Columns
from frame_store.video_table import VideoTable
from tests.support.caches.array_store import ArrayStore

SHARES = {"train": 0.6, "val": 0.3, "test": 0.1}


class ContentStore(ArrayStore):
    """A video of two frames for each content; None is a video whose file could not be read."""

    def __init__(self, contents, paths=None):
        super().__init__([2] * len(contents), video_sizes=[2] * len(contents))
        self._contents = contents
        self._paths = paths or [f"{row:03}.mp4" for row in range(len(contents))]

    @property
    def videos(self):
        return VideoTable(
            replace(
                row,
                path=path,
                sha256=None if content is None else hashlib.sha256(content.encode()).hexdigest(),
            )
            for row, content, path in zip(super().videos, self._contents, self._paths, strict=True)
        )


def parts_by_content(store, **options):
    """For each content the names of the parts that have it."""
    found = collections.defaultdict(set)
    for name, view in split(store, SHARES, **options).items():
        for video_id in view.video_ids.tolist():
            found[store._contents[video_id]].add(name)
    return found


@given(
    drawn=st.lists(st.integers(0, 99).map(str), max_size=60),
    added=st.lists(st.integers(0, 99).map(str), max_size=20),
    seed=st.integers(0, 3),
)
def test_no_video_is_in_two_parts_nor_moved_by_an_append(drawn, added, seed):
    """With byte-equal copies, and videos added before and behind the others, so that paths and rows change."""
    some = [f"filler {number}" for number in range(50)]  # enough that no part is empty
    store = ContentStore([*added, *some, *drawn])
    parts = split(store, SHARES, seed=seed)
    ids = np.concatenate([view.cache_ids(range(len(view))) for view in parts.values()])
    assert sorted(ids.tolist()) == list(range(len(store)))
    by_content = parts_by_content(store, seed=seed)
    assert all(len(names) == 1 for names in by_content.values())
    for before in (ContentStore([*some, *drawn]), ContentStore([*drawn, *some, *added])):
        for content, names in parts_by_content(before, seed=seed).items():
            assert names == by_content[content]


def test_a_part_is_the_hash_of_the_seed_and_the_file():
    """Pinned: another hash would move videos of splits that exist."""
    view = split(ContentStore([str(number) for number in range(12)]), {"a": 0.5, "b": 0.5}, seed=3)["a"]
    expected = [
        row
        for row in range(12)
        if int(
            hashlib.sha256(f"split 3 sha256 {hashlib.sha256(b'%d' % row).hexdigest()}".encode()).hexdigest()[
                :16
            ],
            16,
        )
        < 1 << 63
    ]
    assert 0 < len(expected) < 12
    assert view.video_ids.tolist() == expected


def test_a_file_that_could_not_be_read_goes_by_its_path():
    contents: list[str | None] = [None] * 40
    paths = [f"{row}.mp4" for row in range(40)]
    parts = split(ContentStore(contents, paths), SHARES)
    renamed = split(ContentStore(contents, paths[::-1]), SHARES)
    for name, view in parts.items():
        assert {paths[row] for row in view.video_ids} == {paths[::-1][row] for row in renamed[name].video_ids}


def test_shares_are_met_on_average():
    """Binomial with 4,000 videos: six standard deviations are 4.6%."""
    parts = split(ContentStore([str(number) for number in range(4000)]), SHARES)
    for name, share in SHARES.items():
        assert abs(len(parts[name].video_ids) / 4000 - share) < 6 * (share * (1 - share) / 4000) ** 0.5
    other = split(ContentStore([str(number) for number in range(4000)]), SHARES, seed=1)
    assert set(other["test"].video_ids.tolist()) != set(parts["test"].video_ids.tolist())


def test_the_text_has_the_shares_that_came_about():
    parts = split(ContentStore([str(number) for number in range(40)]), {"train": 0.5, "val": 0.5})
    num_train = len(parts["train"].video_ids)
    assert str(parts).splitlines()[0] == (
        f"train: {num_train} videos ({num_train / 40:.1%}), {2 * num_train} frames ({num_train / 40:.1%}); "
        f"asked for 50.0%"
    )
    assert repr(parts).startswith("Split(train=View(")
    assert parts.shares == {"train": 0.5, "val": 0.5}


def test_groups_stay_together_and_take_the_place_of_the_file():
    store = ContentStore([str(number) for number in range(60)])
    groups = np.array([f"scene {row % 20}" for row in range(60)])
    parts = split(store, SHARES, group=groups)
    rows = {name: {groups[row] for row in view.video_ids} for name, view in parts.items()}
    assert sum(map(len, rows.values())) == 20
    as_numbers = split(store, SHARES, group=[row % 20 for row in range(60)])
    assert sum(len({row % 20 for row in view.video_ids}) for view in as_numbers.values()) == 20


class ColumnStore(ContentStore):
    columns = NO_COLUMNS  # each store may set its own


def column_of_videos(name, values, valid=None):
    strings = sorted(set(values)) if isinstance(values[0], str) else None
    codes = values if strings is None else np.array([strings.index(value) for value in values], np.int32)
    return Column.of(name, "video", np.asarray(codes), strings=strings, valid=valid)


def test_a_column_of_videos_gives_the_groups():
    scenes, robots = [f"scene {row % 20}" for row in range(60)], [row % 20 for row in range(60)]
    has_value = np.arange(60) != 7
    store = ColumnStore([str(number) for number in range(60)])
    store.columns = Columns(
        [
            column_of_videos("scene", scenes),
            column_of_videos("robot", robots),
            column_of_videos("some", robots, valid=has_value),
            column_of_videos("weight", [0.5] * 60),
        ],
        num_rows=120,
        num_videos=60,
        fingerprint=store.fingerprint,
    )
    for name, groups in (("scene", scenes), ("robot", robots)):
        by_name, by_list = split(store, SHARES, group=name), split(store, SHARES, group=groups)
        assert {part: view.video_ids.tolist() for part, view in by_name.items()} == {
            part: view.video_ids.tolist() for part, view in by_list.items()
        }
    later = select(store, videos=range(10, 60))
    assert {*split(later, SHARES, group="some")["train"].video_ids} <= set(range(10, 60))
    for name, text in (
        ("scenes", "no such column, it has robot, scene, some, weight; the nearest are 'scene'"),
        ("some", "1 video has no value, the first is '007.mp4'"),
        (
            "weight",
            "expected a column of videos with a text or a whole number each, found one of videos, float64",
        ),
    ):
        with pytest.raises(ViewError, match=f"group='{name}': .*{text}"):
            split(store, SHARES, group=name)


def test_parts_of_a_view_and_of_a_concatenation_are_those_of_the_videos():
    store = ContentStore([str(number) for number in range(60)])
    whole = split(store, SHARES)
    some = split(select(store, videos=range(10, 60)), SHARES)
    twice = split(concat([store, store]), SHARES)
    for name, view in whole.items():
        assert some[name].video_ids.tolist() == [row for row in view.video_ids if row >= 10]
        assert some[name].base is store
        assert twice[name].video_ids.tolist() == [*view.video_ids, *(view.video_ids + 60)]


@pytest.mark.parametrize(
    ("shares", "options", "text"),
    [
        ({}, {}, "shares is a dict"),
        (["train"], {}, "shares is a dict"),
        ({"train": 0.9, "val": 0.2}, {}, "the shares must sum to 1, found 1.1"),
        ({"train": 1.1, "val": -0.1}, {}, "the share of 'val' must be a number above 0, found -0.1"),
        ({"train": 1, "val": 0}, {}, "the share of 'val' must be a number above 0, found 0"),
        ({"train": float("nan"), "val": 1}, {}, "the share of 'train' must be a number above 0, found nan"),
        ({"train": "1"}, {}, "the share of 'train' must be a number above 0, found '1'"),
        ({"train": True}, {}, "the share of 'train' must be a number above 0, found True"),
        ({"train": "most", "val": 1}, {}, "the share of 'train' must be a number above 0, found 'most'"),
        ({"train": 0.5, "val": 0.5}, {"seed": 0.5}, "seed must be a whole number"),
        (
            {"train": 0.5, "val": 0.5},
            {"group": "scene"},
            "'scene': the store has no such column, it has no columns",
        ),
        ({"train": 0.5, "val": 0.5}, {"group": 5}, "one entry for each of 20 videos, found 5"),
        (
            {"train": 0.5, "val": 0.5},
            {"group": [1] * 19},
            "one entry for each of 20 videos, found 19 entries",
        ),
        (
            {"train": 0.5, "val": 0.5},
            {"group": [1.5] * 20},
            "a text or a whole number for each video, found 1.5",
        ),
        (
            {"train": 1 - 1e-9, "val": 1e-9},
            {},
            r"a part of the split of 20 videos is empty: 'val' \(share 1e-09\) has 0 videos and no frame; take",
        ),
        (
            {"train": 0.5, "val": 0.5},
            {"group": [0] * 19 + [1]},
            "'000.mp4' and '019.mp4' have the same bytes, and their groups '0' and '1' are in the parts "
            "'val' and 'train'",
        ),
    ],
)
def test_bad_input_is_refused_with_what_was_expected(shares, options, text):
    with pytest.raises(ViewError, match=text):
        split(ContentStore([*(str(number) for number in range(19)), "0"]), shares, **options)


def test_a_path_is_no_store():
    with pytest.raises(ViewError, match=r"split takes an open store, such as .* gives, found 'a\.cache'"):
        split("a.cache", {"train": 1.0})


@pytest.mark.parametrize("kind", [np.float32, np.float64, Fraction])
def test_shares_are_numbers_of_any_kind(kind):
    store = ContentStore([str(number) for number in range(40)])
    expected = split(store, {"train": 0.75, "val": 0.25})
    found = split(store, {"train": kind(0.75), "val": kind(0.25)})
    assert [view.video_ids.tolist() for view in found.values()] == [
        view.video_ids.tolist() for view in expected.values()
    ]


def test_shares_as_floats_that_sum_to_almost_one_are_taken():
    assert list(split(ContentStore([str(n) for n in range(90)]), {"a": 0.7, "b": 0.2, "c": 0.1})) == [
        "a",
        "b",
        "c",
    ]
