import os
import subprocess
import sys

import numpy as np
import pytest

from frame_store.content_order import MAX_SAMPLE, axes_of_sample
from frame_store.content_order.whole_axes import leading_axes, whole_covariance, widest_axes


def population(num_points, widths, *, seed=0):
    rng = np.random.default_rng(seed)
    turn = np.linalg.qr(rng.normal(size=(len(widths), len(widths))))[0]
    return np.rint(rng.normal(size=(num_points, len(widths))) * widths @ turn).astype(np.int64)


def test_leading_axes_are_the_principal_axes():
    points = population(2000, [900, 500, 300, 150, 70, 30, 10, 3])
    centred = points - points.mean(axis=0).astype(np.int64)
    found = leading_axes(centred.T @ centred, 4)
    found = found / np.sqrt((found**2).sum(axis=0))
    expected = np.linalg.eigh((centred.T @ centred).astype(float))[1][:, ::-1][:, :4]
    np.testing.assert_allclose(np.abs(found.T @ expected), np.eye(4), atol=1e-5)


def test_the_widest_axis_of_each_population():
    populations = [
        population(300, widths, seed=seed) for seed, widths in enumerate([[90, 20, 5], [4, 300, 9]])
    ]
    matrices = np.stack([points.T @ points for points in populations])
    for found, matrix in zip(widest_axes(matrices, num_rounds=8), matrices, strict=True):
        expected = np.linalg.eigh(matrix.astype(float))[1][:, -1]
        assert abs(found @ expected) / np.linalg.norm(found) > 0.9999


def test_a_population_that_does_not_vary_has_no_axis():
    assert not widest_axes(np.zeros((2, 3, 3), np.int64), num_rounds=3).any()
    assert np.isfinite(leading_axes(np.zeros((5, 5), np.int64), 3)).all()


@pytest.mark.parametrize("largest", [1, 1000, 2**40 + 12345, 2**56])
def test_covariances_have_24_bits(largest):
    third = -(largest // 3)
    scaled = whole_covariance(np.array([[largest, third], [third, largest // 2]]))
    assert (scaled == np.rint(scaled)).all()
    assert 2**23 <= np.abs(scaled).max() <= 2**24
    assert scaled[0, 1] / scaled[0, 0] == pytest.approx(third / largest, abs=2.0**-22)


def test_the_largest_thumbnails_of_the_largest_sample_stay_exact():
    """Sums of squares of 16-bit levels: in float64, and in Python's integers."""
    thumbnails = np.zeros((MAX_SAMPLE, 2), np.uint16)
    thumbnails[::2, 0], thumbnails[1::3, 1] = 65535, 65535
    axes = axes_of_sample(thumbnails)
    centred = thumbnails.astype(object) - axes.centre
    exact = (centred.T @ centred).tolist()
    floats = (centred.astype(float).T @ centred.astype(float)).tolist()
    assert floats == exact
    coordinates = axes.of(thumbnails)
    assert 1900 < np.abs(coordinates).max() <= 2047


def test_frames_far_outside_of_the_sample_are_put_at_the_edge():
    sample = np.array([[100, 7], [110, 7], [104, 7]], np.uint16)
    coordinates = axes_of_sample(sample).of(np.array([[0, 7], [65535, 7], [104, 7]], np.uint16))
    assert sorted(coordinates[:2, 0].tolist()) == [-2048, 2047]
    assert abs(int(coordinates[2, 0])) < 2047


_SCRIPT = """
import numpy as np, hashlib
from frame_store.content_order import axes_of_sample, bisected
words = np.arange(3000 * 9 + 9 * 192, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15) >> np.uint64(56)
mixed = words[:27000].reshape(3000, 9).astype(np.int64) @ words[27000:].reshape(9, 192).astype(np.int64)
thumbnails = (mixed // 160).clip(0, 4080).astype(np.uint16)
print(hashlib.sha256(bisected(axes_of_sample(thumbnails).of(thumbnails)).tobytes()).hexdigest())
"""


def test_the_order_does_not_depend_on_how_a_processor_multiplies():
    """OpenBLAS sums in another order with other kernels and numbers of threads."""
    found = set()
    for kernel, num_threads in (("", "1"), ("Nehalem", "1"), ("Haswell", "2"), ("Sandybridge", "1")):
        environment = {**os.environ, "OPENBLAS_NUM_THREADS": num_threads}
        if kernel:
            environment["OPENBLAS_CORETYPE"] = kernel
        run = subprocess.run(
            [sys.executable, "-c", _SCRIPT], env=environment, capture_output=True, text=True, check=True
        )
        found.add(run.stdout)
    assert found == {
        "87a100ae233d4799d4d2b0157cf4bf543a41e8527081f7a3d27ed62b7025bb63\n"
    }  # a change of it is another method, with another name: `METHOD`
