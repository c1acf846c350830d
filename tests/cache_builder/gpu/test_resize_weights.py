"""Weights of a resize, and the products that apply them."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from cache_builder.gpu.resize_weights import AxisTaps, ColumnResize, RowResize, bilinear_taps
from tests.support.gpu.planar_reference import resize_axis

CPU = torch.device("cpu")
SIZES = st.one_of(st.integers(1, 12), st.integers(13, 300), st.integers(301, 2200))


def dense(taps: AxisTaps) -> np.ndarray:
    matrix = np.zeros((taps.num_out, taps.num_in))
    for i in range(taps.num_out):
        for index, weight in zip(taps.indices[i], taps.weights[i], strict=True):
            matrix[i, index] += weight
    return matrix


@settings(max_examples=60)
@given(num_in=SIZES, num_out=st.integers(1, 230), centre=st.sampled_from([0.25, 0.5, 0.75]))
@example(num_in=1, num_out=1, centre=0.25)
@example(num_in=4320, num_out=8, centre=0.5)
def test_taps_are_those_of_the_plain_definition(num_in, num_out, centre):
    taps = bilinear_taps(num_in, num_out, sample_centre=centre)
    assert (taps.num_in, taps.num_out) == (num_in, num_out)
    assert (np.diff(taps.indices, axis=0) >= 0).all() and (np.diff(taps.indices, axis=1) >= 0).all()
    np.testing.assert_allclose(dense(taps), resize_axis(num_in, num_out, Fraction(centre)), atol=1e-9)


@pytest.mark.parametrize(("num_in", "num_out"), [(100, 40), (1080, 224), (37, 90)])
def test_inner_outputs_are_those_of_an_antialiased_bilinear(num_in, num_out):
    identity = torch.eye(num_in, dtype=torch.float64)[None, None]
    want = torch.nn.functional.interpolate(identity, (num_out, num_in), mode="bilinear", antialias=True)
    inner = slice(2, -2)  # torch drops taps beyond an edge, swscale repeats the edge
    np.testing.assert_allclose(
        dense(bilinear_taps(num_in, num_out))[inner], want[0, 0].numpy()[inner], atol=1e-9
    )


def test_an_axis_with_no_samples_is_refused():
    for num_in, num_out in ((0, 5), (5, 0)):
        with pytest.raises(ValueError, match=f"at least 1 sample to resize from and to, not {num_in} and"):
            bilinear_taps(num_in, num_out)


def test_only_the_same_size_at_the_same_place_is_the_identity():
    for size in (1, 2, 5, 224):
        assert bilinear_taps(size, size).is_identity
    assert not bilinear_taps(224, 224, sample_centre=0.25).is_identity
    assert not bilinear_taps(224, 225).is_identity
    # Each output is one source sample, but a shifted one, or some samples are missing.
    assert not AxisTaps(num_in=3, indices=np.array([[0], [1]]), weights=np.ones((2, 1))).is_identity
    assert not AxisTaps(num_in=2, indices=np.array([[1], [0]]), weights=np.ones((2, 1))).is_identity


@settings(max_examples=60)
@given(num_in=SIZES, num_out=st.integers(1, 230), centre=st.sampled_from([0.25, 0.5, 0.75]))
@example(num_in=1080, num_out=224, centre=0.5)
@example(num_in=17, num_out=230, centre=0.75)
def test_rows_in_blocks_are_the_whole_product(num_in, num_out, centre):
    taps = bilinear_taps(num_in, num_out, sample_centre=centre)
    rows = np.random.default_rng(num_in).integers(0, 256, (num_in, 6)).astype(np.float32)
    got = RowResize(taps, CPU)(torch.from_numpy(rows))
    assert got.shape == (num_out, 6) and got.is_contiguous()
    np.testing.assert_allclose(got.numpy(), dense(taps) @ rows, atol=2e-3)


@pytest.mark.parametrize(
    ("num_in", "num_out"), [(1080, 224), (480, 168), (1080, 227), (1991, 201), (540, 1080), (360, 360)]
)
def test_blocks_hold_little_but_the_band(num_in, num_out):
    resize = RowResize(bilinear_taps(num_in, num_out, sample_centre=0.25), CPU)
    num_products_per_column = resize._blocks.numel()
    assert num_products_per_column < num_out * num_in / 4


def test_columns_are_the_whole_product():
    taps = bilinear_taps(50, 31, sample_centre=0.25)
    pictures = torch.from_numpy(np.random.default_rng(1).integers(0, 256, (2, 7, 50)).astype(np.float32))
    out = torch.full((2, 7, 31), torch.nan)
    assert ColumnResize(taps, CPU)(pictures, out) is out
    np.testing.assert_allclose(out.numpy(), pictures.numpy() @ dense(taps).T, atol=2e-3)
