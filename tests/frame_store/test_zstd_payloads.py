"""A Zstandard payload gives its frame in place, or an error: never a part of a frame."""

import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numcodecs import zstd

from frame_store.codec import ZstdCodec

SHAPE = (6, 8, 3)
CODEC = ZstdCodec(level=3)


def frame_of(seed):
    return np.random.default_rng(seed).integers(0, 5, SHAPE, np.uint8)


@given(st.integers(0, 2**32), st.integers(-5, 22))
def test_a_payload_of_any_level_decodes_to_what_numcodecs_gives(seed, level):
    frame = frame_of(seed)
    payload = ZstdCodec(level=level).encode(frame)
    out = np.full(SHAPE, 255, np.uint8)
    CODEC.decode_into(payload, out)
    assert (out == frame).all() and zstd.decompress(payload) == out.tobytes()


@given(st.data())
def test_a_payload_that_is_not_a_frame_is_refused(data):
    payload = CODEC.encode(frame_of(data.draw(st.integers(0, 99))))
    broken = data.draw(
        st.one_of(
            st.integers(0, len(payload) - 1).map(lambda end: payload[:end]),
            st.just(zstd.compress(b"x" * (np.prod(SHAPE) - 1))),
            st.just(zstd.compress(b"x" * (np.prod(SHAPE) + 1))),
            st.binary(max_size=40),
        )
    )
    with pytest.raises(ValueError, match=r"Zstandard frame|zstd decompress error"):
        CODEC.decode_into(broken, np.empty(SHAPE, np.uint8))


def test_a_decoder_goes_on_after_an_error():
    frame, out = frame_of(1), np.empty(SHAPE, np.uint8)
    payload = CODEC.encode(frame)
    with pytest.raises(ValueError, match="ends after"):
        CODEC.decode_into(payload[:-1], out)
    CODEC.decode_into(payload, out)
    assert (out == frame).all()


@given(st.lists(st.sampled_from([1, 2, 300]), min_size=1, max_size=6), st.integers(0, 5))
def test_frames_of_other_sizes_may_follow_each_other(heights, wrong):
    frames = [np.full((height, 8, 3), number, np.uint8) for number, height in enumerate(heights)]
    payloads, outs = [CODEC.encode(frame) for frame in frames], [np.empty_like(frame) for frame in frames]
    CODEC.decode_all(payloads, outs)
    assert all((out == frame).all() for out, frame in zip(outs, frames, strict=True))
    if wrong < len(outs):
        outs[wrong] = np.empty((outs[wrong].shape[0] + 1, 8, 3), np.uint8)
        with pytest.raises(ValueError, match="of pixels, expected"):
            CODEC.decode_all(payloads, outs)


def test_threads_have_decoders_of_their_own():
    frames = [frame_of(seed) for seed in range(8)]
    payloads = [CODEC.encode(frame) for frame in frames]
    wrong = []

    def decode(number):
        out = np.empty(SHAPE, np.uint8)
        for _ in range(300):
            CODEC.decode_into(payloads[number], out)
            if (out != frames[number]).any():
                wrong.append(number)

    threads = [threading.Thread(target=decode, args=(number,)) for number in range(len(frames))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
