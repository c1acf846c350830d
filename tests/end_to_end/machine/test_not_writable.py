"""Where nothing can be written beside the videos, the error names `--out`. Faults are injected, as root may write."""

import errno

import pytest

from cache_builder.build.pipeline import run_build
from cache_builder.cli import cache_verify
from cache_builder.cli.exit_status import EXIT_WRONG_COMMAND
from cache_builder.errors import OutputError
from cache_builder.settings import BuildSettings, resolve
from tests.support.commands import SMALL, run
from tests.support.faults.not_writable import not_writable
from tests.support.videos.tiny_videos import simple_specs, tiny_folder

REASONS = {
    errno.EROFS: "Read-only file system",
    errno.EACCES: "Permission denied",
    errno.EPERM: "not permitted",
}


@pytest.fixture
def share(tmp_path):
    """A folder of videos on a share."""
    return tiny_folder(tmp_path / "share" / "videos", simple_specs(1)).path


@pytest.mark.parametrize("number", REASONS)
@pytest.mark.parametrize("may_lock", [False, True], ids=["nothing", "an old lock"])
def test_the_default_output_on_a_read_only_share(share, tmp_path, number, may_lock):
    with not_writable(share.parent, number, may_lock=may_lock):
        result = run(share, *SMALL)
        elsewhere = run(share, *SMALL, "--out", tmp_path / "elsewhere")
    assert result.exit_code == EXIT_WRONG_COMMAND
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert line.startswith(f"error: {share}.cache: cannot be written: ")
    assert REASONS[number] in line and line.endswith("; give --out a place that can be written")
    assert elsewhere.exit_code == 0


def test_python_gets_its_keyword(share):
    refused = pytest.raises(OutputError, match="give out a place that can be written")
    with not_writable(share.parent, errno.EROFS), refused:
        run_build(share, share.with_name("cache"), *resolve(BuildSettings(size=64, workers=1)))


def test_a_repair_has_no_such_flag(golden_cache_of):
    cache = golden_cache_of("wds-raw")
    with not_writable(cache.parent, errno.EROFS):
        result = run(cache, "--repair", command=cache_verify)
    assert result.exit_code == EXIT_WRONG_COMMAND
    assert "--out" not in result.stderr and "copy the cache to a place that can be" in result.stderr
