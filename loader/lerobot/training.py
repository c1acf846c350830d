"""A cache in the place of the data set in LeRobot's training script."""

from collections.abc import Callable
from typing import Any

from loader.lerobot.frames import LeRobotFrames
from loader.store_argument import StoreOrPath, opened_store


def dataset_maker(cache: StoreOrPath, **options: Any) -> Callable[[Any], LeRobotFrames]:  # noqa: ANN401 - as given
    """What replaces `make_dataset` of `lerobot.scripts.lerobot_train`.

    ```python
    from lerobot.scripts import lerobot_train
    lerobot_train.make_dataset = loader.lerobot.dataset_maker("CACHE")
    ```

    The function that it returns makes a `LeRobotFrames` for the configuration of a training: with the windows that its
    policy asks for, its image transforms, episodes and tolerance, and ImageNet's statistics where it wants them.
    `options` go to `LeRobotFrames`. Only this function needs LeRobot, and imports it when it is called.

    Raises:
        LeRobotError: see `LeRobotFrames`.
    """
    store = opened_store(cache)

    def make_dataset(cfg: Any) -> LeRobotFrames:  # noqa: ANN401 - lerobot.configs.train.TrainPipelineConfig
        import torch
        from lerobot.datasets.factory import IMAGENET_STATS, resolve_delta_timestamps
        from lerobot.datasets.transforms import ImageTransforms

        transforms = cfg.dataset.image_transforms
        given = {"repo_id": cfg.dataset.repo_id, "episodes": cfg.dataset.episodes, **options}
        frames = LeRobotFrames(store, **given)
        frames = LeRobotFrames(
            store,
            resolve_delta_timestamps(cfg.policy, frames.meta),
            **{
                "tolerance_s": cfg.tolerance_s,
                "image_transforms": ImageTransforms(transforms) if transforms.enable else None,
                **given,
            },
        )
        if cfg.dataset.use_imagenet_stats and frames.meta.stats is not None:
            for key in frames.meta.camera_keys:
                if key not in frames.meta.depth_keys:
                    for name, value in IMAGENET_STATS.items():
                        frames.meta.stats[key][name] = torch.tensor(value, dtype=torch.float32)
        return frames

    return make_dataset
