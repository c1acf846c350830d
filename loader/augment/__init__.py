"""Augmentation of batches: random crops, flips and colours, and normalisation (AUGMENTATION.md)."""

from loader.augment.augmentation import Augmentation, exercise_augmentation
from loader.augment.callables import Augment, augmented_frames, checked_augment
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
]
