"""A cache of a LeRobot data set under the face of LeRobot's own `LeRobotDataset`."""

from loader.lerobot.batches import LeRobotBatches
from loader.lerobot.frames import LeRobotFrames
from loader.lerobot.meta import LeRobotMeta
from loader.lerobot.training import dataset_maker

__all__ = ["LeRobotBatches", "LeRobotFrames", "LeRobotMeta", "dataset_maker"]
