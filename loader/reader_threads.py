"""Threads that read batches, each working alone: torch's own threads would only get in their way."""

import threading
from concurrent.futures import ThreadPoolExecutor

import torch


def reader_threads(num_threads: int) -> ThreadPoolExecutor:
    """A pool in whose threads torch computes with one thread; what it does in others stays as it was."""
    return ThreadPoolExecutor(
        num_threads, thread_name_prefix="frame-loader", initializer=_compute_with_one_thread
    )


def _compute_with_one_thread() -> None:
    num_threads = torch.get_num_threads()
    # Sets this thread's number, and what threads yet to come begin with; another thread sets the latter back.
    torch.set_num_threads(1)
    restorer = threading.Thread(target=torch.set_num_threads, args=(num_threads,))
    restorer.start()
    restorer.join()
