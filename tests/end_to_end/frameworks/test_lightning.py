"""Lightning's `Trainer` over our loaders: which epochs it sees, and where it goes on from a checkpoint."""

from itertools import chain

import pytest

pytest.importorskip("lightning")

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch.utils.data import DataLoader

from loader import FrameBatchSampler, FrameDataset, FrameLoader, frame_batch_collate, make_dataloader
from loader.sampling.plan import make_plan
from tests.support.caches.array_store import ArrayStore

# Lightning's own, about workers, loggers and what it calls of torch.
pytestmark = [
    pytest.mark.filterwarnings("ignore::lightning.fabric.utilities.warnings.PossibleUserWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore:Checkpoint directory .* is not empty:UserWarning"),
]

NUM_FRAMES, BATCH_SIZE, SEED = 40, 8, 3
NUM_BATCHES = 5


class Model(LightningModule):
    """A mean of pixels, and the frames that it was shown."""

    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.zeros(()))
        self.shown = []
        self.validated = []

    def training_step(self, batch, batch_idx):
        self.shown.append(batch.frame_ids.tolist())
        loss = (self.scale - batch.frames.float().mean()) ** 2
        self.log("loss", loss, on_epoch=True, batch_size=len(batch))
        return loss

    def validation_step(self, batch, batch_idx):
        self.validated.append(batch.frame_ids.tolist())

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=1e-6)


def fit(folder, train, *, resume_from=None, validate=None, save=None, **options):
    model = Model()
    trainer = Trainer(
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
        enable_checkpointing=save is not None,
        callbacks=None if save is None else [ModelCheckpoint(folder, save_top_k=-1, **save)],
        **options,
    )
    trainer.fit(model, train, validate, ckpt_path=resume_from)
    return model


def frame_loader():
    return FrameLoader(ArrayStore([NUM_FRAMES]), batch_size=BATCH_SIZE, seed=SEED)


def worker_loader():
    return make_dataloader(
        ArrayStore([NUM_FRAMES]),
        batch_size=BATCH_SIZE,
        seed=SEED,
        num_workers=1,
        multiprocessing_context="fork",
    )


def torchs_loader():
    store = ArrayStore([NUM_FRAMES])
    sampler = FrameBatchSampler(store, batch_size=BATCH_SIZE, seed=SEED)
    return DataLoader(FrameDataset(store), batch_sampler=sampler, collate_fn=frame_batch_collate)


def epochs(*numbers):
    plan = make_plan([NUM_FRAMES], batch_size=BATCH_SIZE, seed=SEED)
    return [ids.tolist() for epoch in numbers for ids in plan.batches(epoch)]


@pytest.mark.parametrize("make", [frame_loader, worker_loader, torchs_loader])
def test_fit_sees_the_epochs_from_0_on(tmp_path, make):
    assert fit(tmp_path, make(), max_epochs=3).shown == epochs(0, 1, 2)


def test_validation_is_every_frame_once_each_time(tmp_path):
    validate = FrameLoader(ArrayStore([20]), batch_size=BATCH_SIZE, sampling="sequential")
    model = fit(tmp_path, frame_loader(), validate=validate, max_epochs=2)
    sanity_check = [*range(16)]  # Lightning tries two batches first
    assert [*chain.from_iterable(model.validated)] == [*sanity_check, *range(20), *range(20)]
    assert model.shown == epochs(0, 1)


@pytest.mark.parametrize(
    ("make", "num_steps"),
    [(frame_loader, 3), (frame_loader, NUM_BATCHES), (frame_loader, NUM_BATCHES + 1), (worker_loader, 3)],
)
def test_a_checkpoint_of_a_step_resumes_at_the_next_batch(tmp_path, make, num_steps):
    run = {"max_epochs": 3, "save": {"every_n_train_steps": 1, "filename": "{step}"}}
    whole = fit(tmp_path, make(), **run)
    assert whole.shown == epochs(0, 1, 2)
    resumed = fit(tmp_path, make(), resume_from=tmp_path / f"step={num_steps}.ckpt", **run)
    assert resumed.shown == whole.shown[num_steps:]


@pytest.mark.parametrize("make", [frame_loader, torchs_loader])
def test_a_checkpoint_of_an_epochs_end_resumes_with_the_next_epoch(tmp_path, make):
    """Lightning loads no loader's state from such a checkpoint, only the epoch."""
    save = {"every_n_epochs": 1, "filename": "{epoch}"}
    fit(tmp_path, make(), max_epochs=2, save=save)
    resumed = fit(tmp_path, make(), resume_from=tmp_path / "epoch=1.ckpt", save=save, max_epochs=3)
    assert resumed.shown == epochs(2)


def test_a_part_of_each_epoch(tmp_path):
    model = fit(tmp_path, frame_loader(), max_epochs=3, limit_train_batches=2)
    assert model.shown == epochs(0)[:2] + epochs(1)[:2] + epochs(2)[:2]
