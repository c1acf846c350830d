"""Requests to a real object store on loopback."""

import pytest

from frame_store.errors import ObjectChangedError, ObjectMissingError
from frame_store.remote import ObjectClient, RemoteUrl


@pytest.fixture
def client(bucket_folder):
    return ObjectClient(RemoteUrl.of(bucket_folder))


def test_what_was_written_is_read_listed_and_removed(client):
    client.put("a/one", b"hello")
    client.create("two", b"x")
    assert client.get("a/one", max_bytes=5) == b"hello"
    assert bytes(client.get_range("a/one", 1, 3)) == b"ell"
    assert [(each.key, each.num_bytes) for each in client.objects()] == [("a/one", 5), ("two", 1)]
    client.delete(["a/one", "not there"])
    assert [each.key for each in client.objects()] == ["two"]


def test_an_object_is_created_once(client):
    client.create("one", b"first")
    with pytest.raises(FileExistsError):
        client.create("one", b"second")
    assert client.get("one", max_bytes=10) == b"first"


def test_what_is_missing_or_was_replaced_is_an_error(client):
    old = client.put("one", b"first").e_tag
    client.put("one", b"other")
    with pytest.raises(ObjectMissingError, match="nothing"):
        client.get("nothing", max_bytes=1)
    with pytest.raises(ObjectMissingError, match="byte 10"):
        client.get_range("one", 10, 3)
    with pytest.raises(ObjectChangedError):
        client.get_range("one", 0, 3, e_tag=old)
