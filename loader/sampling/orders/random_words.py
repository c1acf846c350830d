"""Random bits as a pure function of (seed, epoch, stream, counter): the only source of randomness in the loader.

`SeedSequence` mixes (seed, epoch) into keys. SplitMix64 turns a key and a counter into a word. Both are fixed integer
arithmetic. NumPy promises to keep `SeedSequence`, but not the methods of `Generator`, so no `Generator` is used. An
order is therefore the same in any process, on any machine and with any version of NumPy.
"""

from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from frame_store.shared import whole_number
from loader.errors import SamplingError

Words: TypeAlias = npt.NDArray[np.uint64]

# Steele, Lea, Flood: "Fast splittable pseudorandom number generators" (OOPSLA 2014), as in java.util.SplittableRandom.
_GOLDEN_GAMMA: Final = np.uint64(0x9E3779B97F4A7C15)
_MIX_1: Final = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2: Final = np.uint64(0x94D049BB133111EB)


def epoch_keys(*, seed: int, epoch: int, num_keys: int, stream: int | tuple[int, ...] | None = None) -> Words:
    """Keys of one epoch, uint64 of shape (num_keys,); a longer list starts with the shorter one.

    Each `stream` (a `spawn_key` of `SeedSequence`: words of 32 bits) is independent of the others. Orders of frames use
    the stream None.

    Raises:
        SamplingError: seed or epoch outside [0, 2**32). `SeedSequence` concatenates 32-bit words, so with larger
            numbers (2**32, 0) and (0, 1) would be the same epoch.
    """
    for name, number in (("seed", seed), ("epoch", epoch)):
        if not 0 <= whole_number(name, number, error=SamplingError) < 1 << 32:
            raise SamplingError(f"{name} must be in [0, 2**32), found {number}")
    spawn_key = () if stream is None else (stream,) if isinstance(stream, int) else stream
    sequence = np.random.SeedSequence([int(seed), int(epoch)], spawn_key=spawn_key)
    return sequence.generate_state(num_keys, np.uint64).astype(np.uint64)


def words_at(key: np.uint64, counters: Words) -> Words:
    """Words of the stream `key` at any `counters`: uint64, of the same shape as `counters`."""
    words = (counters + np.uint64(1)) * _GOLDEN_GAMMA + key
    words = (words ^ (words >> np.uint64(30))) * _MIX_1
    words = (words ^ (words >> np.uint64(27))) * _MIX_2
    return words ^ (words >> np.uint64(31))


def integers_below(words: Words, bound: int | Words) -> Words:
    """Each word as an integer in [0, bound). Probabilities differ from uniform by a relative bound / 2**64 at most."""
    return words % np.asarray(bound, np.uint64)


def unit_floats(words: Words) -> npt.NDArray[np.float64]:
    """Each word as a multiple of 2**-53 in [0, 1), all equally likely."""
    return (words >> np.uint64(11)).astype(np.float64) * 2.0**-53


def draw_without_replacement(words: Words, num_items: int) -> npt.NDArray[np.int64]:
    """The first len(words) entries of a uniformly random permutation of [0, num_items): int64, in random order.

    A Fisher-Yates shuffle that stores only the entries that it exchanged, so the cost does not depend on num_items.
    """
    moved: dict[int, int] = {}
    drawn = np.empty(len(words), np.int64)
    for position, word in enumerate(words.tolist()):
        other = position + word % (num_items - position)
        drawn[position] = moved.get(other, other)
        moved[other] = moved.get(position, position)
    return drawn
