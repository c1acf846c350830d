"""Everything that touches the videos themselves: scan, decode, convert, live look-ups."""
