"""What an interrupted build left is kept for the same plan of the same generation, and removed for any other."""

import numpy as np
import pytest

from cache_builder.findings import SOURCE_DTYPE
from cache_builder.jobs import PlanNames
from cache_builder.plan import ShardPlan
from cache_builder.stages import Workspace, write_plan

FIRST, SECOND = "gen-0000000000000000", "gen-1111111111111111"


@pytest.fixture
def workspace(tmp_path):
    workspace = Workspace(tmp_path / "cache")
    workspace.claim({"of": "this"}, overwrite=False)
    return workspace


def plan_of(workspace, folder, *, path="a.mp4"):
    write_plan(
        workspace.places,
        ShardPlan(source_of_frame=np.arange(4), shard_sizes=np.array([2, 2])),
        folder=folder,
        container="wds",
        sources=np.zeros(4, SOURCE_DTYPE),
        names=PlanNames(videos=[path], units=["unit"]),
    )


def leave_behind(workspace, folder):
    """What a build that was killed may leave: shards, a half-written one, and files that come after the shards."""
    names = ("shards/000000.tar", "shards/000001.tar.tmp", "index.npy", "generation.json")
    for name in (*(f"{folder}/{name}" for name in names), "manifest-0000.json"):
        (workspace.cache / name).parent.mkdir(exist_ok=True, parents=True)
        (workspace.cache / name).write_bytes(b"")
    (workspace.receipts / "000000.json").write_bytes(b"")


def left(workspace):
    return sorted(
        path.relative_to(workspace.building).as_posix()
        for folder in (workspace.cache, workspace.receipts)
        for path in folder.rglob("*")
        if path.is_file()
    )


def test_shards_of_the_same_plan_are_kept_and_all_that_comes_after_them_is_not(workspace):
    plan_of(workspace, FIRST)
    leave_behind(workspace, FIRST)
    plan_of(workspace, FIRST)
    assert left(workspace) == [f"cache/{FIRST}/shards/000000.tar", "receipts/000000.json"]


@pytest.mark.parametrize(("folder", "path"), [(SECOND, "a.mp4"), (FIRST, "b.mp4")])
def test_of_another_generation_or_plan_nothing_is_kept(workspace, folder, path):
    """The generation is another one where a video changed between scan and decoding."""
    plan_of(workspace, FIRST)
    leave_behind(workspace, FIRST)
    plan_of(workspace, folder, path=path)
    assert left(workspace) == []
    assert [entry.name for entry in workspace.cache.iterdir()] == [folder]
