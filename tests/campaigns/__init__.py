"""Long runs, started by hand: fuzzing, crashes and speed."""
