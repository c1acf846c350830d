"""Names and types of the files of source order (FORMAT.md section 4.1)."""

from typing import Any, Final

import numpy as np

FIRST_ROW_NAME: Final = "first_row.npy"
FIRST_STORED_NAME: Final = "first_stored.npy"
ORDER_NAME: Final = "order.npy"
SOURCE_FRAMES_NAME: Final = "source_frames.npy"
SOURCE_PTS_NAME: Final = "source_pts.npy"

DTYPE_OF_FILE: Final[dict[str, np.dtype[Any]]] = {
    FIRST_ROW_NAME: np.dtype("<u8"),
    FIRST_STORED_NAME: np.dtype("<u8"),
    ORDER_NAME: np.dtype("<u4"),
    SOURCE_FRAMES_NAME: np.dtype("<u4"),
    SOURCE_PTS_NAME: np.dtype("<f8"),
}
SOURCE_FILE_NAMES: Final = tuple(DTYPE_OF_FILE)
STARTS_NAMES: Final = (FIRST_ROW_NAME, FIRST_STORED_NAME)
"""Those with a number for each video, and one more. The others have one for each frame."""
