"""One job that runs twice at once: on a node that is thought lost, and where it was submitted again."""

import numpy as np
import pytest

from cache_builder.jobs import UnitSpill, empty_receipt, finished_shard
from cache_builder.plan import DecodeUnit
from cache_builder.stages import Workspace
from frame_store.files import write_file
from frame_store.names import INDEX_DTYPE

IDENTITY = {"of": "this build"}


@pytest.fixture
def workspace(tmp_path):
    found = Workspace(tmp_path / "cache")
    found.claim(IDENTITY, overwrite=False)
    return found


def finish(workspace, meanwhile=lambda: None):
    """Write a shard; `meanwhile` is called when half of it is written."""

    def write(file):
        file.append(b"one half, ")
        meanwhile()
        file.append(b"the other")
        return np.zeros(1, INDEX_DTYPE), file.seal(num_frames=1)

    return finished_shard(
        workspace.cache / "s.tar", receipts=workspace.receipts, work=workspace.work, shard_id=0, write=write
    )


def test_a_shard_that_is_written_twice_at_once_is_whole(workspace):
    other = []
    receipt = finish(workspace, meanwhile=lambda: other.append(finish(workspace)))
    assert other == [receipt]
    assert (workspace.cache / "s.tar").read_bytes() == b"one half, the other"
    assert not [*workspace.work.iterdir()]


def test_what_a_lost_node_leaves_is_not_in_the_cache_and_goes(workspace):
    def die():
        (leftover,) = workspace.work.iterdir()
        (workspace.work / "of-a-killed-one.tmp").write_bytes(leftover.read_bytes())
        assert not [*workspace.cache.iterdir()]

    finish(workspace, meanwhile=die)
    (workspace.spill / "unit.1a2b3c4d.tmp").write_bytes(b"frames")
    workspace.claim(IDENTITY, overwrite=False)
    assert not [*workspace.work.iterdir(), *workspace.spill.iterdir()]
    assert (workspace.cache / "s.tar").exists()


def test_frames_of_a_finished_unit_stay_while_it_is_decoded_again(workspace):
    receipt = empty_receipt(DecodeUnit(video_id=0, first_packet=0, end_packet=1), death="")
    late, early = (UnitSpill(workspace.spill, "unit") for _ in range(2))
    early.written_path.write_bytes(b"frames")
    early.write_receipt(receipt)
    late.written_path.write_bytes(b"fra")
    assert early.frames_path.read_bytes() == b"frames"
    late.close()
    assert sorted(path.name for path in workspace.spill.iterdir()) == ["unit.frames", "unit.receipt"]


def test_two_processes_of_one_number_write_one_small_file(tmp_path, monkeypatch):
    monkeypatch.setattr("os.getpid", lambda: 7)
    fsync, calls = __import__("os").fsync, []

    def fsynced(number):
        calls.append(number)
        if len(calls) == 1:
            write_file(tmp_path / "names.json", b"same")
        fsync(number)

    monkeypatch.setattr("os.fsync", fsynced)
    write_file(tmp_path / "names.json", b"same")
    assert [path.name for path in tmp_path.iterdir()] == ["names.json"]
