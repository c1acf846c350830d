"""Decodes, resizes and encodes videos, and does nothing else: the limit that a build is compared with.

    python -m tests.campaigns.building.bare_worker VIDEO...

It prints "ready" once all is imported, waits for a line, works, and prints the number of frames. Decoder, conversion
and encoder are those of `cache-build` at its defaults; the JPEGs go nowhere.
"""

import sys
from pathlib import Path

from frame_cache_tools.bench.cases.limits import decode_in_order

from cache_builder.video.picture import FrameGeometry
from frame_store.codec import JpegCodec


def main() -> None:
    codec, geometry, num_frames = JpegCodec(quality=95, chroma="444"), FrameGeometry(), 0
    print("ready", flush=True)
    sys.stdin.readline()
    for name in sys.argv[1:]:
        for pixels in decode_in_order(Path(name), geometry):
            codec.encode(pixels)
            num_frames += 1
    print(num_frames, flush=True)


if __name__ == "__main__":
    main()
