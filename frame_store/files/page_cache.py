"""The page cache of the system: is a byte in memory, and read bytes ahead. Does nothing where the calls are missing."""

import os

from frame_store.files.opening import OpenFile


def is_cached(file: OpenFile, byte_offset: int) -> bool:
    """Whether the byte is in the page cache. True if the system cannot answer; it then cannot read ahead either."""
    if not hasattr(os, "RWF_NOWAIT"):
        return True
    try:
        os.preadv(file.number, [bytearray(1)], byte_offset, os.RWF_NOWAIT)
    except BlockingIOError:
        return False
    except OSError:
        return True  # a file system without this call
    return True


def will_need(file: OpenFile, byte_offset: int, num_bytes: int) -> None:
    """Have the system read the bytes into the page cache in the background, if it has the call for it."""
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(file.number, byte_offset, num_bytes, os.POSIX_FADV_WILLNEED)
