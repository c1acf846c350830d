"""Opens a video file, within limits, and says what is wrong with a file that does not open."""
