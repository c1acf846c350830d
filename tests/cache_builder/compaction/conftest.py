"""Compactions of these tests copy in this process: the caches are tiny, and a worker takes a while to start."""

import pytest

from cache_builder.compaction import compact
from tests.support.executors.in_process_pool import InProcessPool


@pytest.fixture(autouse=True)
def no_processes(monkeypatch):
    monkeypatch.setattr(compact, "WorkerPool", lambda num_workers: InProcessPool())
