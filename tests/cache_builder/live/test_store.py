import multiprocessing
import os
import pickle
import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import av
import numpy as np
import pytest
from frame_cache_tools.samples.numbered_videos import read_frame

import cache_builder
from cache_builder.errors import InputFolderError, VideoError
from cache_builder.live import store as live_store_module
from cache_builder.live.store import LiveStore
from cache_builder.video.opening.open_video import open_container
from cache_builder.video.picture.convert import FrameConverter
from cache_builder.video.picture.geometry import FrameGeometry
from frame_store import DecodesInGroups, FrameIdError
from frame_store.reader.store_index import ROW_DTYPE
from tests.support.videos.plain_decode import in_rising_order
from tests.support.videos.tiny_videos import (
    TINY_SPECS,
    damage_file,
    simple_specs,
    tiny_folder,
    tiny_video,
    write_text,
)

SIZE = 64


@pytest.fixture(scope="module")
def store(sample_folder):
    store = cache_builder.open_videos(sample_folder.path, size=SIZE)
    yield store
    store.close()


def convert_all(path: Path, store: LiveStore, video_id: int) -> tuple[list[np.ndarray], list[float]]:
    """Every frame and pts in seconds of a plain sequential decode."""
    facts = store.facts_of_videos[video_id]
    frames, pts_seconds = [], []
    container = av.open(f"file:{path}")
    stream = container.streams.best("video")
    stream.codec_context.thread_type = "NONE"
    stream.codec_context.thread_count = 1
    converter = FrameConverter(
        FrameGeometry(height=SIZE, width=SIZE),
        facts.presentation.plain,
    )
    for packet in container.demux(stream):
        try:
            decoded = packet.decode()
        except av.FFmpegError:
            continue
        for frame in decoded:
            frames.append(converter.convert(frame))
            pts_seconds.append(None if frame.pts is None else float(frame.pts * frame.time_base))
    container.close()
    return frames, [np.nan if pts is None else pts for pts in in_rising_order(path, pts_seconds)]


def ids_of(store: LiveStore, video_id: int) -> np.ndarray:
    return np.flatnonzero(store.index["video_id"] == video_id)


@pytest.mark.parametrize("video_id", range(len(TINY_SPECS)), ids=[spec.path.name for spec in TINY_SPECS])
def test_random_look_ups_equal_the_sequential_decode(store, sample_folder, video_id):
    expected, pts_seconds = convert_all(sample_folder.specs[video_id].path, store, video_id)
    ids = ids_of(store, video_id)
    rows = store.rows_of(ids)
    assert rows.tobytes() == store.index[ids].tobytes() == store.read_frames_and_rows(ids)[1].tobytes()
    assert rows["frame_in_video"].tolist() == list(range(len(expected)))
    np.testing.assert_array_equal(rows["pts_seconds"], pts_seconds)
    draw = random.Random(video_id)
    for _ in range(8):
        wanted = [draw.randrange(len(ids)) for _ in range(draw.choice([1, 2, 12]))]
        for frame, number in zip(store.read_frames(ids[wanted]), wanted, strict=True):
            np.testing.assert_array_equal(frame, expected[number])


def test_frames_spell_what_the_index_says(sample_folder):
    store = cache_builder.open_videos(sample_folder.path, size=(96, 96), resize="crop")
    draw = random.Random(0)
    ids = [draw.randrange(len(store)) for _ in range(60)]
    for frame_id, frame in zip(ids, store.read_frames(ids), strict=True):
        row = store.index[frame_id]
        assert read_frame(frame) == (row["video_id"], row["frame_in_video"])


def test_is_a_frame_store_with_one_shard_a_video(store, sample_folder):
    assert isinstance(store, DecodesInGroups)
    assert len(store) == sample_folder.num_frames == len(store.index)
    assert store.frame_shape == (SIZE, SIZE, 3)
    assert store.shard_sizes.tolist() == [spec.num_frames for spec in sample_folder.specs]
    index = store.index
    assert index.dtype == ROW_DTYPE
    assert not index.flags.writeable
    assert (index["shard_id"] == index["video_id"]).all()
    assert (index["slot"] == index["frame_in_video"]).all()
    assert not index["byte_offset"].any()
    assert np.array_equal(np.bincount(index["video_id"]), store.shard_sizes)
    assert repr(store) == f"LiveStore({len(store)} frames of (64, 64, 3) in 16 videos)"


def test_request_order_duplicates_and_out(store):
    draw = random.Random(1)
    ids = [draw.randrange(len(store)) for _ in range(40)]
    ids += ids[::3]
    frames = store.read_frames(ids)
    assert frames.shape == (len(ids), SIZE, SIZE, 3)
    assert frames.dtype == np.uint8
    for position in (0, 7, 39, len(ids) - 1):
        np.testing.assert_array_equal(frames[position], store.read_frames([ids[position]])[0])
    out = np.zeros_like(frames)
    assert store.read_frames(np.array(ids, np.uint32), out) is out
    np.testing.assert_array_equal(out, frames)
    assert store.read_frames([]).shape == (0, SIZE, SIZE, 3)


def test_wrong_requests(store):
    with pytest.raises(FrameIdError):
        store.read_frames([len(store)])
    with pytest.raises(FrameIdError):
        store.read_frames([-1])
    with pytest.raises(ValueError, match="out must be"):
        store.read_frames([0], np.zeros((2, SIZE, SIZE, 3), np.uint8))


def test_a_unit_is_decoded_once_a_call_and_not_beyond_the_last_frame(tmp_path, monkeypatch):
    spec = tiny_video(tmp_path, num_frames=60, gop_size=20)
    store = cache_builder.open_videos(tmp_path, size=SIZE)
    decoded = []

    class CountingReader(live_store_module.VideoReader):
        def packets_from(self, ordinal):
            for numbered in super().packets_from(ordinal):
                decoded.append(numbered[0])
                yield numbered

    monkeypatch.setattr(live_store_module, "VideoReader", CountingReader)
    store.read_frames([29, 25, 27, 25])
    assert min(decoded) == 20
    assert len(decoded) == len(set(decoded))
    assert max(decoded) == 29  # no further packet, although the decoder holds frames back
    decoded.clear()
    store.read_frames([45, 1])
    assert not {ordinal for ordinal in decoded if 8 <= ordinal < 40}
    assert spec.num_frames == len(store)


def test_frames_go_to_places_of_their_own(store):
    ids = [41, 7, 7, 300, 40]
    expected = store.read_frames(ids)
    places = [np.zeros((SIZE, SIZE, 3), np.uint8) for _ in ids]
    store.read_frames_into(np.array(ids), places)
    np.testing.assert_array_equal(places, expected)
    store.read_frames_into([], [])
    with pytest.raises(FrameIdError):
        store.read_frames_into([len(store)], places[:1])
    with pytest.raises(ValueError, match="a place for each of 2 frames, found 1"):
        store.read_frames_into([0, 1], places[:1])
    for wrong in (np.zeros((SIZE, SIZE), np.uint8), np.zeros((SIZE, 3, SIZE), np.uint8).swapaxes(1, 2)):
        with pytest.raises(ValueError, match="each of outs must be"):
            store.read_frames_into([0], [wrong])


def test_groups_are_the_gops_of_each_video(tmp_path):
    tiny_folder(tmp_path, simple_specs(3, num_frames=20))  # 20, 23 and 26 frames, GOPs of 8
    write_text(tmp_path / "00a.mp4")
    store = cache_builder.open_videos(tmp_path, size=SIZE)
    first_ids = [0, 8, 16, 20, 28, 36, 43, 51, 59, 67]
    ids = np.arange(len(store))
    expected = np.array(first_ids)[np.searchsorted(first_ids, ids, side="right") - 1]
    np.testing.assert_array_equal(store.decode_groups(ids), expected)
    assert store.decode_groups(ids).dtype == np.int64
    assert store.decode_groups([68, 3, 3]).tolist() == [67, 0, 0]
    assert store.decode_groups([]).shape == (0,)
    with pytest.raises(FrameIdError):
        store.decode_groups([69])


def test_groups_that_cannot_be_decoded_apart_merge(sample_folder):
    store = cache_builder.open_videos(sample_folder.path, size=SIZE)
    video_id = [spec.intra_refresh for spec in sample_folder.specs].index(True)
    ids = ids_of(store, video_id)
    assert len(set(store.decode_groups(ids).tolist())) > 1
    for frame_id in ids[::-1]:
        store.read_frames([frame_id])
    assert set(store.decode_groups(ids).tolist()) == {ids[0]}
    assert store.decode_groups([ids[0] - 1])[0] < ids[0]
    assert store.decode_groups([ids[-1] + 1]).tolist() == [ids[-1] + 1]


def test_videos_opened_again_and_again_give_the_same_frames(store, sample_folder, monkeypatch):
    again = cache_builder.open_videos(sample_folder.path, size=SIZE, max_open=1)
    opened = []

    def note_how(path, relative_path, *, decodes_nothing, hwaccel=None):
        opened.append((relative_path, decodes_nothing))
        return open_container(path, relative_path, decodes_nothing=decodes_nothing)

    draw = random.Random(3)
    ids = [draw.randrange(len(store)) for _ in range(60)]
    expected = store.read_frames(ids)
    monkeypatch.setattr("cache_builder.video.decode.backend.open_container", note_how)
    for frame_id, frame in zip(ids, expected, strict=True):
        np.testing.assert_array_equal(again.read_frames([frame_id])[0], frame)
    codec_of = {facts.path: facts.codec for facts in store.facts_of_videos}
    for name, decodes_nothing in opened:
        assert decodes_nothing == (codec_of[name] == "h264")


def test_several_threads_read_the_same(store):
    draw = random.Random(2)
    requests = [[draw.randrange(len(store)) for _ in range(6)] for _ in range(24)]
    expected = [store.read_frames(ids) for ids in requests]
    with ThreadPoolExecutor(4) as pool:
        for frames, wanted in zip(pool.map(store.read_frames, requests), expected, strict=True):
            np.testing.assert_array_equal(frames, wanted)


def test_pickled_and_forked_stores_read_the_same(store):
    ids = [3, 100, 200, len(store) - 1]
    expected = store.read_frames(ids)
    copy = pickle.loads(pickle.dumps(store))
    np.testing.assert_array_equal(copy.read_frames(ids), expected)
    assert copy.fingerprint == store.fingerprint
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    children = [context.Process(target=lambda: queue.put(store.read_frames(ids).tobytes())) for _ in range(2)]
    for child in children:
        child.start()
    for _ in children:
        np.testing.assert_array_equal(store.read_frames(ids), expected)
        assert queue.get(timeout=60) == expected.tobytes()
    for child in children:
        child.join()


def num_open_files(folder: Path) -> int:
    links = list(Path("/proc/self/fd").iterdir())
    return sum(os.path.realpath(link).startswith(str(folder)) for link in links)


def test_only_so_many_videos_stay_open(tmp_path):
    tiny_folder(tmp_path, simple_specs(6, num_frames=4))
    store = cache_builder.open_videos(tmp_path, size=SIZE, max_open=2)
    assert num_open_files(tmp_path) == 0
    frames = store.read_frames(range(len(store)))
    assert num_open_files(tmp_path) == 2
    store.close()
    assert num_open_files(tmp_path) == 0
    with store:
        np.testing.assert_array_equal(store.read_frames(range(len(store))), frames)
        assert num_open_files(tmp_path) == 2
    assert num_open_files(tmp_path) == 0


def test_fewer_videos_stay_open_where_their_decoders_hold_much(tmp_path, monkeypatch):
    tiny_folder(tmp_path, simple_specs(4, num_frames=4))
    facts = cache_builder.open_videos(tmp_path, size=SIZE).facts_of_videos[0]
    for max_idle_bytes, num_kept in ((30 * facts.width * facts.height, 2), (1, 1)):
        monkeypatch.setattr(live_store_module.LiveStore, "_max_idle_bytes", max_idle_bytes)
        store = cache_builder.open_videos(tmp_path, size=SIZE)
        store.read_frames(range(len(store)))
        assert num_open_files(tmp_path) == num_kept
        store.close()


def test_a_video_that_is_not_what_its_marks_say_is_decoded_in_full(tmp_path, monkeypatch):
    spec = tiny_video(tmp_path, num_frames=24, num_b_frames=3)
    store = cache_builder.open_videos(tmp_path, size=SIZE)
    expected, _ = convert_all(spec.path, store, 0)
    # As if pictures marked as no reference were needed after all: the wanted frame never comes out.
    real = live_store_module.VideoReader.decode_sparsely
    calls = []

    def lose_frames(reader, first_packet, wanted):
        calls.append(wanted)
        return real(reader, first_packet, [first_packet])

    monkeypatch.setattr(live_store_module.VideoReader, "decode_sparsely", lose_frames)
    for number in (5, 17):
        np.testing.assert_array_equal(store.read_frames([number])[0], expected[number])
    assert len(calls) == 1


def test_unreadable_videos_keep_their_row(tmp_path):
    tiny_folder(tmp_path, simple_specs(3, num_frames=4))
    write_text(tmp_path / "00a.mp4")
    store = cache_builder.open_videos(tmp_path, size=SIZE)
    assert store.shard_sizes.tolist() == [4, 0, 7, 10]
    assert sorted(set(store.index["video_id"].tolist())) == [0, 2, 3]
    assert isinstance(store.facts_of_videos[1], VideoError)
    assert store.facts_of_videos[2].path == "01.mp4"
    assert [read_frame(frame) for frame in store.read_frames([0, 4])] == [(0, 0), (1, 0)]


def test_the_fingerprint_tells_geometry_and_content_apart(tmp_path):
    tiny_folder(tmp_path, simple_specs(2, num_frames=4))
    plain = cache_builder.open_videos(tmp_path, size=SIZE).fingerprint
    assert cache_builder.open_videos(tmp_path, size=SIZE).fingerprint == plain
    assert cache_builder.open_videos(tmp_path, size=SIZE, resize="pad").fingerprint != plain
    assert cache_builder.open_videos(tmp_path, size=SIZE, crop_aspect=(4, 3)).fingerprint != plain
    (tmp_path / "00.mp4").rename(tmp_path / "02.mp4")
    assert cache_builder.open_videos(tmp_path, size=SIZE).fingerprint != plain


def test_the_scan_cache_makes_opening_instant(tmp_path, monkeypatch):
    folder = tmp_path / "videos"
    tiny_folder(folder, simple_specs(2, num_frames=4, suffix=".avi"))
    first = cache_builder.open_videos(folder, size=SIZE, scan_cache=tmp_path / "scan.cache")
    monkeypatch.setattr("cache_builder.folder_scan.scan_cache.ScanJob", None)
    monkeypatch.setattr("cache_builder.folder_scan.scan_cache.CountJob", None)
    again = cache_builder.open_videos(folder, size=SIZE, scan_cache=tmp_path / "scan.cache")
    np.testing.assert_array_equal(again.read_frames([3, 9]), first.read_frames([3, 9]))


def test_no_videos(tmp_path):
    with pytest.raises(InputFolderError, match="holds no video"):
        cache_builder.open_videos(tmp_path)


def test_damage_decodes_as_from_the_start_of_the_units_of_a_build(tmp_path):
    spec = tiny_video(tmp_path, path=Path("v.mp4"), num_frames=60, gop_size=10)
    damage_file(spec.path, start=0.55, num_bytes=40)
    store = cache_builder.open_videos(tmp_path, size=SIZE)
    expected, _ = convert_all(spec.path, store, 0)
    if len(expected) != len(store):
        pytest.skip("the decoder dropped a damaged frame")
    for number in range(59, -1, -3):
        np.testing.assert_array_equal(store.read_frames([number])[0], expected[number])


def test_a_video_that_decodes_to_other_frames_than_told_is_an_error(tmp_path):
    spec = tiny_video(tmp_path, path=Path("v.mp4"), codec="mjpeg", pixel_format="yuvj420p", num_frames=9)
    store = cache_builder.open_videos(tmp_path, size=SIZE)
    with av.open(str(spec.path)) as container:
        packet = list(container.demux(video=0))[4]
        position, size = packet.pos, packet.size
    content = bytearray(spec.path.read_bytes())
    content[position : position + size] = bytes(size)
    spec.path.write_bytes(content)
    assert store.read_frames([3]).shape == (1, SIZE, SIZE, 3)
    with pytest.raises(VideoError, match=r"^v\.mp4: damaged: near frame . it decodes to other frames"):
        store.read_frames([4])


def test_a_video_that_is_gone_is_an_error(tmp_path):
    tiny_folder(tmp_path, simple_specs(2, num_frames=4))
    store = cache_builder.open_videos(tmp_path, size=SIZE)
    (tmp_path / "01.mp4").unlink()
    store.read_frames([0])
    with pytest.raises(VideoError, match=r"^01\.mp4: cannot be opened: No such file"):
        store.read_frames([5])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"decode_all": "no"}, "decode_all must be True or False, found 'no'"),
        ({"max_open": 0}, "max_open must be 1 or more, found 0"),
        ({"workers": 0}, "workers must be 1 or more, found 0"),
        ({"workers": 1.0}, "workers must be a whole number, found 1.0"),
        ({"size": 0}, "size must be 1 or more, found 0"),
        ({"size": "large"}, r"size must be a whole number, \(height, width\) or 'native', found 'large'"),
        ({"size": 32.0}, "size must be a whole number, found 32.0"),
        ({"size": (32, "40")}, "size must be a whole number, found '40'"),
    ],
)
def test_open_videos_names_the_argument_that_is_wrong(sample_folder, options, message):
    with pytest.raises(ValueError, match=message):
        cache_builder.open_videos(sample_folder.path, **options)


def test_open_videos_takes_numpys_integers(tmp_path):
    tiny_video(tmp_path, num_frames=3)
    numbers = {"size": np.int64(32), "max_open": np.int32(2), "workers": np.int64(1)}
    assert cache_builder.open_videos(tmp_path, **numbers).frame_shape == (32, 32, 3)
