"""Copies between host and GPU, and frames to copy."""

from collections import Counter

import numpy as np
import pytest
from frame_cache_tools.bench.gpu.trace import profile_gpu

FRAME_BYTES = 224 * 224 * 3


def smooth_frames(num_frames):
    """Gradients and waves, as in natural frames, different in each frame: uint8 (N, 224, 224, 3)."""
    frame, y, x, channel = np.ogrid[:num_frames, :224, :224, :3]
    waves = np.sin(x / (9 + channel) + frame) + np.cos(y / (11 + 2 * channel) - frame / 3)
    return (127.5 + 55 * waves + 8 * (channel - 1)).round().astype(np.uint8)


def copied_bytes(events):
    """Bytes of all copies in a trace, by direction: `HtoD`, `DtoH`, `DtoD`.

    A copy is an event of the category `gpu_memcpy`, named for example `Memcpy HtoD (Pinned -> Device)`.
    """
    copies = Counter()
    for event in events:
        if event.get("cat") == "gpu_memcpy":
            copies[event["name"].split()[1]] += int(event["args"]["bytes"])
    return copies


def copies_of(work, folder, *, num_images, record=lambda name, value: None):
    """Bytes copied for each image while `work` runs, by direction. Skips the test where the profiler sees none."""
    import torch

    # The profiler starts slowly, and may miss the first copies.
    profile_gpu(lambda: torch.zeros(1024).to("cuda"), folder / "trace.json")
    copies = copied_bytes(profile_gpu(work, folder / "trace.json"))
    if not copies:
        pytest.skip("torch's profiler sees no copies here (no CUPTI, or not allowed to)")
    for direction in ("HtoD", "DtoH", "DtoD"):
        copies[direction] /= num_images
        record(f"bytes an image, {direction}", round(copies[direction], 1))
    return copies
