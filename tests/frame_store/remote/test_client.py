"""Requests to a real object store on loopback."""

import os
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from frame_store.errors import ObjectChangedError, ObjectMissingError, ObjectStoreError
from frame_store.remote import Connections, ObjectClient, RemoteUrl, RetryPolicy
from tests.support.object_stores import answer, scripted_server

ODD = (
    "a b/ü%20+#.mp4",
    "100%",
    "%2F",
    "a?b=c&d",
    "q\"uote'",
    "[x]{y}~^`|<d>*!(e);:@$,=",
    "日本/🎬.mp4",
    "trailing ",
    "u\u0308",
    "x" * 200 + "/" + "y" * 200,
)
QUICK = RetryPolicy(max_seconds=0.2, first_wait_seconds=0.01)


@pytest.fixture
def client(bucket_folder):
    return ObjectClient(RemoteUrl.of(bucket_folder))


def test_what_was_written_is_read_listed_and_removed(client):
    client.put("a/one", b"hello")
    client.create("two", b"x")
    assert client.get("a/one", max_bytes=5) == b"hello"
    assert bytes(client.get_range("a/one", 1, 3)) == b"ell"
    assert bytes(client.get_range("a/one", 1, 0)) == b""
    assert [bytes(each) for each in client.get_ranges("a/one", [4, 0, 1], [1, 1, 2])] == [b"o", b"h", b"el"]
    assert client.get_ranges("a/one", [], []) == []
    assert client.child("a").find("one").num_bytes == 5
    assert client.find("three") is None
    assert [(each.key, each.num_bytes) for each in client.objects()] == [("a/one", 5), ("two", 1)]
    assert [each.key for each in client.objects("a")] == ["a/one"]
    client.delete(["a/one", "not there"])
    assert [each.key for each in client.objects()] == ["two"]
    with pytest.raises(ObjectStoreError, match="two: has 1 bytes, at most 0 are read"):
        client.get("two", max_bytes=0)


def test_an_object_is_created_once(client):
    client.create("one", b"first")
    for data in (b"second", b"first"):
        with pytest.raises(FileExistsError):
            client.create("one", data)
    assert client.get("one", max_bytes=10) == b"first"


def test_what_is_missing_or_was_replaced_is_an_error(client):
    old = client.put("one", b"first").e_tag
    assert bytes(client.get_range("one", 0, 3, e_tag=old)) == b"fir"
    client.put("one", b"other")
    with pytest.raises(ObjectMissingError, match="nothing"):
        client.get("nothing", max_bytes=1)
    with pytest.raises(ObjectMissingError, match="byte 10"):
        client.get_range("one", 10, 3)
    with pytest.raises(ObjectChangedError):
        client.get_range("one", 0, 3, e_tag=old)
    with pytest.raises(ObjectChangedError):
        client.get("one", max_bytes=9, e_tag=old)
    with pytest.raises(ObjectMissingError, match="nothing"):
        client.get_ranges("nothing", [0, 9], [1, 1])


def test_an_object_that_became_shorter_is_an_error(bucket_folder):
    client = ObjectClient(RemoteUrl.of(bucket_folder), policy=QUICK)
    client.put("one", b"short")
    with pytest.raises(
        ObjectStoreError, match=r"one: 9 bytes at byte 2: 3 bytes came instead of 9.*after 3 attempts"
    ):
        client.get_range("one", 2, 9)
    with pytest.raises(ObjectStoreError, match="3 bytes came instead of 9"):
        client.get_chunks("one", 2, 9, lambda _, __: None)
    with pytest.raises(ObjectMissingError, match="byte 9"):
        client.get_chunks("one", 9, 1, lambda _, __: None)
    with pytest.raises(ObjectStoreError, match="3 bytes came instead of 9"):
        client.get_ranges("one", [0, 2], [1, 9])


def test_a_long_range_comes_in_several_chunks(client):
    content = bytes(range(250)) * 8000
    client.put("long", content)
    chunks = []
    client.get_chunks("long", 5, 1_900_000, lambda data, at: chunks.append((at, bytes(data))))
    assert len(chunks) > 2
    assert b"".join(data for _, data in sorted(chunks)) == content[5:1_900_005]
    assert all(content[at:].startswith(data) for at, data in chunks)


def test_odd_names_are_names(client):
    for name in ODD:
        client.put(name, name.encode())
    assert [each.key for each in client.objects()] == sorted(ODD)
    for name in ODD:
        num_bytes = len(name.encode())
        assert client.get(name, max_bytes=num_bytes) == name.encode()
        assert bytes(client.get_range(name, 0, num_bytes)) == name.encode()
        assert client.head(name).key == name
    client.delete(ODD)
    assert list(client.objects()) == []


@pytest.mark.parametrize("name", ["", "/a", "a/", "a//b", ".", "a/../b", "a\nb", "a\x7f", "a\udcff"])
def test_names_that_stores_do_not_take_are_refused(client, name):
    for call in (
        partial(client.put, name, b""),
        partial(client.get, name, max_bytes=1),
        partial(client.get_ranges, name, [0], [1]),
        partial(client.delete, [name]),
    ):
        with pytest.raises(ObjectStoreError, match="is no name of an object here"):
            call()


def test_a_file_is_put_and_one_that_changes_meanwhile_is_an_error(client, tmp_path, monkeypatch):
    path = tmp_path / "file"
    path.write_bytes(b"content")
    assert client.put_file("one", path).num_bytes == 7
    assert client.get("one", max_bytes=7) == b"content"
    put = ObjectClient._put

    def put_and_change(*args, **options):
        path.write_bytes(b"longer content")
        return put(*args, **options)

    monkeypatch.setattr(ObjectClient, "_put", put_and_change)
    with pytest.raises(ObjectStoreError, match="one: its file changed while it was put"):
        client.put_file("one", path)
    with pytest.raises(FileNotFoundError):
        client.put_file("one", tmp_path / "nothing")


def test_a_file_that_cannot_be_read_is_no_failure_of_the_store(client, tmp_path):
    with pytest.raises(
        IsADirectoryError, match="one: the file that was to be put cannot be read: Is a directory"
    ):
        client.put_file("one", tmp_path)


def page(keys, *, next_page=None):
    more = f"<NextContinuationToken>{next_page}</NextContinuationToken>" if next_page else ""
    contents = "".join(
        f"<Contents><Key>{key}</Key><LastModified>2026-10-21T07:28:00.000Z</LastModified>"
        f"<ETag>e</ETag><Size>3</Size></Contents>"
        for key in keys
    )
    return answer(
        200,
        f"<ListBucketResult><Name>bkt</Name><IsTruncated>{str(bool(more)).lower()}</IsTruncated>{more}{contents}"
        "</ListBucketResult>".encode(),
    )


def test_a_list_goes_on_where_it_broke_and_skips_the_marker_of_its_folder(monkeypatch):
    def script(request, number):
        if number == 0:
            return page(["odd/", "odd/a", "odd/b"], next_page="t")
        return answer(503) if number == 1 else page(["odd/c"])

    with scripted_server(script) as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        client = ObjectClient(RemoteUrl.of("s3://bkt/odd"), policy=QUICK)
        monkeypatch.setattr("frame_store.remote.requests.listing._KEYS_PER_PAGE", 1)
        assert [each.key for each in client.objects()] == ["a", "b", "c"]
        assert [request.target.count("start-after=odd%2Fb") for request in server.requests] == [0, 0, 1]


@pytest.mark.parametrize("key", ["odd//x", "odd/../x", "odd/a&#9;b"])
def test_a_list_with_a_name_that_cannot_be_used_is_an_error(monkeypatch, key):
    with scripted_server(lambda request, number: page(["odd/a", key])) as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        client = ObjectClient(RemoteUrl.of("s3://bkt/odd"), policy=QUICK)
        with pytest.raises(ObjectStoreError, match="an object there has a name that cannot be used here"):
            list(client.objects())


class _WithoutRanges(SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


def test_a_web_server_is_read_below_its_path_and_one_without_ranges_is_an_error(tmp_path):
    (tmp_path / "a b" / "ü").mkdir(parents=True)
    (tmp_path / "a b" / "ü" / "c%20#").write_bytes(b"hello")
    with ThreadingHTTPServer(
        ("127.0.0.1", 0), partial(_WithoutRanges, directory=os.fspath(tmp_path))
    ) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            url = f"http://127.0.0.1:{server.server_port}/a%20b/"
            client = ObjectClient(RemoteUrl.of(url), policy=QUICK).child("ü")
            assert client.get("c%20#", max_bytes=5) == b"hello"
            assert client.head("c%20#").num_bytes == 5
            assert client.find("d") is None
            for call in (
                partial(client.get_range, "c%20#", 0, 3),
                partial(client.get_ranges, "c%20#", [0], [3]),
            ):
                with pytest.raises(ObjectStoreError, match=r"^http://…/a b/ü/c%20#: .*the whole object came"):
                    call()
            for call in (lambda: client.put("x", b""), lambda: list(client.objects())):
                with pytest.raises(ObjectStoreError, match="web server"):
                    call()
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("s3://bkt/a", "S3Store"),
        ("gs://bkt/a", "GCSStore"),
        ("az://box/a", "AzureStore"),
        ("https://bkt.s3.eu-west-1.amazonaws.com/a", "HTTPStore"),
        ("https://account.blob.core.windows.net/box/a", "HTTPStore"),
    ],
)
def test_every_kind_of_store_is_made_without_a_request(monkeypatch, url, kind):
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "account")
    client = ObjectClient(RemoteUrl.of(url))
    _, store = client._connections.at_hand(0)
    assert type(store).__name__ == kind
    assert client.url.text in repr(client)
    assert "amazonaws" not in repr(client)


def test_parts_of_shards_and_small_objects_share_connections(client, monkeypatch):
    made = []
    connections_of = Connections._made

    def noted(self, seconds, kind):
        made.append(seconds)
        return connections_of(self, seconds, kind)

    monkeypatch.setattr(Connections, "_made", noted)
    stores = [client._connections.at_hand(num_bytes)[1] for num_bytes in (0, 1, 4 << 20)]
    assert len(made) == 1 and stores[0] is stores[1] is stores[2]
    client._connections.at_hand((4 << 20) + 1)
    assert made == [60, 120], "more bytes have more time"
