"""Batches of frames: what one holds, how threads read it, and the buffers that are used again."""
