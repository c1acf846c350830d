"""Builds of episodes: stretches of files, filmed by several cameras, stored whole in all of them or in none."""

import hashlib
from dataclasses import replace
from pathlib import Path

import av
import msgspec
import numpy as np
import pytest

from cache_builder.build import making, pipeline, run_build
from cache_builder.errors import OutputError, VideosNotWholeError
from cache_builder.plan import claimed_seconds
from cache_builder.settings import BuildSettings, resolve
from cache_builder.stages import decode
from cache_builder.stages.workspace import local
from cache_builder.video.decode import units
from frame_store import open_store
from frame_store.manifest import read_manifest, read_trees
from frame_store.verify import verify_store
from tests.support.episodes import (
    STATEMENT,
    build,
    changed_video,
    cut_source,
    source_of,
    table_of,
    write_whole,
)
from tests.support.lerobot import CameraSpec, read_picture, write_lerobot

FRONT, WRIST = "observation.images.front", "observation.images.wrist"
LENGTHS = (9, 12, 7, 20)
STRETCHES = [(3, 15), (15, 26), (30, 40)]


def settings(**more):
    return resolve(BuildSettings(**({"size": "native", "workers": 1} | more)))


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    return write_lerobot(
        tmp_path_factory.mktemp("lerobot") / "set",
        cameras=(
            CameraSpec(key=FRONT, gop_size=5, num_b_frames=2),
            CameraSpec(key=WRIST, gop_size=8, width=80, height=48, episodes_per_file=(2, 1)),
        ),
        lengths=LENGTHS,
    )


@pytest.fixture(scope="module")
def wholes(tmp_path_factory):
    """A file a camera, of one recording: episodes of it begin anywhere in a group of pictures."""
    folder = tmp_path_factory.mktemp("wholes")
    return {
        "front": write_whole(folder / "front.mp4", gop_size=12),
        "wrist": write_whole(folder / "wrist.mp4", camera=1, gop_size=7, num_b_frames=0, size=(80, 48)),
    }


def digests(folder):
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def numbers_of(cache):
    """Camera -> (episode, frame) that each picture of the cache shows, in order of ids, and the same by the index."""
    store = open_store(cache)
    shown, indexed = {}, {}
    for name, camera in store.cameras.items():
        ids = np.arange(len(store))
        shown[name] = [read_picture(picture)[1:] for picture in camera.read_frames(ids)]
        rows = camera.rows_of(ids)
        indexed[name] = [*zip(rows["video_id"].tolist(), rows["frame_in_video"].tolist(), strict=True)]
    return shown, indexed


def by_camera(cache):
    return {tree.camera.name: tree.read_videos() for tree in read_trees(cache)}


def test_every_id_is_one_episode_and_frame_in_all_cameras(written, tmp_path):
    report = build(source_of(written), tmp_path / "cache", *settings())
    shown, indexed = numbers_of(tmp_path / "cache")
    assert shown == indexed
    assert sorted(shown[FRONT]) == [
        (episode, frame) for episode, n in enumerate(LENGTHS) for frame in range(n)
    ]
    assert [camera.frame_shape for camera in report.cameras] == [(64, 96, 3), (48, 80, 3)]
    assert report.num_frames == sum(LENGTHS)
    assert not report.not_whole
    assert verify_store(tmp_path / "cache").problems == []


def test_the_first_manifest_names_the_columns_of_all_rows(written, tmp_path):
    build(source_of(written), tmp_path / "cache", *settings())
    manifest = read_manifest(tmp_path / "cache")
    assert (manifest.version, len(manifest.columns), manifest.generations) == (0, 1, [])
    store = open_store(tmp_path / "cache")
    np.testing.assert_array_equal(
        store.columns["index"].gather(np.arange(sum(LENGTHS))), written.columns["index"]
    )
    assert store.columns["action"].dtype == np.float32
    stated = msgspec.to_builtins(store.dataset)
    assert len(stated.pop("sha256")) == 64  # of the statement and all values
    assert stated == STATEMENT


def test_entries_state_their_place_in_the_file(written, tmp_path):
    build(source_of(written), tmp_path / "cache", *settings())
    entries = by_camera(tmp_path / "cache")
    assert [entry.span.first_frame for entry in entries[FRONT]] == [0, 9, 21, 28]
    assert [entry.span.first_frame for entry in entries[WRIST]] == [0, 9, 0, 0]
    assert [entry.num_frames_decoded for entry in entries[FRONT]] == [*LENGTHS]
    assert [entry.findings.start_offset_seconds for entry in entries[FRONT]] == [0.0, 0.9, 2.1, 2.8]
    assert {entry.num_packets for entry in entries[FRONT]} == {48}
    assert not any(entry.notes for of_camera in entries.values() for entry in of_camera)  # none is a copy


@pytest.mark.parametrize(
    "more", [{}, {"stride": 3}, {"fps": 4.0}, {"fps": 30.0}, {"stride": 5, "format": "zarr"}]
)
def test_stride_and_fps_count_from_the_first_frame_of_each_episode(wholes, tmp_path, more):
    build(cut_source(wholes, STRETCHES), tmp_path / "cache", *settings(**more))
    shown, indexed = numbers_of(tmp_path / "cache")
    kept = []
    for number, (first, end) in enumerate(STRETCHES):
        frames = range(0, end - first, more.get("stride", 1))
        if more.get("fps", 10) < 10:  # tick k is at k / 4 s: frames 0, 2.5, 5, 7.5 of ten a second
            frames = sorted({int(tick * 10 / more["fps"]) for tick in range(100)} & set(range(end - first)))
        kept += [(number, frame) for frame in frames]
    assert sorted(indexed["front"]) == kept
    for camera in wholes:
        assert [(0, STRETCHES[e][0] + frame) for e, frame in indexed[camera]] == shown[camera]


def test_episodes_alone_give_the_pixels_of_a_build_of_the_whole_file(wholes, tmp_path):
    raw = settings(format="zarr", encoding="raw", layout="video")
    build(cut_source(wholes, STRETCHES), tmp_path / "cut", *raw)
    build(cut_source(wholes, [(0, 40)]), tmp_path / "whole", *raw)
    cut, whole = open_store(tmp_path / "cut"), open_store(tmp_path / "whole")
    frames = [frame for first, end in STRETCHES for frame in range(first, end)]
    for camera in wholes:
        np.testing.assert_array_equal(
            cut.cameras[camera].read_frames(np.arange(len(cut))), whole.cameras[camera].read_frames(frames)
        )


def test_any_number_of_workers_and_any_interruption_gives_the_same_bytes(written, tmp_path, monkeypatch):
    contents = source_of(written)
    build(contents, tmp_path / "one", *settings())
    expected = digests(tmp_path / "one")
    for workers in (2, 4):
        build(contents, tmp_path / f"w{workers}", *settings(workers=workers))
        assert digests(tmp_path / f"w{workers}") == expected
    # The second camera, the columns and the manifest are where the build stops.
    modules = {"gather": making, "publish_folder": local}
    for number, name in enumerate(("gather", "write_dataset_columns", "sync_tree", "publish_folder")):
        output = tmp_path / f"stopped{number}"
        module = modules.get(name, pipeline)
        real = getattr(module, name)
        calls = []

        def stop(*args, real=real, name=name, calls=calls, **kwargs):
            calls.append(name)
            if name != "gather" or len(calls) > 1:
                raise KeyboardInterrupt
            return real(*args, **kwargs)

        with monkeypatch.context() as patched:
            patched.setattr(module, name, stop)
            with pytest.raises(KeyboardInterrupt):
                build(contents, output, *settings())
        assert not output.exists()
        assert build(contents, output, *settings()).is_resumed
        assert digests(output) == expected
        assert not output.with_name(output.name + ".building").exists()


def shifted(claimed):
    """A wrong guess: every frame a step later than it is, one packet fewer."""
    return replace(claimed, ticks=claimed.ticks + 1024, packets=claimed.packets[1:])


@pytest.mark.parametrize("guess", ["right", "wrong"])
@pytest.mark.parametrize("more", [{}, {"stride": 3}, {"fps": 4.0}])
def test_units_and_wrong_guesses_from_packets_change_no_byte(wholes, tmp_path, monkeypatch, more, guess):
    contents = cut_source(wholes, STRETCHES)
    build(contents, tmp_path / "one", *settings(**more))
    monkeypatch.setattr(units, "MIN_PACKETS_PER_UNIT", 7)
    jobs = []
    real = decode.DecodeStage._queue
    monkeypatch.setattr(
        decode.DecodeStage, "_queue", lambda stage, job: (jobs.append(job.unit), real(stage, job))
    )
    if guess == "wrong":
        of_stage = decode.claimed_frames
        monkeypatch.setattr(decode, "claimed_frames", lambda scan: shifted(of_stage(scan)))
        monkeypatch.setattr(decode, "claimed_seconds", lambda scan: claimed_seconds(scan) + 0.1)
    build(contents, tmp_path / "units", *settings(**more))
    assert len(set(jobs)) >= 3 + 5
    assert (len(jobs) > len(set(jobs))) == (guess == "wrong")
    assert without_fidelity(tmp_path / "units") == without_fidelity(tmp_path / "one")


def without_fidelity(cache):
    """Files of a cache, without what is measured on samples of each unit, and the hashes of that."""
    return {
        name: digest
        for name, digest in digests(cache).items()
        if not name.endswith((".json", "videos.jsonl"))
    }


def late(times):
    """Frame 4 is where the file has none."""
    return times + np.where(np.arange(len(times)) == 4, 0.03, 0.0)


BAD = {
    "late": ({"frame_seconds": late}, "frame 4 of 12 is expected at 1.330000 s, and the nearest frame of its file is "
             "at 1.300000 s: 0.030000 s away"),
    "beyond": ({"frame_seconds": lambda times: times + 100}, "frame 0 of 12 is expected at"),
    "overlap": ({"frame_seconds": lambda times: times - 0.1},
                "it overlaps with episode_000000: both have frames 8 to 8 of"),
    "problem": ({"problem": "is told to be wrong"}, "is told to be wrong"),
    "missing": ({"path": "/nowhere.mp4", "file_path": "nowhere.mp4"},
                "nowhere.mp4: cannot be opened: No such file or directory"),
}  # fmt: skip


@pytest.mark.parametrize("bad", BAD)
def test_an_episode_that_one_camera_does_not_have_is_left_out_in_all(written, tmp_path, bad):
    changes, reason = BAD[bad]
    changes = changes | ({"path": Path(changes["path"])} if "path" in changes else {})
    contents = changed_video(source_of(written), "episode_000001", WRIST, **changes)
    with pytest.raises(VideosNotWholeError) as error:
        build(contents, tmp_path / "cache", *settings())
    assert f"episode_000001 of camera {WRIST}: {reason}" in str(error.value)
    report = build(contents, tmp_path / "cache", *settings(on_error="skip"))
    left_out = {0, 1} if bad == "overlap" else {1}
    kept = [episode for episode in range(4) if episode not in left_out]
    assert {video.path for video in report.not_whole} == {f"episode_{episode:06d}" for episode in left_out}
    shown, indexed = numbers_of(tmp_path / "cache")
    assert shown == indexed
    assert sorted(shown[FRONT]) == [(episode, frame) for episode in kept for frame in range(LENGTHS[episode])]
    entries = by_camera(tmp_path / "cache")
    assert reason in entries[WRIST][1].reason
    assert entries[FRONT][1].reason.startswith(f"left out because of camera {WRIST}: ")
    assert {entries[camera][1].verdict for camera in entries} == {"unreadable"}
    rows = np.concatenate([np.arange(48)[written.rows(episode)] for episode in kept])
    store = open_store(tmp_path / "cache")
    np.testing.assert_array_equal(store.columns["index"].gather(np.arange(len(rows))), rows)
    assert verify_store(tmp_path / "cache").problems == []
    assert build(contents, tmp_path / "cache", *settings(on_error="skip")).status == "already complete"


def test_a_changed_data_set_is_told_by_what_changed(written, tmp_path):
    contents = source_of(written)
    build(contents, tmp_path / "cache", *settings())

    def refusal(changed, **more):
        with pytest.raises(OutputError, match="already holds another cache") as error:
            build(changed, tmp_path / "cache", *settings(**more))
        return str(error.value)

    assert "stride: 1 there, 2 asked for" in refusal(contents, stride=2)
    assert "episode_000003: in the cache, but not" in refusal(source_of(written, episodes=range(3)))
    moved = changed_video(contents, "episode_000002", FRONT, frame_seconds=lambda times: times + 1e-5)
    assert "what the data set states about its episodes has changed" in refusal(moved)
    other = replace(contents.dataset, statement=STATEMENT | {"info": {"fps": 20}})
    assert "what the data set states about its episodes has changed" in refusal(
        replace(contents, dataset=other)
    )
    table = table_of(written)
    table.columns["action"].values[0] += 1
    assert "what the data set states" in refusal(
        replace(contents, dataset=replace(contents.dataset, read_tables=lambda: [table]))
    )
    table.columns["action"].values[0] -= 1
    names = tuple(reversed(contents.cameras))
    swapped = replace(
        contents, cameras=names, videos=[video for name in names for video in contents.videos_of(name)]
    )
    assert f"cameras {FRONT}, {WRIST} there, cameras {WRIST}, {FRONT} asked for" in refusal(swapped)
    assert build(contents, tmp_path / "cache", *settings()).status == "already complete"


def break_packet(path, frame, broken):
    """A copy of a file, in which the packet of a frame is noise."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        packets = sorted(
            (packet for packet in container.demux(stream) if packet.size), key=lambda packet: packet.pts
        )
        place, size = packets[frame].pos, packets[frame].size
    content = bytearray(path.read_bytes())
    noise = np.random.default_rng(0).integers(0, 256, size - 12, np.uint8).tobytes()
    content[place + 12 : place + size] = noise
    broken.write_bytes(bytes(content))
    return broken


def test_damage_counts_in_the_episodes_whose_frames_it_reaches(wholes, tmp_path):
    broken = break_packet(wholes["front"], 28, tmp_path / "front.mp4")  # in the GOP of frames 24 to 35
    damaged = {"front": broken, "wrist": wholes["wrist"]}
    far = build(cut_source(damaged, [(0, 12), (12, 24), (36, 40)]), tmp_path / "far", *settings())
    assert not far.not_whole
    near = cut_source(damaged, STRETCHES)
    with pytest.raises(VideosNotWholeError, match="episode_000002 of camera front") as error:
        build(near, tmp_path / "near", *settings())
    assert "episode_000000" not in str(error.value)
    report = build(near, tmp_path / "near", *settings(on_error="skip"))
    assert [video.verdict for video in report.videos] == ["whole", "whole", "damaged"]
    assert {video.verdict for video in report.cameras[1].videos} == {"whole"}
    (span,) = report.videos[2].findings.damaged_spans
    assert 0 <= span.first_frame <= span.last_frame < 10
    shown, _ = numbers_of(tmp_path / "near")
    assert len(shown["front"]) == sum(end - first for first, end in STRETCHES)


def test_findings_of_an_episode_are_those_of_a_file_that_holds_it_alone(tmp_path):
    camera = CameraSpec(key=FRONT, gop_size=5, num_b_frames=2, draw=still)
    joined = write_lerobot(tmp_path / "joined", cameras=(camera,), lengths=LENGTHS)
    alone = write_lerobot(
        tmp_path / "alone", cameras=(replace(camera, episodes_per_file=(1,)),), lengths=LENGTHS
    )
    build(source_of(joined), tmp_path / "cache", *settings())
    folder = next((tmp_path / "alone" / "videos").iterdir()) / "chunk-000"
    plain = run_build(folder, tmp_path / "plain", *settings())
    assert plain.videos[3].findings.num_frames_duplicate == 11
    for name, videos in (
        ("alone", build(source_of(alone), tmp_path / "one", *settings()).videos),
        ("plain", plain.videos),
    ):
        for episode, other in zip(by_camera(tmp_path / "cache")[FRONT], videos, strict=True):
            of_other = msgspec.structs.replace(
                other.findings, start_offset_seconds=episode.findings.start_offset_seconds
            )
            assert episode.findings == of_other, name
            assert (episode.verdict, episode.notes) == (other.verdict, other.notes)


def still(episode, frame):
    """A picture that stands still from frame 8 on."""
    return np.full((64, 96, 3), 40 * episode + 20 * min(frame, 8) // 2, np.uint8)
