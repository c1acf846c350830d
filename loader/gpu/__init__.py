"""Batches in the memory of a GPU: the device, its streams, uploads and JPEG decoding."""

from loader.gpu.device import Device, JpegDecode, checked_pin_memory, chosen_device, chosen_jpeg_decoder
from loader.gpu.jpeg import find_jpeg_decoder
from loader.gpu.reader import DeviceReader
from loader.gpu.streams import CudaStreams, DeviceStreams

__all__ = [
    "CudaStreams",
    "Device",
    "DeviceReader",
    "DeviceStreams",
    "JpegDecode",
    "checked_pin_memory",
    "chosen_device",
    "chosen_jpeg_decoder",
    "find_jpeg_decoder",
]
