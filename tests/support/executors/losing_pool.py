"""A pool that loses jobs, as a cluster does."""

from collections import Counter

from cache_builder.executors import JobLost
from tests.support.executors.in_process_pool import InProcessPool


class LosingPool(InProcessPool):
    """Loses every job the first `num_losses` times, before it runs."""

    num_losses = 1

    def __init__(self, *, num_workers=1):
        super().__init__()
        self.losses = Counter()

    def __class_getitem__(cls, _):
        return cls

    def next_outcome(self):
        job = self._jobs[0]
        if self.losses[id(job)] < self.num_losses:
            self.losses[id(job)] += 1
            return JobLost(job=self._jobs.popleft(), how="its node ended")
        return super().next_outcome()
