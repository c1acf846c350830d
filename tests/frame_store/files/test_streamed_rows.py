"""Rows copied past the CPU's caches: the same bytes, none beside them, and the ordinary copy where there is no LLVM."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import frame_store
from frame_store.files import streamed_rows
from frame_store.files.streamed_rows import (
    LINE_BYTES,
    MIN_STREAMED_BYTES,
    StreamingGather,
    streaming_gather,
)
from frame_store.manifest import Encoding
from tests.support.caches.golden_stores import GOLDEN_ENCODINGS, golden_frames, write_store
from tests.support.faults.no_new_code import run_without_new_code

pytest.importorskip("llvmlite", reason="llvmlite compiles this copy")

RAW = [name for name, (_, encoding) in GOLDEN_ENCODINGS.items() if encoding.name == "raw"]
EDGE = 2 * LINE_BYTES


@given(
    st.integers(LINE_BYTES, 5 * LINE_BYTES), st.integers(0, EDGE), st.integers(0, 9), st.integers(0, 2**32)
)
def test_rows_are_copied_and_nothing_beside_them_is_written(num_bytes, first_byte_of_out, num_rows, seed):
    random = np.random.default_rng(seed)
    memory = random.integers(0, 256, 1000, np.uint8)
    first_bytes = random.integers(0, len(memory) - num_bytes + 1, num_rows)
    space = random.integers(0, 256, EDGE + num_rows * num_bytes + EDGE, np.uint8)
    expected = space.copy()
    in_space = slice(first_byte_of_out, first_byte_of_out + num_rows * num_bytes)
    expected[in_space] = memory[first_bytes[:, None] + np.arange(num_bytes)].reshape(-1)
    gather = streaming_gather()
    assert gather is not None
    gather(memory, first_bytes, space[in_space].reshape(num_rows, num_bytes))
    np.testing.assert_array_equal(space, expected)


def test_the_function_streams_whole_lines():
    """The bytes are right without it, too, so look at the machine code of the most common CPUs."""
    import llvmlite.binding as llvm

    from frame_store.files.streamed_rows import _assembly

    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    for triple, instruction, number in (("x86_64-linux", "movntps", 4), ("aarch64-linux", "stnp", 2)):
        module = llvm.parse_assembly(_assembly())
        module.triple = triple
        code = llvm.Target.from_triple(triple).create_target_machine().emit_assembly(module)
        assert code.count(instruction) == number


@pytest.mark.parametrize("name", RAW)
@pytest.mark.parametrize("verify_reads", [False, True])
def test_large_batches_of_a_cache_are_streamed(tmp_path, monkeypatch, name, verify_reads):
    write_store(tmp_path / name, *GOLDEN_ENCODINGS[name], golden_frames(name))
    sizes = []

    def spied(memory, first_bytes, rows):
        sizes.append(rows.nbytes)
        streaming_gather()(memory, first_bytes, rows)

    monkeypatch.setattr(streamed_rows, "streaming_gather", lambda: spied)
    store = frame_store.open_store(tmp_path / name, verify_reads=verify_reads)
    num_frames = -(-MIN_STREAMED_BYTES // golden_frames(name)[0].nbytes)
    ids = np.arange(num_frames) * 7 % len(store)
    np.testing.assert_array_equal(store.read_frames(ids[1:]), golden_frames(name)[ids[1:]])
    assert not sizes
    frames = store.read_frames(ids)
    np.testing.assert_array_equal(frames, golden_frames(name)[ids])
    assert sizes == [frames.nbytes]


def test_frames_smaller_than_a_line_are_copied_as_before(tmp_path, monkeypatch):
    frames = np.arange(9 * 4 * 5 * 3, dtype=np.uint8).reshape(9, 4, 5, 3)
    assert frames[0].nbytes < LINE_BYTES
    write_store(tmp_path / "cache", "wds", Encoding(name="raw"), frames)
    monkeypatch.setattr(streamed_rows, "streaming_gather", lambda: pytest.fail("the row is too short"))
    ids = np.arange(MIN_STREAMED_BYTES // frames[0].nbytes + 1) % len(frames)
    np.testing.assert_array_equal(frame_store.open_store(tmp_path / "cache").read_frames(ids), frames[ids])


@pytest.mark.parametrize("lacks", ["llvmlite", "a target"])
def test_without_llvm_the_same_frames_come(tmp_path, monkeypatch, lacks):
    if lacks == "llvmlite":
        monkeypatch.setitem(sys.modules, "llvmlite", None)
    else:
        monkeypatch.setattr("llvmlite.binding.parse_assembly", _refuse)
    streaming_gather.cache_clear()
    try:
        assert streaming_gather() is None
        write_store(tmp_path / "cache", *GOLDEN_ENCODINGS[RAW[0]], golden_frames(RAW[0]))
        store = frame_store.open_store(tmp_path / "cache")
        ids = np.arange(MIN_STREAMED_BYTES // golden_frames(RAW[0])[0].nbytes + 1) % len(store)
        np.testing.assert_array_equal(store.read_frames(ids), golden_frames(RAW[0])[ids])
    finally:
        streaming_gather.cache_clear()


def _refuse(_):
    raise RuntimeError("LLVM knows no such CPU")


FORKED = """
import os, signal, threading, time
import numpy as np
from frame_store.files.streamed_rows import StreamingGather, streaming_gather

begun, is_compiled = threading.Event(), []
compile_now = StreamingGather.__init__

def compile_slowly(self):
    begun.set()
    time.sleep(0.3)
    compile_now(self)
    is_compiled.append(True)

StreamingGather.__init__ = compile_slowly
thread = threading.Thread(target=streaming_gather)
thread.start()
begun.wait()
child = os.fork()
if not child:
    signal.alarm(60)
    memory, rows = np.arange(200, dtype=np.uint8), np.zeros((2, 100), np.uint8)
    streaming_gather()(memory, np.array([3, 50]), rows)
    os._exit(0 if is_compiled and rows[1, 0] == 50 else 1)
thread.join()
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
"""


def test_a_fork_waits_until_the_function_is_compiled():
    """Otherwise the child could get a copy of LLVM's lock that nobody releases."""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", FORKED], timeout=120)
    assert done.returncode == 0


WITHOUT_NEW_CODE = """
import sys
import numpy as np, frame_store
from frame_store.files.streamed_rows import streaming_gather
assert streaming_gather() is None
sys.stdout.buffer.write(frame_store.open_store(sys.argv[1]).read_frames(np.arange(8000) % 10).tobytes())
"""


def test_a_process_that_may_execute_no_new_code_copies_as_before(tmp_path):
    write_store(tmp_path / "cache", *GOLDEN_ENCODINGS[RAW[0]], golden_frames(RAW[0]))
    frames = golden_frames(RAW[0])
    assert frames.nbytes * 800 > MIN_STREAMED_BYTES
    assert run_without_new_code(WITHOUT_NEW_CODE, tmp_path / "cache") == frames.tobytes() * 800


def test_a_second_function_copies_as_the_first_one():
    rows = np.zeros((1, LINE_BYTES), np.uint8)
    memory = np.arange(100, dtype=np.uint8)
    StreamingGather()(memory, np.array([7]), rows)
    np.testing.assert_array_equal(rows[0], memory[7 : 7 + LINE_BYTES])
