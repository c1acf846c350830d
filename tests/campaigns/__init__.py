"""Long runs by hand: fuzzing, crashes and speed."""
