"""The two containers of frames, tar and Zarr: written, checked and read back (FORMAT.md 5 and 6)."""
