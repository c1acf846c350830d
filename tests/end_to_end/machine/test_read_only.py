"""A cache on a read-only mount: readers work, and commands that would write report why they cannot."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cache_builder.cli.exit_status import EXIT_WRONG_COMMAND
from tests.support.caches.tree import generation_folder
from tests.support.commands import SMALL, digests, run
from tests.support.videos.tiny_videos import simple_specs, tiny_folder

ALONE = ("unshare", "--mount", "sh", "-c")
MOUNTED = 'mount --bind "$1" "$1" && mount -o remount,ro,bind "$1" && shift && exec "$@"'
CODE = """
import contextlib, io, json, sys
import numpy as np
from cache_builder import cli
from frame_store import open_store
from loader import FrameLoader

ended = []
for name, *arguments in json.loads(sys.argv[1]):
    if name == "FrameLoader":
        batches = list(FrameLoader(open_store(arguments[0]), batch_size=5, remainder="uneven"))
        ended.append([sum(len(batch.frames) for batch in batches), "", ""])
        continue
    out, error = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(error):
        try:
            getattr(cli, name)(arguments)
        except SystemExit as end:
            ended.append([end.code or 0, out.getvalue(), error.getvalue()])
print(json.dumps(ended))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Skips where this process may mount nothing."""
    if sys.platform != "linux" or shutil.which("unshare") is None:
        pytest.skip("a read-only mount of one's own takes Linux and unshare")
    folder = tmp_path_factory.mktemp("read_only")
    (folder / "mounted").mkdir()
    tried = subprocess.run(
        [*ALONE, MOUNTED, "sh", folder / "mounted", "true"], capture_output=True, text=True
    )
    if tried.returncode:
        pytest.skip(f"this process may not mount anything: {tried.stderr.strip()}")
    return folder


def run_on_read_only(folder: Path, *commands: list[str]) -> list[list]:
    """What each command of the builder's ended with: its exit code, stdout and stderr."""
    python = [sys.executable, "-c", CODE, json.dumps(commands)]
    done = subprocess.run(
        [*ALONE, MOUNTED, "sh", folder, *python], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_readers_work_and_writers_say_why_they_do_not(folder):
    pytest.importorskip("torch")
    videos = str(tiny_folder(folder / "videos", simple_specs(2, num_frames=12)).path)
    mounted = folder / "mounted"
    sound, rotten = mounted / "cache", mounted / "rotten"
    small = [str(argument) for argument in SMALL]
    assert run("--videos", videos, "--out", sound, *small).exit_code == 0
    shutil.copytree(sound, rotten)
    shard = next((generation_folder(rotten) / "shards").iterdir())
    shard.write_bytes(shard.read_bytes()[:-1] + b"x")
    before = digests(mounted)
    readers = [["FrameLoader", str(sound)], ["cache_info", str(sound)], ["cache_verify", str(sound)]]
    finding = [["cache_verify", str(rotten)]]
    writers = [
        *(["cache_verify", str(cache), "--repair", "--videos", videos] for cache in (sound, rotten)),
        ["cache_build", "--videos", videos, "--out", str(sound), *small],
        ["cache_build", "--videos", videos, "--out", str(sound), "--size", "8", "--overwrite"],
        ["cache_build", "--videos", videos, "--out", str(mounted / "new"), *small],
    ]
    ended = run_on_read_only(mounted, *readers, *finding, *writers)
    loaded, info, verified, found = ended[:4]
    assert loaded[0] == 12 + 15
    assert info[0] == 0 and "27" in info[1]
    assert verified[0] == 0 and "sound" in verified[1]
    assert found[0] == 1 and shard.name in found[1]
    for (_, *arguments), (code, _, error) in zip(writers, ended[4:], strict=True):
        assert code == EXIT_WRONG_COMMAND, arguments
        assert "cannot be written" in error and "Read-only file system" in error
        assert "Traceback" not in error
    assert digests(mounted) == before
