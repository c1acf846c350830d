"""Videos that are stretches of files: each frame equals that of the file, and a file is scanned and opened once."""

import multiprocessing
import pickle
import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from frame_cache_tools.samples.numbered_videos import NumberedVideo, read_frame

import cache_builder
from cache_builder.errors import VideoError
from cache_builder.live import store as live_store_module
from cache_builder.live.footage import place_videos, scan_files
from cache_builder.live.store import LiveStore
from cache_builder.sources import SourceVideo
from cache_builder.video.picture import FrameGeometry
from tests.cache_builder.live.test_store import num_open_files
from tests.support.executors.in_process_pool import InProcessPool
from tests.support.lerobot.stretches import episode
from tests.support.videos.tiny_videos import damage_file, tiny_video, write_text

SIZE = 64
STRETCHES = [(0, 3), (3, 14), (25, 26), (14, 21), (30, 36)]
"""First and end frame of each episode: most begin inside a GOP, they are not in the order of the file, and between
them lie frames of none."""
FILES = [
    NumberedVideo(path=Path("b_frames.mp4"), num_frames=36, gop_size=8, num_b_frames=3),
    NumberedVideo(path=Path("open_gop.mkv"), num_frames=36, gop_size=8, num_b_frames=3, open_gop=True),
    NumberedVideo(path=Path("hevc.mp4"), num_frames=36, gop_size=5, codec="hevc", num_b_frames=2),
    NumberedVideo(path=Path("av1.mp4"), num_frames=36, gop_size=2, codec="av1"),
    NumberedVideo(path=Path("refresh.ts"), num_frames=36, intra_refresh=True),
]


def open_videos(videos: list[SourceVideo], **options) -> LiveStore:
    scans = scan_files(videos, cache_path=None, pool=InProcessPool())
    geometry = FrameGeometry(height=SIZE, width=SIZE)
    return LiveStore(place_videos(videos, scans), **{"geometry": geometry, "max_open": 4, **options})


def episodes_of(path: Path, stretches=STRETCHES) -> tuple[LiveStore, LiveStore]:
    """The file as one video, and its stretches as videos."""
    whole = cache_builder.open_videos(path, size=SIZE)
    pts = whole.index["pts_seconds"][:]
    return whole, open_videos([episode(path, n, pts[a:b]) for n, (a, b) in enumerate(stretches)])


@pytest.fixture(scope="module")
def two_files(tmp_path_factory):
    """Episodes in two files, and the whole files: (whole, store, file and frame of each id)."""
    folder = tmp_path_factory.mktemp("two")
    paths = [tiny_video(folder, path=Path(f"{n}.mp4"), num_frames=36, gop_size=8).path for n in range(2)]
    whole = cache_builder.open_videos(folder, size=SIZE)
    pts = whole.index["pts_seconds"][:36]
    pieces = [(file, stretch) for stretch in STRETCHES for file in (1, 0)]
    store = open_videos([episode(paths[f], n, pts[a:b]) for n, (f, (a, b)) in enumerate(pieces)])
    return whole, store, np.array([36 * file + frame for file, (a, b) in pieces for frame in range(a, b)])


@pytest.mark.parametrize("spec", FILES, ids=[spec.path.name for spec in FILES])
def test_frames_of_a_stretch_are_those_of_the_file(tmp_path, spec):
    path = tiny_video(tmp_path, **{name: getattr(spec, name) for name in spec.__dataclass_fields__}).path
    whole, store = episodes_of(path)
    frames = [frame for first, end in STRETCHES for frame in range(first, end)]
    expected = whole.read_frames(frames)
    np.testing.assert_array_equal(store.read_frames(range(len(store))), expected)
    draw = random.Random(0)
    ids = [draw.randrange(len(store)) for _ in range(60)]
    for frame_id, frame in zip(ids, store.read_frames(ids), strict=True):
        np.testing.assert_array_equal(frame, expected[frame_id])
    for frame_id in ids[:12]:
        np.testing.assert_array_equal(store[frame_id], expected[frame_id])
    rows = store.rows_of(range(len(store)))
    assert rows["video_id"].tolist() == [n for n, (a, b) in enumerate(STRETCHES) for _ in range(a, b)]
    assert rows["frame_in_video"].tolist() == [frame - a for a, b in STRETCHES for frame in range(a, b)]
    assert rows["pts_seconds"].tolist() == whole.rows_of(frames)["pts_seconds"].tolist()


def test_a_file_is_scanned_and_opened_once(tmp_path, monkeypatch):
    path = tiny_video(tmp_path, num_frames=36).path
    scanned = []
    monkeypatch.setattr(
        "cache_builder.folder_scan.scan_job.scan_video",
        lambda *args, real=cache_builder.folder_scan.scan_job.scan_video, **options: (
            scanned.append(args) or real(*args, **options)
        ),
    )
    pts = np.arange(36) / 25
    store = open_videos([episode(path, n, pts[n : n + 1]) for n in range(36)])
    assert len(scanned) == 1
    opened = []
    real = live_store_module.VideoReader
    monkeypatch.setattr(
        live_store_module, "VideoReader", lambda *args, **options: opened.append(1) or real(*args, **options)
    )
    for frame_id in range(36):
        assert read_frame(store[frame_id])[1] == frame_id
    assert len(opened) == num_open_files(tmp_path) == 1
    store.close()


def test_a_call_decodes_a_gop_once_for_all_episodes_in_it(two_files, monkeypatch):
    _, store, _ = two_files
    calls = []
    real = live_store_module.LiveFile.read
    monkeypatch.setattr(
        live_store_module.LiveFile,
        "read",
        lambda file, wanted, *args: calls.append(wanted) or real(file, wanted, *args),
    )
    store.read_frames(np.arange(len(store))[::-1])
    assert len(calls) == 2
    assert all(wanted == sorted(wanted) for wanted in calls)


def test_groups_say_how_many_frames_are_decoded_before(two_files):
    whole, store, line_of_id = two_files
    ids = np.arange(len(store))
    before = line_of_id - whole.decode_groups(line_of_id)
    np.testing.assert_array_equal(ids - store.decode_groups(ids), before)


def test_episodes_in_the_order_of_the_file_share_the_group_of_a_gop(tmp_path):
    path = tiny_video(tmp_path, num_frames=36, gop_size=8).path
    _, store = episodes_of(path, [(4, 11), (11, 13), (13, 30)])
    groups = store.decode_groups(range(len(store)))
    first_of_gop = [8 * (frame // 8) - 4 for frame in range(4, 30)]  # the first one begins before any id
    assert groups.tolist() == first_of_gop


def test_threads_pickles_and_forks_read_the_same(two_files):
    whole, store, line_of_id = two_files
    draw = random.Random(2)
    requests = [[draw.randrange(len(store)) for _ in range(6)] for _ in range(24)]
    with ThreadPoolExecutor(4) as pool:
        for frames, ids in zip(pool.map(store.read_frames, requests), requests, strict=True):
            np.testing.assert_array_equal(frames, whole.read_frames(line_of_id[ids]))
    copy = pickle.loads(pickle.dumps(store))
    expected = store.read_frames(requests[0])
    np.testing.assert_array_equal(copy.read_frames(requests[0]), expected)
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=lambda: queue.put(store.read_frames(requests[0]).tobytes()))
    child.start()
    assert queue.get(timeout=60) == expected.tobytes()
    child.join()


def test_threads_keep_a_decoder_each_of_the_file_that_they_share(two_files, monkeypatch):
    _, store, _ = two_files
    store.close()
    opened = []
    real = store._make_file
    monkeypatch.setattr(store, "_make_file", lambda file: opened.append(file) or real(file))
    store._open = store._open_none()
    files = store._open_files()
    for _ in range(3):
        with files.borrow(0), files.borrow(0):
            pass
    assert opened == [0, 0]
    store.close()


def test_what_cannot_be_cut_keeps_its_row(tmp_path):
    path = tiny_video(tmp_path, num_frames=20).path
    write_text(tmp_path / "broken.mp4")
    pts = np.arange(40) / 25
    videos = [
        episode(path, 0, pts[:8]),
        episode(path, 1, pts[15:25]),
        episode(tmp_path / "broken.mp4", 2, pts[:3]),
        episode(tmp_path / "never.mp4", 3, pts[:3], problem="its length is not known"),
        episode(path, 4, pts[8:12]),
    ]
    store = open_videos(videos)
    assert store.shard_sizes.tolist() == [8, 0, 0, 0, 4]
    assert [video.verdict for video in store.videos] == [None, *["unreadable"] * 3, None]
    reasons = [str(facts) for facts in store.facts_of_videos if isinstance(facts, VideoError)]
    assert reasons[0].startswith(
        "episode_000001: tiny.mp4: frame 5 of 10 is expected at 0.800000 s, and its file ends with a frame at 0.76"
    )
    assert reasons[1].startswith("episode_000002: broken.mp4: ")
    assert reasons[2] == "episode_000003: its length is not known"
    assert [read_frame(frame)[1] for frame in store] == list(range(12))


def test_the_table_of_videos_tells_the_episodes(tmp_path):
    path = tiny_video(tmp_path, num_frames=36).path
    whole, store = episodes_of(path)
    assert store.videos.column("path").tolist() == [f"episode_{n:06d}" for n in range(5)]
    assert store.videos.column("num_frames_decoded").tolist() == [b - a for a, b in STRETCHES]
    np.testing.assert_allclose(store.videos.column("duration_seconds"), [(b - a) / 25 for a, b in STRETCHES])
    assert {video.sha256 for video in store.videos} == {whole.videos[0].sha256}
    assert store.copies == []


def test_the_fingerprint_tells_stretches_apart(tmp_path):
    path = tiny_video(tmp_path, num_frames=36).path
    _, store = episodes_of(path)
    _, same = episodes_of(path)
    _, other = episodes_of(path, STRETCHES[1:])
    shifted = [(first, end) if first else (first + 22, end + 22) for first, end in STRETCHES]
    _, moved = episodes_of(path, shifted)
    assert store.fingerprint == same.fingerprint
    assert len({store.fingerprint, other.fingerprint, moved.fingerprint}) == 3


def test_an_error_names_file_episode_and_camera(tmp_path):
    path = tiny_video(tmp_path, path=Path("v.mp4"), codec="mjpeg", pixel_format="yuvj420p", num_frames=9).path
    _, store = episodes_of(path, [(0, 4), (4, 9)])
    store.close()
    damage_file(path, start=0.2, num_bytes=path.stat().st_size // 2)
    with pytest.raises(
        VideoError, match=r"^v\.mp4: .*; wanted were frames of episode_000001 of camera 'front'$"
    ):
        store.read_frames(range(4, 9))
