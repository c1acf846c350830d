import os

import pytest

from frame_store.shared import cpu_budget
from frame_store.shared.cpu_budget import cgroup_cpu_quota, num_usable_cpus


def quota(tmp_path, membership, files):
    (tmp_path / "membership").write_text(membership)
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return cgroup_cpu_quota(tmp_path, tmp_path / "membership")


@pytest.mark.parametrize(
    ("membership", "files", "expected"),
    [
        ("0::/\n", {"cpu.max": "150000 100000\n"}, 1.5),
        ("0::/\n", {"cpu.max": "max 100000\n"}, None),
        ("0::/a/b\n", {"a/b/cpu.max": "400000 100000", "a/cpu.max": "200000 100000"}, 2.0),
        ("0::/a/b\n", {"a/b/cpu.max": "50000 100000", "a/cpu.max": "max 100000"}, 0.5),
        ("0::/../x\n", {"x/cpu.max": "300000 100000"}, 3.0),
        (
            "4:cpu,cpuacct:/job\n1:memory:/job\n",
            {"cpu/job/cpu.cfs_quota_us": "250000\n", "cpu/job/cpu.cfs_period_us": "100000\n"},
            2.5,
        ),
        ("4:cpu:/job\n", {"cpu/job/cpu.cfs_quota_us": "-1\n", "cpu/job/cpu.cfs_period_us": "100000\n"}, None),
        ("4:cpuset:/job\n", {"job/cpu.max": "100000 100000"}, None),
        ("0::/\n", {}, None),
        ("no such line\n\n7\n", {"cpu.max": "100000 100000"}, None),
        ("0::/\n", {"cpu.max": "word"}, None),
        ("", {"cpu.max": "100000 100000"}, None),
    ],
)
def test_the_least_quota_of_a_group_and_its_parents(tmp_path, membership, files, expected):
    assert quota(tmp_path, membership, files) == expected


@pytest.mark.parametrize(("granted", "expected"), [(0.25, 1), (1.0, 1), (1.6, 2), (1e6, None), (None, None)])
def test_the_budget_is_the_lesser_of_affinity_and_quota(monkeypatch, granted, expected):
    monkeypatch.setattr(cpu_budget, "cgroup_cpu_quota", lambda *_: granted)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(5)))
    assert num_usable_cpus() == (expected or 5)


def test_this_machine_has_a_budget():
    assert 1 <= num_usable_cpus() <= len(os.sched_getaffinity(0))
