"""Columns of a data file, compared with the features of info.json."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cache_builder.errors import InputFolderError
from cache_builder.sources.lerobot.info import Feature, LeRobotInfo
from frame_store.shared import without_controls

if TYPE_CHECKING:
    import pyarrow as pa


def check_schema(root: Path, name: str, schema: "pa.Schema", info: LeRobotInfo) -> list[str]:
    """Columns of the file that info.json does not name.

    Raises:
        InputFolderError: a feature has no column in the file, several, or one of other values.
    """
    found = schema.names
    for feature in info.features:
        if found.count(feature.key) != 1:
            how = "is missing" if feature.key not in found else "occurs more than once"
            raise InputFolderError(
                root, f"{name}: column {feature.key!r}, a feature of meta/info.json, {how}"
            )
        kind = schema.field(feature.key).type
        if not _fits(kind, feature):
            stated = f"{feature.dtype or 'string'} of shape {list(feature.shape) or [1]}"
            raise InputFolderError(
                root, f"{name}: column {feature.key!r} is of {kind}, meta/info.json states {stated}"
            )
    named = info.raw["features"]
    return [without_controls(column[:100]) for column in found if column not in named]


def storage_type(kind: "pa.DataType") -> "pa.DataType":
    """The type below an extension such as that of 2-D arrays."""
    import pyarrow as pa

    return kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind


def is_list(kind: "pa.DataType") -> bool:
    """Whether values are lists."""
    import pyarrow as pa

    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _fits(kind: "pa.DataType", feature: Feature) -> bool:
    import pyarrow as pa

    kind = storage_type(kind)
    for side in feature.shape:
        if not is_list(kind) or (pa.types.is_fixed_size_list(kind) and kind.list_size != side):
            return False
        kind = storage_type(kind.value_type)
    if feature.dtype is None:
        kind = kind.value_type if pa.types.is_dictionary(kind) else kind
        return bool(
            pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
        )
    if feature.dtype == np.bool_:
        return bool(pa.types.is_boolean(kind))
    if feature.dtype.kind == "f":
        return bool(pa.types.is_floating(kind))
    return bool(pa.types.is_integer(kind))
