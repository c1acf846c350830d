import numpy as np
import pytest

from frame_store.content_order import thumbnails_of


@pytest.mark.parametrize("shape", [(8, 8, 3), (13, 21, 3), (224, 224, 3), (3, 5, 1), (1, 1, 1), (2100, 9, 1)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_cells_are_means_of_whole_numbers(shape, dtype):
    if dtype == np.uint8 and shape[2] == 1:
        shape = (*shape[:2], 3)
    frames = np.random.default_rng(0).integers(0, np.iinfo(dtype).max + 1, (2, *shape)).astype(dtype)
    found = thumbnails_of(frames)
    height, width, channels = shape
    rows, columns = min(8, height), min(8, width)
    assert found.dtype == np.uint16
    assert found.shape == (2, rows * columns * channels)
    for frame, thumbnail in zip(frames, found.reshape(2, rows, columns, channels), strict=True):
        for row in range(rows):
            for column in range(columns):
                cell = frame[
                    row * height // rows : (row + 1) * height // rows,
                    column * width // columns : (column + 1) * width // columns,
                ]
                sums = cell.reshape(-1, channels).astype(object).sum(axis=0)
                scale = 16 if dtype == np.uint8 else 1
                assert thumbnail[row, column].tolist() == (sums * scale // (cell.size // channels)).tolist()


@pytest.mark.parametrize(("dtype", "side"), [(np.uint8, 2056), (np.uint8, 2064), (np.uint16, 8192)])
def test_the_brightest_frames_do_not_overflow(dtype, side):
    frames = np.full((1, side, 8, 1), np.iinfo(dtype).max, dtype)
    assert set(thumbnails_of(frames).ravel().tolist()) == {4080 if dtype == np.uint8 else 65535}
