"""Tells stores that fetch whole shards which batches come to one worker process."""

from collections.abc import Iterator
from functools import partial
from itertools import islice

from torch.utils.data import get_worker_info

from loader.batches import FrameSources
from loader.lookahead import ShardFeeds
from loader.sampling import Place
from loader.windows import BatchRequest, WindowedEpochs


class WorkerFeeds:
    """The feeds of a worker, which gets each batch of an epoch whose number is its own modulo the number of workers.

    A batch that was not expected begins new feeds. So an iteration that was left early costs some downloads, no more.
    """

    def __init__(self, epochs: WindowedEpochs, sources: FrameSources) -> None:
        """Of a loader whose workers get the batches of `epochs`. It is pickled to them before it is used."""
        self._epochs, self._sources = epochs, sources
        self._feeds: ShardFeeds | None = None
        self._expected: tuple[Place, int] | None = None

    def announce(self, began: Place, step: int) -> None:
        """Batch number `step` of the iteration that began at a place is read now, by this worker."""
        worker = get_worker_info()
        stride = 1 if worker is None else worker.num_workers
        if self._feeds is None or self._expected != (began, step):
            if self._feeds is not None:
                self._feeds.close()
            coming = partial(self._coming, began, step, stride)
            self._feeds = ShardFeeds(self._sources, coming, num_in_flight=1)
        self._feeds.advance()
        self._expected = (began, step + stride)
        if step + stride >= len(self._epochs.slice_from(*began)):
            self._expected = (Place(began.epoch + 1, 0), step % stride)

    def _coming(self, began: Place, step: int, stride: int) -> Iterator[tuple[int, BatchRequest]]:
        of_epoch = self._epochs.requests(began.epoch, first_position=began.position)
        epoch, is_over = began.epoch, False
        for request in islice(of_epoch, step, None, stride):
            yield epoch, request
        while not is_over:
            epoch, is_over = epoch + 1, True
            for request in islice(self._epochs.requests(epoch), step % stride, None, stride):
                is_over = False
                yield epoch, request
