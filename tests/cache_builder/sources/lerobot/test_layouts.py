"""Whatever the layout of files: what the writer of the tests wrote is what the source gives."""

import tempfile
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from cache_builder.sources import look_into
from tests.support.lerobot import CameraSpec, FeatureSpec, write_lerobot

COUNTS = st.lists(st.integers(1, 3), max_size=3).map(tuple)
KINDS = {
    "vector": FeatureSpec(shape=(3,)),
    "number": FeatureSpec(dtype="float64"),
    "flag": FeatureSpec(dtype="bool"),
    "flags": FeatureSpec(dtype="bool", shape=(2,)),
    "count": FeatureSpec(dtype="uint8"),
    "matrix": FeatureSpec(dtype="float32", shape=(2, 3)),
    "box": FeatureSpec(dtype="int16", shape=(2, 1, 2)),
    "note": FeatureSpec(dtype="string"),
}


@st.composite
def specs(draw):
    keys = draw(
        st.lists(st.sampled_from(["a", "b", "cam.x", "observation.images.front"]), min_size=1, unique=True)
    )
    names = draw(st.lists(st.sampled_from([*KINDS]), unique=True))
    return {
        "cameras": tuple(CameraSpec(key=key, episodes_per_file=draw(COUNTS)) for key in keys),
        "lengths": tuple(draw(st.lists(st.integers(1, 6), min_size=1, max_size=7))),
        "fps": draw(st.sampled_from([1, 10, 15, 30, 50])),
        "features": {name: KINDS[name] for name in names},
        "tasks": ("a", "c", "b")[: draw(st.integers(1, 3))],
        "episodes_per_data_file": draw(COUNTS),
        "episodes_per_meta_file": draw(COUNTS),
        "chunks_size": draw(st.sampled_from([1, 2, 1000])),
        "tasks_column": draw(st.sampled_from(["__index_level_0__", "task"])),
    }


@settings(max_examples=40, deadline=None)
@given(specs())
def test_the_source_gives_back_what_was_written(spec):
    with tempfile.TemporaryDirectory() as folder:
        written = write_lerobot(Path(folder), **spec, with_videos=False)
        contents = look_into(written.root)
        assert contents.cameras == tuple(camera.key for camera in spec["cameras"])
        for camera in contents.cameras:
            videos = contents.videos_of(camera)
            assert [video.relative_path for video in videos] == written.names
            assert [video.problem for video in videos] == [None] * len(videos)
            for video, length, (path, start, end) in zip(
                videos, spec["lengths"], written.spans[camera], strict=True
            ):
                assert video.path == path
                assert (video.span.from_seconds, video.span.to_seconds) == (start, end)
                times = start + np.arange(length) / spec["fps"]
                np.testing.assert_allclose(video.span.frame_seconds, times, rtol=0, atol=1e-9)
        (table,) = contents.dataset.read_tables()
        rows = [
            (name, frame)
            for name, length in zip(written.names, spec["lengths"], strict=True)
            for frame in range(length)
        ]
        assert [
            (table.video.strings[code], frame)
            for code, frame in zip(table.video.values, table.frames, strict=True)
        ] == rows
        for key, expected in written.columns.items():
            column = table.columns[key]
            found = (
                column.values if column.strings is None else [column.strings[code] for code in column.values]
            )
            np.testing.assert_array_equal(found, expected)
            assert column.strings is not None or column.values.dtype == expected.dtype
        tasks = table.columns["task"]
        assert [tasks.strings[code] for code in tasks.values] == [
            spec["tasks"][n] for n in written.columns["task_index"]
        ]
