"""Look into a folder of videos before a cache is built: what is in it, how it looks, what a cache would take.

Open this file in an editor that runs `# %%` cells (VS Code, PyCharm, Spyder), or run it as a script:

    VIDEOS=videos/ python examples/inspect_folder.py     # writes frames.png

Needs matplotlib: pip install matplotlib
"""

# %% Open the folder. Nothing is built: frames are decoded when they are read.
import os
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import simplejpeg

from cache_builder import open_videos

FOLDER = Path(os.environ.get("VIDEOS", "videos"))

store = open_videos(FOLDER, size=224)
print(store)
print(store.passed_over.text if store.passed_over else "one video")

# %% A line for each video: its frames, size, codec and rate, or why it cannot be read.
for video_id, video in enumerate(store.facts_of_videos):
    num_frames = store.shard_sizes[video_id]  # live, a shard is a video
    if isinstance(video, Exception):
        print(f"{video_id:4}  {video}")
        continue
    rate = "?" if video.average_rate is None else f"{video.average_rate[0] / video.average_rate[1]:.2f}"
    print(
        f"{video_id:4} {num_frames:7} frames  {video.width}x{video.height} {video.codec} {rate} fps  {video.path}"
    )
    for note in video.notes:
        print(f"      {note}")
for paths in store.copies:
    print("byte for byte the same:", ", ".join(paths))

# %% The first, the middle and the last frame of the first four videos that can be read.
ends = np.cumsum(store.shard_sizes)
readable = [video_id for video_id, num_frames in enumerate(store.shard_sizes) if num_frames][:4]
figure, axes = plt.subplots(len(readable), 3, figsize=(9, 3 * len(readable)), squeeze=False)
for row, video_id in zip(axes, readable, strict=True):
    first, last = ends[video_id] - store.shard_sizes[video_id], ends[video_id] - 1
    ids = [first, (first + last) // 2, last]
    rows = store.index[ids]
    for axis, frame, seconds in zip(row, store.read_frames(ids), rows["pts_seconds"], strict=True):
        axis.imshow(frame)
        axis.set_title(f"video {video_id}, {seconds:.2f} s")
        axis.axis("off")
figure.savefig("frames.png")

# %% What a JPEG cache would take, by 64 random frames. While it is built, twice that is needed.
sample = np.random.default_rng(0).choice(len(store), size=min(64, len(store)), replace=False)
sizes = [len(simplejpeg.encode_jpeg(frame, quality=95)) for frame in store.read_frames(np.sort(sample))]
print(
    f"{np.mean(sizes) / 1000:.1f} KB a frame, {len(store) * np.mean(sizes) / 1e9:.3f} GB for {len(store)} frames"
)
print(f"raw: {len(store) * np.prod(store.frame_shape) / 1e9:.3f} GB")
store.close()
