"""What the system keeps of a file in memory, and asking it for more. Hints: where there is no such call, no hint."""

import os

from frame_store.open_file import OpenFile


def is_cached(file: OpenFile, byte_offset: int) -> bool:
    """Whether the byte is in the page cache; True where the system cannot say, as asking for pages would not help."""
    if not hasattr(os, "RWF_NOWAIT"):
        return True
    try:
        os.preadv(file.number, [bytearray(1)], byte_offset, os.RWF_NOWAIT)
    except BlockingIOError:
        return False
    except OSError:
        return True  # a file system that does not tell
    return True


def will_need(file: OpenFile, byte_offset: int, num_bytes: int) -> None:
    """Have the bytes read into the page cache in the background."""
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(file.number, byte_offset, num_bytes, os.POSIX_FADV_WILLNEED)
