"""Rows of memory copied past the CPU's caches, by a function that LLVM compiles where `llvmlite` is installed.

An ordinary store reads a line of memory into the cache before it overwrites the line. A batch of raw frames is larger
than the cache, so this read is a third of the memory traffic of its copy. A non-temporal ("streaming") store does not
read the line. Python has no such store, and the C library uses it for single copies of many megabytes alone.
"""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from frame_store.shared import lock_free_after_fork

if TYPE_CHECKING:
    from llvmlite import ir

LINE_BYTES: Final = 64
"""A line of the cache; wider than the vectors of most CPUs, which LLVM then takes several of."""

MIN_STREAMED_BYTES: Final = 8 << 20
"""Smaller copies may still be in the cache when the caller reads them: `docs/PERFORMANCE.md` has the trial."""

# LLVM compiles under a lock of llvmlite. A child that is forked at that moment would wait for this lock for ever.
_COMPILES: Final = lock_free_after_fork()


class StreamingGather:
    """A compiled function that copies rows of equal length, in one call without the GIL."""

    def __init__(self) -> None:
        """Compile it for this CPU.

        Raises:
            ImportError: `llvmlite` is not installed.
            OSError: the process may not execute what LLVM compiles (`MemoryDenyWriteExecute=` of systemd).
            RuntimeError: LLVM cannot compile for this CPU.
        """
        import llvmlite.binding as llvm

        llvm.check_jit_execution()
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        machine = llvm.Target.from_default_triple().create_target_machine(
            cpu=llvm.get_host_cpu_name(), features=llvm.get_host_cpu_features().flatten()
        )
        self._engine = llvm.create_mcjit_compiler(llvm.parse_assembly(_assembly()), machine)
        """Owns the code of the function."""
        self._engine.finalize_object()
        prototype = ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * 5)
        self._gather = prototype(self._engine.get_function_address("gather"))

    def __call__(
        self, memory: npt.NDArray[np.uint8], first_bytes: npt.NDArray[np.int64], rows: npt.NDArray[np.uint8]
    ) -> None:
        """Copy rows out of `memory` (N,): one from each of `first_bytes` (B,) on, into `rows` (B, L).

        The caller has checked that all of these bytes may be read. All arrays are C-contiguous, and L is at least
        `LINE_BYTES`.
        """
        self._gather(
            rows.ctypes.data, memory.ctypes.data, first_bytes.ctypes.data, len(first_bytes), rows.shape[1]
        )


@cache
def streaming_gather() -> StreamingGather | None:
    """The function, compiled at the first call; None where `llvmlite` is not installed or cannot compile."""
    with _COMPILES:
        try:
            return StreamingGather()
        except (ImportError, OSError, RuntimeError):
            return None


def gather_streaming(
    memory: npt.NDArray[np.uint8], first_bytes: npt.NDArray[np.int64], rows: npt.NDArray[np.uint8]
) -> bool:
    """`StreamingGather`, where it can be compiled and pays: of `MIN_STREAMED_BYTES` or more. Whether it has copied."""
    if rows.size < MIN_STREAMED_BYTES or rows.shape[1] < LINE_BYTES or (gather := streaming_gather()) is None:
        return False
    gather(memory, first_bytes, rows)
    return True


def _assembly() -> str:
    """The function in LLVM's assembly language, whose spelling of pointers depends on the version of LLVM."""
    from llvmlite import ir

    number, line = ir.IntType(64), ir.VectorType(ir.IntType(64), LINE_BYTES // 8)
    module = ir.Module()
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [number] * 5), "gather")
    out, memory, first_bytes, num_rows, num_bytes = function.args
    builder = ir.IRBuilder(function.append_basic_block())
    is_streaming = module.add_metadata([ir.IntType(32)(1)])

    def loaded(address: ir.Value, kind: ir.Type, *, align: int) -> ir.Value:
        return builder.load(builder.inttoptr(address, kind.as_pointer()), align=align)

    def copy_line(target: ir.Value, source: ir.Value, *, streams: bool) -> None:
        value = loaded(source, line, align=1)
        place = builder.inttoptr(target, line.as_pointer())
        stored = builder.store(value, place, align=LINE_BYTES if streams else 1)
        if streams:
            stored.set_metadata("nontemporal", is_streaming)

    with _each(builder, num_rows) as row:
        target = builder.add(out, builder.mul(row, num_bytes))
        first_byte = loaded(builder.add(first_bytes, builder.mul(row, number(8))), number, align=8)
        source = builder.add(memory, first_byte)
        # Streaming stores are for whole lines alone, so that ordinary ones copy the first and the last bytes of a row.
        copy_line(target, source, streams=False)
        to_last = builder.sub(num_bytes, number(LINE_BYTES))
        copy_line(builder.add(target, to_last), builder.add(source, to_last), streams=False)
        skipped = builder.and_(builder.neg(target), number(LINE_BYTES - 1))
        num_lines = builder.udiv(builder.sub(num_bytes, skipped), number(LINE_BYTES))
        with _each(builder, num_lines) as index:
            offset = builder.add(skipped, builder.mul(index, number(LINE_BYTES)))
            copy_line(builder.add(target, offset), builder.add(source, offset), streams=True)
    builder.fence("seq_cst")  # another thread may read the rows next
    builder.ret_void()
    return str(module)


@contextmanager
def _each(builder: "ir.IRBuilder", count: "ir.Value") -> Iterator["ir.Value"]:
    """A loop whose body is what the caller builds: over 0, 1, ..., count - 1."""
    before, test = builder.block, builder.append_basic_block()
    body, after = builder.append_basic_block(), builder.append_basic_block()
    builder.branch(test)
    builder.position_at_end(test)
    index = builder.phi(count.type)
    index.add_incoming(count.type(0), before)
    builder.cbranch(builder.icmp_unsigned("<", index, count), body, after)
    builder.position_at_end(body)
    yield index
    index.add_incoming(builder.add(index, count.type(1)), builder.block)
    builder.branch(test)
    builder.position_at_end(after)
