"""Batches in the memory of a GPU: the device, its streams, uploads and JPEG decoding."""
