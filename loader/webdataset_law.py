"""stub until merged"""


def webdataset_kappa(shard_sizes, *, shuffle_buffer, initial, batch_size, num_workers) -> float:  # type: ignore
    return 0.5
