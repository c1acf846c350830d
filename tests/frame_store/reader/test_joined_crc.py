"""The CRC-32C of payloads in a row is that of their bytes, for any number and length of payloads."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from frame_store.codec import crc32c
from frame_store.reader.joined_crc import joined_crc


@given(st.integers(1, 70), st.integers(0, 40), st.integers(0, 2**32))
def test_it_is_the_crc_of_all_bytes(num_bytes, num_payloads, seed):
    payloads = np.random.default_rng(seed).integers(0, 256, (num_payloads, num_bytes), np.uint8)
    crcs = np.array([crc32c(payload.tobytes()) for payload in payloads], np.uint32)
    assert joined_crc(crcs, num_bytes=num_bytes) == crc32c(payloads.tobytes())


@pytest.mark.parametrize("num_bytes", [150_528, 1920 * 1080 * 3, 2**20])
def test_frames_of_usual_sizes(num_bytes):
    payloads = np.random.default_rng(1).integers(0, 256, (5, num_bytes), np.uint8)
    crcs = np.array([crc32c(payload.tobytes()) for payload in payloads])
    assert joined_crc(crcs, num_bytes=num_bytes) == crc32c(payloads.tobytes())


@given(st.integers(1, 30), st.integers(0, 2**20), st.integers(0, 7))
def test_any_flipped_bit_changes_it(num_payloads, place, bit):
    payloads = np.random.default_rng(num_payloads).integers(0, 256, (num_payloads, 40), np.uint8)
    crcs = np.array([crc32c(payload.tobytes()) for payload in payloads])
    payloads.reshape(-1)[place % payloads.size] ^= 1 << bit
    assert joined_crc(crcs, num_bytes=40) != crc32c(payloads.tobytes())
