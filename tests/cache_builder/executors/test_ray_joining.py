"""A cluster that cannot be joined is told in one line, within a bounded time."""

import socket

import pytest

from cache_builder.errors import MachineError
from cache_builder.executors.ray_joining import _why_not, require_joinable


def test_what_is_no_ray_is_told_in_bounded_time():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with pytest.raises(
            MachineError, match="the given address cannot be joined: what listens there does not"
        ) as told:
            require_joinable(f"127.0.0.1:{port}", "at the given address", seconds=1.5)
    assert str(port) not in str(told.value)


@pytest.mark.parametrize(
    "said",
    [
        "W gcs_client.cc:210: ... 10.1.2.3: Unauthenticated: RPC error\nConnectionError: at 10.1.2.3",
        "AuthenticationError: Token authentication is enabled but no authentication token was found",
    ],
)
def test_a_token_that_lacks_or_is_wrong_is_named_with_its_remedy(said):
    assert "set RAY_AUTH_MODE=token" in _why_not("", said, 9.0)
    assert "10.1.2.3" not in _why_not("", said, 9.0)


def test_what_else_ray_refuses_is_told_by_its_kind_alone():
    told = _why_not("", "lines at 10.1.2.3\nRuntimeError: Version mismatch at 10.1.2.3", 9.0)
    assert told.startswith("Ray refuses (RuntimeError); Ray and Python must have the same versions")
