"""Caches under URLs: in a real object store, or in a folder that stands for one."""

import shutil

import pytest

from frame_store.remote import cache as remote_cache
from tests.support.object_stores import folder_client


@pytest.fixture
def top(tmp_path):
    """`top/bkt/name` is `s3://bkt/name` where `client` is used."""
    (tmp_path / "top/bkt").mkdir(parents=True)
    return tmp_path / "top"


@pytest.fixture
def client(top, monkeypatch):
    """The class of all clients of this test, over files. Its `requests` counts them by object."""
    kind = folder_client(top)
    monkeypatch.setattr(remote_cache, "ObjectClient", kind)
    return kind


@pytest.fixture
def put(top, golden_caches):
    """Copies a golden cache to the stand-in; its folder there."""
    return lambda name, to="cache": shutil.copytree(golden_caches / name, top / "bkt" / to)


@pytest.fixture
def here(tmp_path):
    """The folder for small files and shards."""
    return tmp_path / "here"
