"""The folder for downloaded videos: where it is, its bound, and its end."""

import fcntl
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cache_builder.errors import ConfigError, MachineError, VideoChangedError, VideoError
from cache_builder.gpu import DecoderChoice
from cache_builder.plan import DecodeUnit
from cache_builder.settings import BuildSettings, resolve
from cache_builder.sources import SourceVideo
from cache_builder.stages import DecodeStage
from cache_builder.staging import DEFAULT_STAGE_BYTES, StagedObject, StageSettings
from frame_store.errors import ObjectChangedError, ObjectMissingError, ObjectStoreError
from frame_store.remote import BoundedFolder, RemoteObject, RemoteUrl


class FakeClient:
    """One object, of which parts are given; `failure` is raised in place of them."""

    def __init__(self, data, *, failure=None, e_tag='"1"'):
        self.url = RemoteUrl.of("s3://bkt/v")
        self.data, self.failure, self.e_tag = data, failure, e_tag
        self.asked = []

    def get_range(self, key, start, num_bytes, *, e_tag=None):
        assert e_tag == self.e_tag
        if self.failure is not None:
            raise self.failure
        self.asked.append((start, num_bytes))
        return memoryview(self.data)[start : start + num_bytes]

    def get(self, key, *, max_bytes, e_tag=None):
        return bytes(self.get_range(key, 0, max_bytes, e_tag=e_tag))

    def head(self, key):
        return self.found()

    def found(self, **more):
        modified = datetime(2026, 1, 2, tzinfo=UTC)
        values = {
            "key": "../../a.MP4",
            "num_bytes": len(self.data),
            "e_tag": self.e_tag,
            "modified": modified,
        }
        return RemoteObject(**{**values, **more})


def staged(client, tmp_path, *, max_bytes=10**9):
    stage = StageSettings(path=tmp_path, max_bytes=max_bytes).stage_of([])
    return StagedObject.of(client.found(), client, stage)


def test_parts_become_the_file_below_the_folder_whatever_the_key_is(tmp_path):
    data = bytes(range(256)) * (5 * 2**20 // 16)  # ten parts of 8 MB
    client = FakeClient(data)
    with staged(client, tmp_path).at_hand("a") as path:
        assert path.parent == tmp_path / "frame-cache-stage" and path.suffix == ".mp4"
        assert path.read_bytes() == data
    assert sorted(client.asked) == [(start, 2**23) for start in range(0, len(data), 2**23)]
    with staged(client, tmp_path).at_hand("a"):
        assert len(client.asked) == 10  # it is there already


@pytest.mark.parametrize(
    ("failure", "kind", "text"),
    [
        (
            ObjectMissingError("s3://b/a: is not there (404)"),
            VideoError,
            "name: s3://b/a: is not there (404)",
        ),
        (ObjectChangedError("s3://b/a: (412)"), VideoChangedError, "name: s3://b/a: (412)"),
        (ObjectStoreError("s3://b/a: gave up"), MachineError, "downloading 'name': s3://b/a: gave up"),
    ],
)
def test_whose_fault_a_failure_is(tmp_path, failure, kind, text):
    with (
        pytest.raises(kind, match=r".*") as error,
        staged(FakeClient(b"1", failure=failure), tmp_path).at_hand("name"),
    ):
        pass
    assert type(error.value) is kind and str(error.value).startswith(text)
    assert [
        path for path in (tmp_path / "frame-cache-stage").iterdir() if path.suffix in {".mp4", ".part"}
    ] == []


def test_a_video_larger_than_the_folder_is_that_videos_error(tmp_path):
    with pytest.raises(VideoError, match=r"has 12 bytes, and the folder .* may hold 11"):
        staged(FakeClient(b"1" * 12), tmp_path, max_bytes=11).at_hand("name").__enter__()


def test_without_a_tag_size_and_time_tell_that_an_object_was_replaced(tmp_path):
    client = FakeClient(b"12", e_tag=None)
    first = staged(client, tmp_path)
    client.data = b"123"
    with pytest.raises(VideoChangedError, match="was replaced"):
        first.at_hand("name").__enter__()
    client.data, client.e_tag = b"12", 'W/"weak"'  # such a tag cannot be asked for
    assert staged(client, tmp_path).e_tag is None


def test_a_temporary_folder_ends_with_the_build_but_for_what_another_build_holds(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    stage = StageSettings().stage_of(["s3://bkt/v"])
    assert stage.folder.parent == tmp_path and stage.is_temporary
    assert 0 < stage.max_bytes <= DEFAULT_STAGE_BYTES
    assert StageSettings().stage_of(["s3://bkt/w"]).folder != stage.folder
    stage.make()
    assert stage.folder.stat().st_mode & 0o777 == 0o700
    folder = BoundedFolder(stage.folder, max_bytes=100)
    for name in ("a.mp4", "b.mp4"):
        folder.fetched(name, 1, lambda path: path.write_bytes(b"1") and None, waits=True).close()
    with folder.held("a.mp4"):
        stage.remove_if_temporary()
        assert {path.name for path in stage.folder.glob("*.mp4")} == {"a.mp4"}
    part = stage.folder / "c.mp4.9.part"
    part.write_bytes(b"of a killed process")
    with part.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        stage.remove_if_temporary()
        assert part.exists()
    stage.remove_if_temporary()
    assert list(tmp_path.iterdir()) == []


def test_units_of_a_video_that_is_downloaded_follow_one_another(tmp_path):
    units = [
        DecodeUnit(video_id=video, first_packet=first, end_packet=first + 9)
        for video, first in ((1, 9), (0, 9), (0, 0), (1, 0), (2, 0))
    ]
    staged_object = staged(FakeClient(b"1"), tmp_path)
    stage = DecodeStage(
        None,
        files=[SourceVideo(relative_path="a", path=Path("a"), staged=staged_object) for _ in range(3)],
        spill=tmp_path,
        scans=[],
        decoders=DecoderChoice(),
        configs=[],
        on_error="fail",
        progress=print,
    )
    assert "".join(str(unit.video_id) for unit in stage._in_order(units)) == "11002"


@pytest.mark.parametrize(
    ("given", "found"), [("200MB", 200 * 10**6), (7, 7), ("1.5 GiB", 3 * 2**29), (None, None)]
)
def test_the_settings_of_the_stage(given, found, tmp_path):
    _, options = resolve(BuildSettings(stage=str(tmp_path), stage_bytes=given))
    assert options.of_stage == StageSettings(path=tmp_path, max_bytes=found)


@pytest.mark.parametrize("wrong", ["x", "0", "-1", "5 apples", "1iB"])
def test_wrong_numbers_of_bytes(wrong):
    with pytest.raises(ConfigError, match="stage_bytes: must be"):
        resolve(BuildSettings(stage_bytes=wrong))


def test_a_full_disk_and_a_folder_that_cannot_be_made_are_no_fault_of_the_video(tmp_path, monkeypatch):
    client = FakeClient(b"video")
    monkeypatch.setattr("cache_builder.staging.stage._default_bytes", lambda folder: 0)
    with (
        pytest.raises(MachineError, match="too little free space"),
        staged(client, tmp_path, max_bytes=None).at_hand("a"),
    ):
        pass
    (tmp_path / "file").touch()
    with (
        pytest.raises(MachineError, match="cannot be made"),
        staged(client, tmp_path / "file", max_bytes=None).at_hand("a"),
    ):
        pass
