"""`cache-compact`: what it prints, and its exit codes."""

import pytest

from cache_builder.cli import cache_compact
from cache_builder.compaction import CompactionReport, compact, compaction_lines
from frame_store.manifest import read_manifest, read_tree
from tests.support.caches.made_generations import write_grown
from tests.support.commands import run
from tests.support.executors.in_process_pool import InProcessPool


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(compact, "WorkerPool", lambda num_workers: InProcessPool())
    return write_grown(tmp_path / "cache", sizes_of_generations=[(2,)] * 17)


def test_it_says_what_it_would_do_what_it_does_and_what_was_freed(cache):
    planned = run(cache, "--dry-run", command=cache_compact)
    assert planned.exit_code == 0
    assert "generations 0 to 9 would be joined: 20 frames, " in planned.stdout
    assert f"{cache}: 17 -> 8 generations, " in planned.stdout
    assert read_manifest(cache).version == 16
    done = run(cache, command=cache_compact)
    assert done.exit_code == 0
    assert "generations 0 to 9 were joined: 20 frames, " in done.stdout
    assert "10 superseded folders with " in done.stdout
    assert "cache-compact --remove-superseded removes what no reader has open" in done.stdout
    freed = run(cache, "--all", "--remove-superseded", command=cache_compact)
    assert f"{cache}: 8 -> 1 generation, " in freed.stdout
    assert f"{cache}: 18 folders removed, " in freed.stdout
    assert "superseded folder" not in freed.stdout


def test_many_generations_that_stay_get_a_hint():
    report = CompactionReport(
        output="c",
        is_dry_run=False,
        num_generations_before=17,
        num_generations=17,
        joins=[],
        seconds=0.0,
        removed=[],
        in_use=[],
        superseded=[],
    )
    hint = "c: 17 generations; more than 16 are worth joining: cache-compact, or cache-compact --all"
    assert compaction_lines(report) == ["c: 17 generations, none to join", hint]


def test_exit_codes(cache, tmp_path):
    assert run(tmp_path / "none", command=cache_compact).exit_code == 2
    assert run(cache, "--workers", "0", command=cache_compact).exit_code == 2
    tree = read_tree(cache).generations[0]
    shard = tree.path / tree.generation.shards[0].name
    shard.write_bytes(shard.read_bytes()[:-1])
    damaged = run(cache, "--all", command=cache_compact)
    assert damaged.exit_code == 1
    assert f"{shard}: frame 0: the shard is damaged" in damaged.stderr
    assert read_manifest(cache).version == 16
