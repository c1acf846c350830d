"""Pictures that show their camera, episode and frame."""

import numpy as np
from frame_cache_tools.samples.numbered_videos import draw_frame, read_frame

_EPISODE_BITS = 12
_NUM_CAMERAS = 16


def draw_picture(
    camera: int, episode: int, frame: int, width: int, height: int, *, num_levels: int | None = None
) -> np.ndarray:
    """The picture of camera number `camera`: uint8 (height, width, 3), or for a depth camera uint16 (height, width).

    A depth picture of `num_levels` levels begins with its three numbers; a ramp over all levels follows.
    """
    if num_levels is None:
        return draw_frame(_number(camera, episode), frame, width, height)
    levels = (np.arange(height * width) + 64 * episode + 7 * frame) % num_levels
    levels[:3] = camera, episode, frame
    return levels.reshape(height, width).astype(np.uint16)


def read_picture(picture: np.ndarray, **how) -> tuple[int, int, int]:
    """(camera number, episode, frame) of a picture; `how` as `read_frame` takes it.

    A depth picture, uint16 (H, W) or (H, W, 1), must be of its original size.
    """
    if picture.dtype == np.uint16:
        return tuple(map(int, picture.reshape(-1)[:3]))
    number, frame = read_frame(picture, **how)
    return number >> _EPISODE_BITS, number % (1 << _EPISODE_BITS), frame


def _number(camera: int, episode: int) -> int:
    if not (0 <= camera < _NUM_CAMERAS and 0 <= episode < 1 << _EPISODE_BITS):
        raise ValueError(f"camera {camera}, episode {episode}: at most {_NUM_CAMERAS} cameras, 4096 episodes")
    return camera << _EPISODE_BITS | episode
