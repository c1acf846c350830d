"""CRC-32C comes out of the compiled module of the package `crc32c`, or out of the package."""

import crc32c
import numpy as np

from frame_store import codec


def test_it_is_what_the_package_computes():
    for payload in (b"", b"123456789", memoryview(bytes(range(256))), np.arange(10_000, dtype=np.uint8).data):
        assert codec.crc32c(payload) == crc32c.crc32c(payload)


def test_another_version_of_the_package_may_have_no_such_module(monkeypatch):
    monkeypatch.setattr(codec.PathFinder, "find_spec", lambda *_: None)
    assert codec._crc32c_of_buffer() is crc32c.crc32c
