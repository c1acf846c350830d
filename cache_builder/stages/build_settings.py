"""The settings of a build, out of `generation.json`."""

import msgspec

from cache_builder.settings import BuildConfig
from frame_store.manifest import Generation


def stored_config(generation: Generation) -> BuildConfig:
    """The settings that a generation was built with.

    Raises:
        ValueError: no build of this version has such settings, or they contradict the rest of `generation.json`.
    """
    try:
        config = msgspec.convert(generation.config, BuildConfig)
    except msgspec.ValidationError as error:
        raise ValueError(f"config of generation.json is not one of this version: {error}") from error
    of_config = (config.format, config.encoding, config.frame_shape, config.layout, config.seed)
    of_frames = (
        *(generation.container, generation.encoding, generation.frame_shape),
        *(generation.layout, generation.seed),
    )
    if of_config != of_frames:
        raise ValueError("config of generation.json contradicts the rest of it")
    return config
