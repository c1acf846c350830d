"""Whether a cache is what was built: every hash and checksum, and a sample of frames through other libraries."""

from frame_store.verify.by_place import verify_store
from frame_store.verify.columns import check_columns
from frame_store.verify.files import check_file, has_size
from frame_store.verify.store import VerifyResult

__all__ = ["VerifyResult", "check_columns", "check_file", "has_size", "verify_store"]
