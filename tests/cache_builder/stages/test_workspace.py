"""What lies beside an output: our own files are replaced, those of others never."""

import os

import pytest

from cache_builder.cli.exit_status import EXIT_WRONG_COMMAND
from cache_builder.errors import OutputError
from cache_builder.stages.workspace import Workspace
from tests.support.commands import SMALL, names_beside, run


@pytest.mark.parametrize("name", ["cache.report.json", "cache.scan"])
@pytest.mark.parametrize(
    "content",
    [
        b'{"output": "mine", "status": "built"}',
        b'{\n "output": "mine",\n "status": "done",\n "x": 1\n}',
        b"\x1f\x8b" + b"x" * 70_000,
    ],
)
def test_files_of_others_where_a_build_writes_its_own_stay(simple_folder, tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    for flags in ([], ["--overwrite"]):
        result = run("--videos", simple_folder.path, "--out", tmp_path / "cache", *SMALL, *flags)
        assert result.exit_code == EXIT_WRONG_COMMAND
        assert f"{tmp_path / name}: is not the " in result.stderr and "move it away" in result.stderr
    assert (tmp_path / name).read_bytes() == content
    assert names_beside(tmp_path / "cache") == [name]


def test_what_is_no_file_is_none_of_a_build(tmp_path):
    os.mkfifo(tmp_path / "pipe.scan")  # nobody waits for it
    (tmp_path / "link.report.json").symlink_to("nowhere")
    for name in ("pipe.scan", "link.report.json"):
        with pytest.raises(OutputError, match=f"{name}: is not the "):
            Workspace(tmp_path / name.partition(".")[0]).require_own_files()


def test_own_files_are_replaced_whatever_became_of_them(simple_folder, tmp_path):
    workspace = Workspace(tmp_path / "cache")
    assert run("--videos", simple_folder.path, "--out", workspace.output, *SMALL).exit_code == 0
    for path in (workspace.report, workspace.scan_cache):
        content = path.read_bytes()
        for damaged in (content, content[:-20], content[:-1] + b"x", b""):
            path.write_bytes(damaged)
            workspace.require_own_files()


def test_only_what_a_killed_build_left_is_removed(tmp_path):
    workspace = Workspace(tmp_path / "cache")
    for name in ("cache.scan.99.tmp", "cache.report.json.1.tmp", "cache.scan.old.tmp", "cache.scan.1.2.tmp"):
        (tmp_path / name).touch()
    with workspace.locked(if_not_writable="give another"):
        assert names_beside(workspace.output) == ["cache.lock", "cache.scan.1.2.tmp", "cache.scan.old.tmp"]
