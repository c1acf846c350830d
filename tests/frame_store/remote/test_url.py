"""Addresses of object stores: what they are read as, what is refused, and what is never shown."""

import traceback

import pytest

from frame_store.remote import RemoteUrl, is_url


@pytest.mark.parametrize(
    ("text", "shown", "path"),
    [
        ("s3://bkt", "s3://bkt", ""),
        ("s3://bkt/", "s3://bkt", ""),
        ("S3://bkt//a//b/", "s3://bkt/a/b", "a/b"),
        ("gs://bkt/a b/ü%20+", "gs://bkt/a b/ü%20+", "a b/ü%20+"),
        ("az://box/a", "az://box/a", "a"),
        ("https://host.example:8443/x/y/", "https://…/x/y", "x/y"),
        ("http://[::1]:80/a%20b/%C3%BC", "http://…/a b/ü", "a b/ü"),
    ],
)
def test_a_url_is_read_and_shown_without_its_host(text, shown, path):
    url = RemoteUrl.of(text)
    assert (url.text, str(url), repr(url), url.path) == (shown, shown, f"RemoteUrl({shown!r})", path)
    assert RemoteUrl.of(url) is url
    assert url.is_writable is not text.startswith("http")
    assert url.object_text("k\n") == f"{shown}/k\\n"


def test_folders_below_and_beside():
    url = RemoteUrl.of("s3://bkt/a")
    assert url.child("b/c/").text == "s3://bkt/a/b/c"
    assert url.child("") == url
    assert url.sibling(".tmp").text == "s3://bkt/a.tmp"
    assert (url.name, RemoteUrl.of("s3://bkt").name, RemoteUrl.of("https://host/").name) == ("a", "bkt", "")
    with pytest.raises(ValueError, match="whole bucket"):
        RemoteUrl.of("s3://bkt").sibling(".tmp")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("s3://PLANTED:PLANTED@bkt/a", "credentials do not belong in a URL"),
        ("s3://PLANTED:PLAN/TED@bkt/a", "cannot be read"),
        ("https://PLANTED.host/a?X-Amz-Signature=PLANTED", "has a query"),
        ("https://PLANTED.host/a#PLANTED", "fragment"),
        ("https://PLANTED:port/a", "cannot be read"),
        ("https://PLANTED:0/a", "cannot be read"),
        ("https://[PLANTED/a", "cannot be read"),
        ("https:///PLANTED", "names no host"),
        ("s3:///PLANTED", "names no bucket"),
        ("s3://PLANTED:99/a", "names no bucket"),
        ("s3://PLANTED/../a", "has '.', '..' or control"),
        ("https://PLANTED/a%0Ab", "has '.', '..' or control"),
        ("s3://PLANTED/a\nb", "control characters"),
        ("ftp://PLANTED/a", "ftp: this kind of URL is not known; known are s3, gs, az, http, https"),
        ("PLANTED/a", "no URL such as s3://bucket/folder"),
    ],
)
def test_what_is_no_address_is_refused_and_not_repeated(text, message):
    with pytest.raises(ValueError, match=message) as raised:
        RemoteUrl.of(text)
    assert "PLANTED" not in "".join(traceback.format_exception_only(raised.value))
    assert raised.value.__context__ is None


def test_paths_are_no_urls(tmp_path):
    assert [is_url(place) for place in ("s3://b", "ftp://x", "/a/b", "C:\\a", "a:b", tmp_path, 3)] == [
        True,
        True,
        *[False] * 5,
    ]
