"""Decoding and colour conversion on the GPU (NVDEC): the `DecodeBackend` of an NVIDIA GPU."""

from typing import TYPE_CHECKING

from frame_store.shared import lazy_names

if TYPE_CHECKING:
    from cache_builder.gpu.convert import CudaFrameConverter, YuvConverters
    from cache_builder.gpu.decoder_choice import DecoderChoice, choose_decoders
    from cache_builder.gpu.device_frames import check_on_device
    from cache_builder.gpu.nvdec import NvdecDevice, choose_backend
    from cache_builder.gpu.probe import probe_nvdec
    from cache_builder.gpu.yuv_format import ChromaLocation, find_chroma_location

__all__ = [
    "ChromaLocation",
    "CudaFrameConverter",
    "DecoderChoice",
    "NvdecDevice",
    "YuvConverters",
    "check_on_device",
    "choose_backend",
    "choose_decoders",
    "find_chroma_location",
    "probe_nvdec",
]

__getattr__ = lazy_names(
    __name__,
    {
        "cache_builder.gpu.decoder_choice": ["DecoderChoice", "choose_decoders"],
        "cache_builder.gpu.convert": ["CudaFrameConverter", "YuvConverters"],
        "cache_builder.gpu.device_frames": ["check_on_device"],
        "cache_builder.gpu.nvdec": ["NvdecDevice", "choose_backend"],
        "cache_builder.gpu.probe": ["probe_nvdec"],
        "cache_builder.gpu.yuv_format": ["ChromaLocation", "find_chroma_location"],
    },
)
