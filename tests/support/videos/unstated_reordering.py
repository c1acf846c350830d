"""H.264 streams whose SPS does not state reordering, as many hardware encoders write them."""

_PROFILES_WITH_CHROMA = {100, 110, 122, 244, 44, 83, 86, 118, 128}


def without_reordering_stated(mp4: bytes) -> bytes:
    """An MP4 file with its SPS, in `avcC`, cut off before the VUI; sizes stay, as the SPS is padded.

    H.264, 7.3.2.1.1. An SPS may end in `cabac_zero_words`-like zero bytes, which decoders pass over.
    """
    place = mp4.index(b"avcC") + 4
    num_bytes = int.from_bytes(mp4[place + 6 : place + 8], "big")
    sps = mp4[place + 8 : place + 8 + num_bytes]
    bits = "".join(f"{byte:08b}" for byte in _unescaped(sps))
    end = _position_of_vui_flag(bits)
    assert bits[end] == "1"
    shorter = bits[:end] + "0" + "1"
    shorter += "0" * (-len(shorter) % 8)
    data = int(shorter, 2).to_bytes(len(shorter) // 8, "big")
    assert _unescaped(data) == data  # else it would have to be escaped
    assert len(data) <= num_bytes
    return mp4[: place + 8] + data.ljust(num_bytes, b"\0") + mp4[place + 8 + num_bytes :]


def _unescaped(nal: bytes) -> bytes:
    return nal.replace(b"\0\0\3", b"\0\0")


def _position_of_vui_flag(bits: str) -> int:
    position = 8  # the NAL header

    def flags(count: int) -> str:
        nonlocal position
        position += count
        return bits[position - count : position]

    def number() -> int:
        zeros = bits.index("1", position) - position
        return int(flags(2 * zeros + 1), 2) - 1

    profile = int(flags(8), 2)
    flags(16)
    number()
    if profile in _PROFILES_WITH_CHROMA:
        assert number() == 1  # 4:2:0
        number(), number()
        assert flags(2) == "00"  # no scaling matrices
    number()
    poc_type = number()
    assert poc_type in (0, 2)
    if poc_type == 0:
        number()
    number()
    flags(1)
    number(), number()
    if flags(1) == "0":
        flags(1)
    flags(1)
    if flags(1) == "1":
        number(), number(), number(), number()
    return position
