"""What columns cost: CPU time of a batch's order and gather, over the CPU time of the raw batch itself.

    python -m tests.campaigns.bench_columns [--videos 20] [--frames-per-video 300] [--rounds 15] [--rows 1000000]

A made-up raw cache of 224x224x3 has three columns (14 float32, an int64, a text code). In each round every case reads the
same number of batches of 128 through `FrameLoader` with one thread, the cases in turn, and the CPU time of the process is
taken. A ratio is (the case - the raw batch) / the raw batch, round by round, and the median of these is printed. The
gather alone is measured, too: CPU time of `ColumnGatherer.gather` for a request that is made already.

Memory: the columns of `--rows` rows and of ten times as many are mapped and gathered from; the growth of the process's
private memory is printed.
"""

BATCH_SIZE = 128
COLUMNS = ("action", "count", "task")
CASES = {
    "raw batch": {"columns": ()},
    "three columns": {"columns": COLUMNS},
    "16 steps of 14 actions": {"columns": ["action"], "column_offsets": {"action": range(16)}},
}
