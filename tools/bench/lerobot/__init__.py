"""LeRobot's own reading beside `LeRobotFrames` and `FrameLoader`, live and cached: `cache-bench --lerobot`."""

from frame_cache_tools.bench.lerobot.cases import FRAMES, LIVE, peer_row
from frame_cache_tools.bench.lerobot.dataset import LeRobotItems, read_items
from frame_cache_tools.bench.lerobot.peer_process import PeerFacts
from frame_cache_tools.bench.lerobot.prepare import SIZE, PreparedLeRobot, prepare_lerobot

__all__ = [
    "FRAMES",
    "LIVE",
    "SIZE",
    "LeRobotItems",
    "PeerFacts",
    "PreparedLeRobot",
    "peer_row",
    "prepare_lerobot",
    "read_items",
]
