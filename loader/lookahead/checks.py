"""Whether look-ahead fits the stores of a batch, checked when a loader is made."""

import torch

from frame_store.protocol import DecodesInGroups, DecodesOnDevice
from loader.batches import FrameSources
from loader.errors import SamplingError


def check_lookahead(lookahead: int, sources: FrameSources, device: torch.device) -> None:
    """Refuse look-ahead where it would save nothing, or where frames do not come to the host.

    Raises:
        SamplingError: `lookahead` is above 0, and a store decodes no groups, or decodes on the GPU of the batches.
    """
    for source in sources.sources if lookahead else ():
        where = "" if source.camera is None else f"camera {source.camera!r}: "
        kind = type(source.store).__name__
        if isinstance(source.store, DecodesOnDevice) and device.type == "cuda":
            raise SamplingError(
                f"{where}lookahead={lookahead} keeps frames on the host until they are due, and {kind} decodes them on "
                f"{device}; take lookahead=0, and windows or sampling='sequential' for batches that share their groups "
                "of pictures, or decode on the CPU"
            )
        if not isinstance(source.store, DecodesInGroups):
            raise SamplingError(
                f"{where}lookahead={lookahead} is for videos decoded live; {kind} reads a frame without decoding "
                "others, so lookahead would save nothing"
            )
