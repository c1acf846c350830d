import numpy as np
import pytest
import simplejpeg
from hypothesis import example, given
from hypothesis import strategies as st

from frame_store.notebook import pictures_of


def shades_of(frames):
    pictures, said = pictures_of(frames)
    return [simplejpeg.decode_jpeg(picture.jpeg).astype(float) for picture in pictures], said


def ramp(least, greatest, dtype):
    """A frame (16, 32, 1) from one value to another."""
    return np.broadcast_to(np.linspace(least, greatest, 32)[None, :, None], (16, 32, 1)).astype(dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
def test_values_from_0_to_1_keep_their_shade(dtype):
    [found], said = shades_of([ramp(0.25, 0.75, dtype)])
    assert said == "0 is black, 1 is white"
    assert np.abs(found - ramp(63.75, 191.25, float)).max() < 6


def test_other_values_are_scaled_together_and_the_ends_are_said():
    (low, high), said = shades_of([ramp(-2, 0, np.float32), ramp(0, 2, np.float32)])
    assert said == "scaled to be seen: -2 is black, 2 is white"
    assert np.abs(low - ramp(0, 127.5, float)).max() < 6 and np.abs(high - ramp(127.5, 255, float)).max() < 6


def test_values_that_are_no_numbers_are_black_and_counted():
    frame = ramp(-1, 1, np.float32).copy()
    frame[8:, :, :] = [[[np.nan]]]
    frame[0, 0, 0] = np.inf
    [found], said = shades_of([frame])
    assert said == "scaled to be seen: -1 is black, 1 is white; 257 values not finite, shown black"
    assert found[9:].max() < 12


@pytest.mark.parametrize("value", [0.0, 7.0, -3e38, np.nan, np.inf])
def test_a_frame_of_one_value_has_one_shade(value):
    [found], _ = shades_of([np.full((8, 8, 3), value, np.float32)])
    assert np.ptp(found) == 0


@example(value=2**63 - 1, other=0.0, shape=(1, 1))
@example(value=1e39, other=0.0, shape=(1, 113))  # more than float32 holds
@given(
    value=st.floats(width=64) | st.integers(-(2**63), 2**63 - 1),
    other=st.floats(width=64),
    shape=st.tuples(st.integers(1, 300), st.integers(1, 300)),
)
def test_any_numbers_give_a_picture_of_bounded_size(value, other, shape):
    frame = np.full((*shape, 1), value)
    frame[0, 0] = other if frame.dtype == np.float64 else frame[0, 0]
    [found], _ = shades_of([frame])
    assert max(found.shape) == max(3, min(112, max(shape)))


def test_a_large_frame_is_a_mean_of_its_pixels():
    frame = np.zeros((2000, 3000, 3), np.uint8)
    frame[:, 1500:] = 200
    [found], said = shades_of([frame])
    assert said == "" and found.shape == (75, 112, 3)
    assert np.abs(found[:, :54] - 0).max() < 6 and np.abs(found[:, 58:] - 200).max() < 6
