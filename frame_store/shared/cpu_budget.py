"""How many of the machine's CPUs this process may use, by its affinity and its control group."""

import os
from pathlib import Path

CGROUP_MOUNT = Path("/sys/fs/cgroup")
CGROUP_MEMBERSHIP = Path("/proc/self/cgroup")


def num_usable_cpus() -> int:
    """CPUs to start threads or processes for, 1 or more. In a container with half of the machine it is half of them."""
    # Only Linux has sched_getaffinity and control groups.
    num_cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cgroup_cpu_quota(CGROUP_MOUNT, CGROUP_MEMBERSHIP)
    return num_cpus if quota is None else max(1, min(num_cpus, round(quota)))


def cgroup_cpu_quota(mount: Path, membership: Path) -> float | None:
    """CPUs that the control group may use: the lowest limit of the group and its parents; None without a limit.

    Reads `cpu.max` (version 2) or `cpu.cfs_quota_us` and `cpu.cfs_period_us` (version 1), as the kernel's
    cgroup-v2.rst and sched-bwc.rst describe them. A file that cannot be read sets no limit.
    """
    quotas = []
    for line in _text(membership).splitlines():
        _, _, group_text = line.partition(":")
        controllers, _, group = group_text.partition(":")
        if group_text.startswith(":"):
            folders = _with_parents(mount, group)
        elif "cpu" in controllers.split(","):
            folders = _with_parents(mount / "cpu", group)
        else:
            continue
        quotas += [quota for folder in folders if (quota := _quota_of(folder)) is not None]
    return min(quotas, default=None)


def _with_parents(mount: Path, group: str) -> list[Path]:
    parts = [part for part in group.split("/") if part not in {"", ".."}]
    return [mount.joinpath(*parts[:depth]) for depth in range(len(parts) + 1)]


def _quota_of(folder: Path) -> float | None:
    words = _text(folder / "cpu.max").split() or [
        _text(folder / name).strip() for name in ("cpu.cfs_quota_us", "cpu.cfs_period_us")
    ]
    if len(words) != 2 or not all(word.isdecimal() and int(word) for word in words):
        return None  # "max", -1, or no such file
    return int(words[0]) / int(words[1])


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
