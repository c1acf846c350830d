"""What each failure of an object store becomes: tried again, or one error that says what, and shows no secret."""

import io
import os
import pickle
import socket
import subprocess
import sys
import time
import traceback
import warnings
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from frame_store.errors import (
    ObjectAccessError,
    ObjectChangedError,
    ObjectMissingError,
    ObjectStoreError,
)
from frame_store.remote import ObjectClient, RemoteUrl, RetryPolicy
from tests.support.object_stores import ACCESS_KEY, SECRET_KEY, Answer, answer, scripted_server

QUICK = RetryPolicy(max_seconds=0.25, first_wait_seconds=0.01, longest_wait_seconds=0.05, stall_seconds=10)
SHORT_STALLS = replace(QUICK, stall_seconds=0.3, max_seconds=0.4)
HEADERS = {"ETag": '"now"', "Last-Modified": "Wed, 21 Oct 2026 07:28:00 GMT"}
HOST = "planted-host.invalid"
SECRETS = (ACCESS_KEY, SECRET_KEY, HOST, "127.0.0.1", "localhost", "Signature=", "X-Amz", "planted")


def refusal(status, code=""):
    """An answer as S3 gives it; its text has what no message may have."""
    text = f"<Error><Code>{code}</Code><Message>{ACCESS_KEY} at {HOST}</Message></Error>"
    return answer(status, text.encode(), {"Retry-After": "7"})


def part(body=b"x" * 100, *, span="0-99/1000", num_bytes=None):
    return answer(206, body, {**HEADERS, "Content-Range": f"bytes {span}"}, num_bytes=num_bytes)


@pytest.fixture
def client_of(monkeypatch):
    """The client of a server that answers by a script: `client_of(script)`, in an environment that names it."""
    started = []

    def start(script, *, policy=QUICK, url="s3://bkt/folder"):
        context = scripted_server(script)
        server = context.__enter__()
        started.append(context)
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        return ObjectClient(RemoteUrl.of(url.format(port=server.port)), policy=policy), server

    yield start
    for context in started:
        context.__exit__(None, None, None)


def error_of(call):
    """The error of a call, once it is certain that nothing that a user may see of it has a secret in it."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err), warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        error = None
        try:
            call()
        except BaseException as raised:  # noqa: BLE001 - the caller says of which class it must be
            error = raised
    assert error is not None
    chain = "".join(traceback.format_exception(type(error), error, None))
    assert error.__cause__ is None
    assert error.__context__ is None
    for shown in (
        str(error),
        repr(error),
        chain,
        out.getvalue(),
        err.getvalue(),
        str([str(w.message) for w in warned]),
    ):
        for secret in SECRETS:
            assert secret not in shown
    return error


FOR_GOOD = {
    "400": (
        refusal(400, "InvalidArgument"),
        ObjectStoreError,
        r"refuses the request \(HTTP 400 InvalidArgument\)",
    ),
    "400 expired": (refusal(400, "ExpiredToken"), ObjectAccessError, "have expired"),
    "400 region": (refusal(400, "AuthorizationHeaderMalformed"), ObjectStoreError, "AWS_REGION"),
    "301": (refusal(301, "PermanentRedirect"), ObjectStoreError, "another region.*AWS_REGION"),
    "401": (refusal(401), ObjectAccessError, "HTTP 401.*AWS_ACCESS_KEY_ID"),
    "403": (refusal(403, "AccessDenied"), ObjectAccessError, "HTTP 403 AccessDenied.*may not list"),
    "403 expired": (refusal(403, "ExpiredToken"), ObjectAccessError, "have expired"),
    "403 key": (refusal(403, "InvalidAccessKeyId"), ObjectAccessError, "not know the access key"),
    "403 secret": (refusal(403, "SignatureDoesNotMatch"), ObjectAccessError, "secret key does not fit"),
    "403 clock": (refusal(403, "RequestTimeTooSkewed"), ObjectAccessError, "clock of this machine"),
    "404": (refusal(404, "NoSuchKey"), ObjectMissingError, r"is not there \(404\)"),
    "404 bucket": (refusal(404, "NoSuchBucket"), ObjectMissingError, r"bucket is not there \(404\)"),
    "412": (refusal(412, "PreconditionFailed"), ObjectChangedError, "another object than it was"),
    "416": (refusal(416, "InvalidRange"), ObjectMissingError, "ends before this range"),
}


@pytest.mark.parametrize("name", FOR_GOOD)
def test_what_fails_for_good_is_asked_once(client_of, name):
    script, kind, message = FOR_GOOD[name]
    client, server = client_of(lambda request, number: script)
    error = error_of(lambda: client.get_range("a/b", 0, 100))
    assert type(error) is kind
    assert error.args[0].startswith("s3://bkt/folder/a/b: 100 bytes at byte 0: ")
    with pytest.raises(kind, match=message):
        raise error
    assert len(server.requests) == 1


PASSING = {
    "no answer": (Answer(), "connection broke"),
    "a reset": (Answer(resets=True), "connection broke"),
    "no HTTP": (Answer(data=b"hello\r\n\r\n"), "connection broke"),
    "a body cut off": (part(b"x" * 10, num_bytes=100), "connection broke"),
    "a stall": (Answer(data=part(b"x" * 10, num_bytes=100).data, stall_seconds=5), "timed out"),
    "a stall in the head": (Answer(data=b"HTTP/1.1", stall_seconds=5), "timed out"),
    "408": (refusal(408), "HTTP 408"),
    "409": (refusal(409, "ConditionalRequestConflict"), "HTTP 409 ConditionalRequestConflict"),
    "429": (refusal(429), "HTTP 429.*slow down"),
    "500": (refusal(500, "InternalError"), "HTTP 500 InternalError"),
    "502": (refusal(502), "HTTP 502"),
    "503": (refusal(503, "SlowDown"), "HTTP 503 SlowDown.*slow down"),
    "400 of a slow body": (refusal(400, "RequestTimeout"), "HTTP 400 RequestTimeout"),
    "fewer bytes": (part(b"x" * 50, span="0-49/50"), "50 bytes came instead of 100"),
    "another range": (part(span="100-199/1000"), "not one to this request"),
    "no range": (answer(206, b"x" * 100, HEADERS), "not one to this request"),
    "the whole object": (answer(200, b"x" * 1000, HEADERS), "the whole object came"),
    "as many bytes of the whole": (answer(200, b"x" * 100, HEADERS), "the whole object came"),
}


@pytest.mark.parametrize("where", ["frame_store.remote.requests.retries.classified", "obstore.get_range"])
def test_an_interrupt_shows_no_error_of_obstore(client_of, monkeypatch, where):
    """Python tells of Ctrl-C when obstore has returned: while its error is looked at, or in the call itself."""
    import obstore

    client, _ = client_of(lambda request, number: refusal(404, "NoSuchKey"))
    asked = obstore.get_range

    def fails(*args, **options):
        try:
            asked(*args, **options)
        except FileNotFoundError:
            raise KeyboardInterrupt  # noqa: B904 - its context is what the test is about

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(where, fails if where.startswith("obstore") else interrupted)
    assert type(error_of(partial(client.get_range, "a", 0, 100))) is KeyboardInterrupt


@pytest.mark.parametrize("name", PASSING)
def test_what_may_pass_is_asked_again(client_of, name):
    spoiled, message = PASSING[name]
    policy = SHORT_STALLS if spoiled.stall_seconds else QUICK
    client, _ = client_of(lambda request, number: spoiled if number == 0 else part(), policy=policy)
    assert bytes(client.get_range("a/b", 0, 100)) == b"x" * 100
    client, server = client_of(lambda request, number: spoiled, policy=policy)
    error = error_of(lambda: client.get_range("a/b", 0, 100))
    assert type(error) is ObjectStoreError
    with pytest.raises(
        ObjectStoreError, match=f"^s3://bkt/folder/a/b: 100 bytes at byte 0: .*{message}.*; gave up after"
    ):
        raise error
    assert len(server.requests) > 1


def test_the_name_of_an_object_is_no_sign_of_a_failure(client_of):
    client, _ = client_of(lambda request, number: Answer())
    error = error_of(lambda: client.get("Content-Range ConnectionRefused TimedOut", max_bytes=1))
    assert ": the connection broke; gave up" in str(error)


def test_a_wrong_answer_among_other_failures_does_not_end_the_attempts(client_of):
    answers = [Answer(), Answer(), answer(200, b"x" * 100, HEADERS), Answer(), part()]
    policy = RetryPolicy(max_seconds=20, first_wait_seconds=0.01)
    client, _ = client_of(lambda request, number: answers[number], policy=policy)
    assert bytes(client.get_range("a", 0, 100)) == b"x" * 100


def test_lists_and_writes_fail_as_reads_do(client_of):
    client, _ = client_of(lambda request, number: refusal(403, "AccessDenied"))
    for call in (
        lambda: list(client.objects()),
        lambda: client.head("a"),
        lambda: client.put("a", b"x"),
        lambda: client.create("a", b"x"),
        lambda: client.delete(["a", "b"]),
        lambda: client.get_ranges("a", [0, 50], [10, 10]),
    ):
        assert type(error_of(call)) is ObjectAccessError
    for key, kind in (
        ("folder/b", ObjectAccessError),
        ("of another", ObjectStoreError),
    ):  # obstore panics at this one
        some = f"<Error><Key>{key}</Key><Code>AccessDenied</Code><Message>planted</Message></Error>"
        body = f"<DeleteResult>{some}</DeleteResult>".encode()
        client, _ = client_of(lambda request, number, body=body: answer(200, body))
        assert type(error_of(partial(client.delete, ["a", "b"]))) is kind


def test_a_page_for_people_is_no_empty_list(client_of):
    client, _ = client_of(lambda request, number: answer(200, b"<html>Log in first</html>", HEADERS))
    assert "it is no object store" in str(error_of(lambda: list(client.objects())))


def test_a_conflict_of_two_creators_is_asked_again(client_of):
    client, server = client_of(
        lambda request, number: (
            refusal(409, "ConditionalRequestConflict") if number == 0 else answer(200, b"", HEADERS)
        )
    )
    assert client.create("a", b"x").e_tag == '"now"'
    assert len(server.requests) == 2


def test_a_refusal_to_create_as_azure_says_it(client_of):
    client, server = client_of(lambda request, number: refusal(409, "BlobAlreadyExists"))
    assert type(error_of(lambda: client.create("a", b"x"))) is FileExistsError
    assert len(server.requests) == 1


def test_a_web_server_that_refuses_is_named_without_its_host(client_of):
    client, _ = client_of(lambda request, number: refusal(403), url="http://127.0.0.1:{port}/folder")
    error = error_of(lambda: client.get_range("a", 0, 100))
    assert str(error).startswith(
        "http://…/folder/a: 100 bytes at byte 0: the web server refuses the request (HTTP 403)"
    )


def test_an_object_that_was_replaced_is_told_where_the_server_ignores_if_match(client_of):
    client, server = client_of(lambda request, number: part())
    assert type(error_of(lambda: client.get_range("a", 0, 100, e_tag='"before"'))) is ObjectChangedError
    assert type(error_of(lambda: client.get_range("a", 0, 100, e_tag='W/"before"'))) is ObjectChangedError
    assert [request.headers.get("if-match") for request in server.requests] == ['"before"', None]


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        (
            {"AWS_METADATA_ENDPOINT": "http://127.0.0.1:{blocked}"},
            "no credentials could be had.*AWS_SKIP_SIGNATURE",
        ),
        ({"AWS_ACCESS_KEY_ID": ACCESS_KEY}, "no AWS_SECRET_ACCESS_KEY"),
        ({"AWS_SECRET_ACCESS_KEY": SECRET_KEY}, "no AWS_ACCESS_KEY_ID"),
    ],
)
def test_missing_credentials_are_named_soon(monkeypatch, variables, message):
    for name in list(os.environ):
        if name.startswith("AWS"):
            monkeypatch.delenv(name)
    with socket.create_server(("127.0.0.1", 0), backlog=0) as blocked:
        waiting = [socket.socket() for _ in range(4)]  # what connects after these waits for ever
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(blocked.getsockname())
        for name, value in variables.items():
            monkeypatch.setenv(name, value.format(blocked=blocked.getsockname()[1]))
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{HOST}:1")
        began = time.monotonic()
        error = error_of(lambda: ObjectClient(RemoteUrl.of("s3://bkt/a"), policy=QUICK).get("x", max_bytes=1))
        assert time.monotonic() - began < 9
        for each in waiting:
            each.close()
    assert type(error) is ObjectAccessError
    with pytest.raises(ObjectAccessError, match=message):
        raise error


@pytest.mark.parametrize(
    ("endpoint", "message"),
    [
        ("http://127.0.0.1:1", "connection refused"),
        (f"http://{HOST}", "the name of the store is not known|HTTP 4"),
        (f"not a URL {HOST}", "AWS_ENDPOINT_URL is no URL"),
    ],
)
def test_a_wrong_endpoint_is_an_error_without_its_name(client_of, monkeypatch, endpoint, message):
    client, _ = client_of(lambda request, number: Answer())
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    with pytest.raises(ObjectStoreError, match=message):
        raise error_of(lambda: client.get("x", max_bytes=1))


def test_connections_are_made_anew_after_a_stall_and_kept_after_a_refusal(client_of):
    """A firewall may have forgotten all of them: each would cost a stall."""
    for spoiled, is_kept in ((Answer(stall_seconds=5), False), (Answer(), False), (refusal(503), True)):
        client, _ = client_of(
            lambda request, number, spoiled=spoiled: spoiled if number == 0 else part(), policy=SHORT_STALLS
        )
        _, before = client._connections.at_hand(100)
        assert bytes(client.get_range("a", 0, 100)) == b"x" * 100
        assert (client._connections.at_hand(100)[1] is before) is is_kept


def test_a_forked_child_gets_an_error_and_a_pickled_copy_works(client_of):
    client, _ = client_of(lambda request, number: part())
    assert bytes(client.get_range("a", 0, 100)) == b"x" * 100
    copied = pickle.loads(pickle.dumps(client))
    assert bytes(copied.get_range("a", 0, 100)) == b"x" * 100
    assert (copied.url, copied.policy) == (client.url, client.policy)
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            for each in (client, ObjectClient(client.url)):
                with pytest.raises(ObjectStoreError, match=r"forked.*'spawn'"):
                    each.get_range("a", 0, 100)
            status = 0
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_the_absence_of_obstore_is_explained(monkeypatch):
    monkeypatch.setitem(sys.modules, "obstore", None)
    error = error_of(lambda: ObjectClient(RemoteUrl.of("s3://bkt/a"), policy=QUICK).head("x"))
    assert "pip install 'frame-cache[remote]'" in str(error)


def test_rust_prints_nothing_even_when_asked_for_its_log(client_of):
    client, _ = client_of(lambda request, number: refusal(403, "AccessDenied"))
    assert client.url.text == "s3://bkt/folder"
    code = (
        "from frame_store.remote import ObjectClient, RemoteUrl\n"
        "try: ObjectClient(RemoteUrl.of('s3://bkt/folder')).get('x', max_bytes=1)\n"
        "except Exception as error: print(type(error).__name__)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "RUST_LOG": "trace", "RUST_BACKTRACE": "full"},
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=True,
    )
    assert (done.stdout, done.stderr) == ("ObjectAccessError\n", "")


def test_the_environment_sets_how_long_requests_are_tried(monkeypatch):
    url = RemoteUrl.of("s3://bkt/a")
    assert ObjectClient(url).policy.max_seconds == 90
    monkeypatch.setenv("FRAME_CACHE_RETRY_SECONDS", "600")
    assert ObjectClient(url).policy.max_seconds == 600
    for wrong in ("soon", "-1", "nan"):
        monkeypatch.setenv("FRAME_CACHE_RETRY_SECONDS", wrong)
        with pytest.raises(
            ObjectStoreError, match=f"FRAME_CACHE_RETRY_SECONDS must be a number of seconds.*{wrong}"
        ):
            ObjectClient(url)
    with pytest.raises(ValueError, match="stall_seconds must be a number of seconds from 0 on, not -1"):
        RetryPolicy(stall_seconds=-1)


def test_a_large_answer_may_take_longer_than_a_small_one(client_of):
    """And a store may think about a write for longer than a read may stall."""
    policy = RetryPolicy(max_seconds=0, stall_seconds=5, attempt_seconds=0.5)

    def script(request, number):
        if request.method == "PUT":
            return Answer(stall_seconds=0.6, rest=answer(200, b"", HEADERS).data)
        start, end = (int(each) for each in request.headers["range"].removeprefix("bytes=").split("-"))
        whole = part(b"x" * (end + 1 - start), span=f"{start}-{end}/99999999").data
        return Answer(data=whole[:-9], stall_seconds=0.9, rest=whole[-9:])

    client, _ = client_of(script, policy=policy)
    assert len(client.get_range("a", 0, 12 << 20)) == 12 << 20
    assert "timed out; gave up after 1 attempt" in str(error_of(lambda: client.get_range("a", 0, 1 << 20)))
    hasty, server = client_of(script, policy=RetryPolicy(max_seconds=0, stall_seconds=0.3, attempt_seconds=5))
    assert hasty.put("a", b"x").e_tag == '"now"'
    assert "timed out" in str(error_of(lambda: hasty.get_range("a", 0, 100)))
    assert len(server.requests) == 2
