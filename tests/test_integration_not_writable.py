"""Where nothing can be written beside the videos, the error names `--out`. Faults are injected, as root may write."""

import errno
import os
from pathlib import Path

import pytest

from cache_builder.build import build_cache
from cache_builder.cli import cache_verify
from cache_builder.command_line import EXIT_WRONG_COMMAND
from cache_builder.config import BuildSettings, resolve
from cache_builder.errors import OutputError
from tests.support.commands import SMALL, run
from tests.support.tiny_videos import simple_specs, tiny_folder

REASONS = {
    errno.EROFS: "Read-only file system",
    errno.EACCES: "Permission denied",
    errno.EPERM: "not permitted",
}


@pytest.fixture
def share(tmp_path):
    """A folder of videos on a share."""
    return tiny_folder(tmp_path / "share" / "videos", simple_specs(1)).path


def forbid(monkeypatch, folder, number, *, may_lock=False):
    """Have the system refuse to create anything right below `folder`, but for the lock where `may_lock`."""
    really_open, really_mkdir = os.open, os.mkdir

    def is_refused(path):
        is_lock = str(path).endswith(".lock")
        return Path(os.fsdecode(path)).parent == folder and not (may_lock and is_lock)

    def open_(path, flags, *args, **kwargs):
        if isinstance(path, str | bytes | os.PathLike) and flags & os.O_CREAT and is_refused(path):
            raise OSError(number, os.strerror(number), os.fspath(path))
        return really_open(path, flags, *args, **kwargs)

    def mkdir(path, *args, **kwargs):
        if is_refused(path) and not os.path.isdir(path):  # noqa: PTH112
            raise OSError(number, os.strerror(number), os.fspath(path))
        return really_mkdir(path, *args, **kwargs)

    monkeypatch.setattr(os, "open", open_)
    monkeypatch.setattr(os, "mkdir", mkdir)


@pytest.mark.parametrize("number", REASONS)
@pytest.mark.parametrize("may_lock", [False, True], ids=["nothing", "an old lock"])
def test_the_default_output_on_a_read_only_share(share, monkeypatch, tmp_path, number, may_lock):
    forbid(monkeypatch, share.parent, number, may_lock=may_lock)
    result = run(share, *SMALL)
    assert result.exit_code == EXIT_WRONG_COMMAND
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert line.startswith(f"error: {share}.cache: cannot be written: ")
    assert REASONS[number] in line and line.endswith("; give --out a place that can be written")
    assert run(share, *SMALL, "--out", tmp_path / "elsewhere").exit_code == 0


def test_python_gets_its_keyword(share, monkeypatch):
    forbid(monkeypatch, share.parent, errno.EROFS)
    with pytest.raises(OutputError, match="give out a place that can be written"):
        build_cache(share, share.with_name("cache"), *resolve(BuildSettings(size=64, workers=1)))


def test_a_repair_has_no_such_flag(golden_cache_of, monkeypatch):
    cache = golden_cache_of("wds-raw")
    forbid(monkeypatch, cache.parent, errno.EROFS)
    result = run(cache, "--repair", command=cache_verify)
    assert result.exit_code == EXIT_WRONG_COMMAND
    assert "--out" not in result.stderr and "copy the cache to a place that can be" in result.stderr
