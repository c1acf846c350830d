"""A build between URLs needs no folder that its machine and those of its jobs share."""

import tempfile
from typing import Any

import pytest

from cache_builder.build import pipeline
from frame_store.remote import ObjectClient, RemoteUrl
from tests.support.commands import SMALL, run
from tests.support.executors.elsewhere import ElsewherePool
from tests.support.object_stores.listing import files_at, keys_at, objects_at


@pytest.fixture
def machines(tmp_path, monkeypatch):
    """Folders for temporary files: of this machine, and of that of the jobs."""
    folders = [tmp_path / "driver", tmp_path / "node"]
    for folder in folders:
        folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folders[0]))
    monkeypatch.setattr(ElsewherePool, "hidden", folders[0], raising=False)
    monkeypatch.setattr(ElsewherePool, "temporary", folders[1], raising=False)
    return folders


def test_jobs_on_other_machines_read_no_path_of_this_one(
    simple_folder, tmp_path, bucket_folder, machines, monkeypatch
):
    flags = [*SMALL, "--frames-per-shard", "20"]
    assert run("--videos", simple_folder.path, "--out", tmp_path / "local", *flags).exit_code == 0
    videos = ObjectClient(RemoteUrl.of(f"{bucket_folder}/videos"))
    for path in sorted(simple_folder.path.iterdir()):
        videos.put_file(path.name, path)
    monkeypatch.setattr(pipeline, "WorkerPool", {(Any, Any): ElsewherePool})
    result = run(
        *["--videos", f"{bucket_folder}/videos", "--out", f"{bucket_folder}/c", *flags],
        *["--scratch", f"{bucket_folder}/scratch", "--stage", tmp_path / "stage"],
    )
    assert result.exit_code == 0, result.stderr
    assert objects_at(f"{bucket_folder}/c") == files_at(tmp_path / "local")
    assert not keys_at(f"{bucket_folder}/scratch")
    assert not [*machines[1].rglob("*.tmp")]
