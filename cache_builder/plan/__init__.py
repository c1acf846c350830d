"""Which frames are kept and which packets are decoded together. Pure functions."""
