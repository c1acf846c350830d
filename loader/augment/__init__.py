"""Augmentation of batches: random crops, flips and colours, and normalisation (AUGMENTATION.md)."""

from typing import TYPE_CHECKING

from frame_store.shared import lazy_names

if TYPE_CHECKING:
    from loader.augment.augmentation import Augmentation, exercise_augmentation
    from loader.augment.callables import Augment, augmented_frames, checked_augment, require_augments
    from loader.augment.draw import AugmentParameters
    from loader.augment.values import ColorJitter, Normalize, RandomResizedCrop

__all__ = [
    "Augment",
    "AugmentParameters",
    "Augmentation",
    "ColorJitter",
    "Normalize",
    "RandomResizedCrop",
    "augmented_frames",
    "checked_augment",
    "exercise_augmentation",
    "require_augments",
]

# The values of an augmentation need no torch; what applies them does.
__getattr__ = lazy_names(
    __name__,
    {
        "loader.augment.augmentation": ["Augmentation", "exercise_augmentation"],
        "loader.augment.callables": ["Augment", "augmented_frames", "checked_augment", "require_augments"],
        "loader.augment.draw": ["AugmentParameters"],
        "loader.augment.values": ["ColorJitter", "Normalize", "RandomResizedCrop"],
    },
)
