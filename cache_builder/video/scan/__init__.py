"""The scan of a video: every packet is read once and nothing is decoded."""
