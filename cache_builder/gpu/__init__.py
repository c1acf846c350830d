"""Decoding on the GPU (NVDEC). No other room knows it."""

from typing import TYPE_CHECKING

from frame_store.shared import lazy_names

if TYPE_CHECKING:
    from cache_builder.gpu.choice import DecoderChoice, choose_decoders
    from cache_builder.gpu.convert import CudaFrameConverter, YuvConverters
    from cache_builder.gpu.nvdec import Device, NvdecDevice, check_on_device, choose_nvdec, probe_nvdec
    from cache_builder.gpu.yuv_format import ChromaLocation, find_chroma_location

__all__ = [
    "ChromaLocation",
    "CudaFrameConverter",
    "DecoderChoice",
    "Device",
    "NvdecDevice",
    "YuvConverters",
    "check_on_device",
    "choose_decoders",
    "choose_nvdec",
    "find_chroma_location",
    "probe_nvdec",
]

__getattr__ = lazy_names(
    __name__,
    {
        "cache_builder.gpu.choice": ["DecoderChoice", "choose_decoders"],
        "cache_builder.gpu.convert": ["CudaFrameConverter", "YuvConverters"],
        "cache_builder.gpu.nvdec": [
            "Device",
            "NvdecDevice",
            "check_on_device",
            "choose_nvdec",
            "probe_nvdec",
        ],
        "cache_builder.gpu.yuv_format": ["ChromaLocation", "find_chroma_location"],
    },
)
