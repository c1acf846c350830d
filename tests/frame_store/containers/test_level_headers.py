"""A tar shard whose `.npy` headers name another dtype than the generation's pixels is no sound cache."""

import numpy as np
import pytest

from frame_store.manifest import Encoding
from frame_store.verify import verify_store
from tests.support.caches.golden_stores import write_store
from tests.support.caches.tree import generation_folder
from tests.support.mutations.of_caches import resign


@pytest.mark.parametrize("dtype", [b"'>u2'", b"'<i2'"])
def test_another_dtype_in_a_header_is_found(tmp_path, dtype):
    frames = np.arange(4 * 8 * 9, dtype=np.uint16).reshape(4, 8, 9, 1)
    write_store(tmp_path / "cache", "wds", Encoding(name="raw"), frames)
    shard = generation_folder(tmp_path / "cache") / "shards/000000.tar"
    shard.write_bytes(shard.read_bytes().replace(b"'<u2'", dtype))
    resign(tmp_path / "cache")
    problems = verify_store(tmp_path / "cache").problems
    assert any("frame 0: its .npy header has" in problem for problem in problems), problems
