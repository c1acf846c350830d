"""LeRobot v3 data sets as its library 0.4.4 writes them, small, without the library: `write_lerobot(root, spec)`.

Each picture shows its camera, episode and frame; columns can be compared with `WrittenLeRobot.columns`. `edits` breaks
what was written.
"""

from tests.support.lerobot.edits import (
    REMOVED,
    edit_data,
    edit_episodes,
    edit_info,
    edit_parquet,
    episodes_column,
)
from tests.support.lerobot.specs import DEFAULT_FEATURES, CameraSpec, FeatureSpec, LeRobotSpec
from tests.support.lerobot.spelling import draw_picture, read_picture
from tests.support.lerobot.write import WrittenLeRobot, write_lerobot

__all__ = [
    "DEFAULT_FEATURES",
    "REMOVED",
    "CameraSpec",
    "FeatureSpec",
    "LeRobotSpec",
    "WrittenLeRobot",
    "draw_picture",
    "edit_data",
    "edit_episodes",
    "edit_info",
    "edit_parquet",
    "episodes_column",
    "read_picture",
    "write_lerobot",
]
