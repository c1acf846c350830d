"""`make cache` ends with exit code 0 if the cache exists, and with an error if it does not."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.commands import SMALL
from tests.support.videos.tiny_videos import tiny_video, truncate_file

REPOSITORY = Path(__file__).parents[2]

if shutil.which("make") is None:
    pytest.skip("no make here", allow_module_level=True)


def make_cache(programs, videos, arguments=""):
    return subprocess.run(
        [
            *("make", "--no-print-directory", "-C", REPOSITORY, "-o", ".venv/.ready", "cache"),
            *(f"BIN={programs}", f"VIDEOS={videos}", f"ARGS={arguments}"),
        ],
        capture_output=True,
        text=True,
    )


@pytest.fixture
def builder_that(tmp_path):
    """A folder with a `cache-build` that prints and ends as the test demands."""

    def write(*, stdout, code):
        program = tmp_path / "bin" / "cache-build"
        program.parent.mkdir()
        program.write_text(f"#!/bin/sh\nprintf '%s' '{stdout}'\necho said: \"$@\" >&2\nexit {code}\n")
        program.chmod(0o755)
        return program.parent

    return write


@pytest.mark.parametrize(
    ("stdout", "code", "ends_with"),
    [
        ("x.cache: built", 0, 0),
        ("Not whole:\n  100% of it\nx.cache: built", 1, 0),
        ("", 1, 2),
        ("", 2, 2),
        ("x.cache: built", 3, 2),
        ("", 130, 2),
    ],
)
def test_a_finished_build_is_no_error_and_any_other_is(builder_that, stdout, code, ends_with):
    done = make_cache(builder_that(stdout=stdout, code=code), "a folder", "--size 64")
    assert done.returncode == ends_with
    assert ("Error" in done.stderr) == bool(ends_with)
    assert ends_with == 0 or f"Error {code}" in done.stderr
    assert stdout in done.stdout
    assert "said: a folder --size 64\n" in done.stderr


def test_without_videos_it_says_what_to_give():
    done = make_cache("nowhere", "")
    assert done.returncode == 2 and "usage: make cache VIDEOS=dir/" in done.stdout


def test_the_real_builder_prints_a_report_only_of_a_finished_cache(tmp_path):
    tiny_video(tmp_path / "videos", path=Path("whole.mp4"), num_frames=5)
    truncate_file(tiny_video(tmp_path / "videos", path=Path("cut.avi"), num_frames=40).path, 0.7)
    programs, arguments = Path(sys.executable).parent, " ".join(SMALL)
    failed = make_cache(programs, tmp_path / "videos", arguments)
    assert failed.returncode == 2 and "Error 1" in failed.stderr and "cut.avi" in failed.stderr
    assert not (tmp_path / "videos.cache").exists()
    skipped = make_cache(programs, tmp_path / "videos", f"{arguments} --on-error skip")
    assert skipped.returncode == 0 and "Error" not in skipped.stderr
    assert "cut.avi" in skipped.stdout and "videos.cache: built" in skipped.stdout
    # The cache is there, and yet this stops: what decides is what was built now.
    stopped = make_cache(programs, tmp_path / "videos", f"{arguments} --seed 1 --overwrite")
    assert stopped.returncode == 2 and "Error 1" in stopped.stderr
