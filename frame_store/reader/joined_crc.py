"""CRC-32C of many payloads of one length in a row, out of their own: a whole batch is then compared in one call."""

from functools import cache
from typing import Final

import numpy as np
import numpy.typing as npt

UInt32s = npt.NDArray[np.uint32]

_POLYNOMIAL: Final = 0x82F63B78  # CRC-32C, its lowest power in the highest bit


def joined_crc(crcs: npt.NDArray[np.integer], *, num_bytes: int) -> int:
    """CRC-32C of payloads in a row, each of `num_bytes`, whose CRC-32Cs are `crcs`, shape (B,).

    crc(A B) = shift(crc(A), bytes of B) xor crc(B), where shift multiplies by a power of x modulo the polynomial of the
    CRC (G. Castagnoli et al., 1993, and `crc32_combine` of zlib). Neighbours are joined in pairs, and the pairs again.

    >>> from frame_store.codec import crc32c
    >>> joined_crc(np.array([crc32c(b"one"), crc32c(b"two")]), num_bytes=3) == crc32c(b"onetwo")
    True
    """
    parts = crcs.astype(np.uint32)
    while len(parts) > 1:
        if len(parts) % 2:  # the CRC of nothing is 0, and what is before it stays as it is
            parts = np.concatenate([np.zeros(1, np.uint32), parts])
        parts = _shifted(parts[::2], num_bytes) ^ parts[1::2]
        num_bytes *= 2
    return int(parts[0]) if len(parts) else 0


def _shifted(crcs: UInt32s, num_bytes: int) -> UInt32s:
    tables = _tables(num_bytes)
    shifted: UInt32s = tables[0, crcs & 255]
    for number in range(1, 4):
        shifted = shifted ^ tables[number, crcs >> np.uint32(8 * number) & 255]
    return shifted


@cache
def _tables(num_bytes: int) -> UInt32s:
    """uint32 (4, 256): by number and value of a byte of a CRC, what it becomes when `num_bytes` follow."""
    factor = _power_of_x(8 * num_bytes)
    of_bits = np.array([_product(1 << bit, factor) for bit in range(32)], np.uint32).reshape(4, 8)
    tables = np.zeros((4, 256), np.uint32)
    for bit in range(8):
        tables ^= np.where(np.arange(256) >> bit & 1, of_bits[:, bit, None], np.uint32(0))
    return tables


def _power_of_x(exponent: int) -> int:
    """x to the `exponent` modulo the polynomial, by squaring."""
    power, square = 1 << 31, 1 << 30  # 1, and x
    while exponent:
        if exponent & 1:
            power = _product(power, square)
        square = _product(square, square)
        exponent >>= 1
    return power


def _product(one: int, other: int) -> int:
    """The product of two polynomials over GF(2) modulo the polynomial; the highest bit is the power 0."""
    product = 0
    for bit in range(31, -1, -1):
        if one >> bit & 1:
            product ^= other
        other = other >> 1 ^ (_POLYNOMIAL if other & 1 else 0)
    return product
