"""Frames out of packets, each known by its place in the decoder's output."""
