"""Plain `webdataset` over a cache on disk: how often two frames of a batch share a shard, against our prediction."""

import gc
import random

import numpy as np
import pytest
import webdataset

from loader.bias.webdataset.kappa import webdataset_kappa
from loader.bias.webdataset.report import WebDatasetSpec, webdataset_report
from loader.errors import SamplingError
from tests.support.caches.array_store import ArrayStore
from tests.support.caches.tar_cache import write_tar_cache
from tests.support.caches.tree import generation_folder

SHARDS, FRAMES, BATCH = 12, 40, 16
EPOCHS = 120

# webdataset leaves closing its shards to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")


@pytest.fixture(scope="module")
def urls(tmp_path_factory):
    path = tmp_path_factory.mktemp("plain") / "cache"
    write_tar_cache(path, ArrayStore([FRAMES] * SHARDS))
    return [str(shard) for shard in sorted((generation_folder(path) / "shards").iterdir())]


@pytest.fixture(scope="module")
def unbuffered(urls):
    """Keys of every epoch before a shuffle buffer: shards in random order, samples as they lie."""
    epochs = [
        [
            {"__key__": sample["__key__"]}
            for sample in webdataset.WebDataset(urls, shardshuffle=100, seed=epoch)
        ]
        for epoch in range(EPOCHS)
    ]
    gc.collect()  # here, where its unclosed files are expected
    return epochs


def keys_of_epoch(urls, *, buffer, initial, epoch):
    """Of the whole pipeline, from the files."""
    stream = webdataset.WebDataset(urls, shardshuffle=100, seed=epoch).shuffle(
        buffer, initial=initial, rng=random.Random(epoch)
    )
    return [sample["__key__"] for sample in stream]


def measured_kappas(urls, unbuffered, *, buffer, initial):
    """Mean over the whole batches of each epoch, shape (EPOCHS,): epochs are independent."""
    means = []
    for epoch, samples in enumerate(unbuffered):
        shuffled = webdataset.shuffle(buffer, initial=initial, rng=random.Random(epoch))(iter(samples))
        keys = [sample["__key__"] for sample in shuffled]
        if epoch in (0, EPOCHS - 1):
            assert keys == keys_of_epoch(urls, buffer=buffer, initial=initial, epoch=epoch)
        shards = np.array([int(key) // FRAMES for key in keys])
        assert len(shards) == SHARDS * FRAMES
        batches = shards[: len(shards) // BATCH * BATCH].reshape(-1, BATCH)
        same = (batches[:, :, None] == batches[:, None, :]).sum(axis=(1, 2)) - BATCH
        means.append(same.mean() / (BATCH * (BATCH - 1)))
    gc.collect()  # at this point a warning about unclosed files is expected
    return np.array(means)


@pytest.mark.parametrize(("buffer", "initial"), [(60, 60), (100, 30), (20, 20)])
def test_kappa_of_plain_webdataset_is_as_predicted(urls, unbuffered, buffer, initial):
    """Within 4 standard errors of 120 epochs, about 1% of kappa; buffers half or twice as long are rejected."""
    measured = measured_kappas(urls, unbuffered, buffer=buffer, initial=initial)
    error = measured.std(ddof=1) / np.sqrt(EPOCHS)

    def predicted(length):
        return webdataset_kappa(
            [FRAMES] * SHARDS, shuffle_buffer=length, initial=min(initial, length), batch_size=BATCH
        )

    assert abs(measured.mean() - predicted(buffer)) < 4 * error
    for wrong in (predicted(buffer // 2), predicted(buffer * 2), 1 / SHARDS):
        assert abs(measured.mean() - wrong) > 10 * error


def test_its_row_in_the_report():
    spec = WebDatasetSpec(shuffle_buffer=60, num_workers=2)
    report = webdataset_report([FRAMES] * SHARDS, spec, batch_size=BATCH, rho=None)
    assert report.law.kappa["shard"] == webdataset_kappa(
        [FRAMES] * SHARDS, shuffle_buffer=60, batch_size=BATCH, num_workers=2
    )
    assert (report.law.chi2, report.law.chi2_at_start, report.bias_of_proxy) == (0, 0, 0)
    assert report.effective_batch is None
    unequal = webdataset_report([10, 30], WebDatasetSpec(shuffle_buffer=5), batch_size=4, rho=None)
    assert unequal.law.chi2_at_start == unequal.law.chi2_at_end == pytest.approx(1 / 3)
    assert unequal.law.chi2_at_middle is None
    for wrong in ({"shuffle_buffer": 0}, {"num_workers": 0}, {"initial": 0}):
        with pytest.raises(SamplingError, match="must be 1 or more, found 0"):
            WebDatasetSpec(**wrong)
