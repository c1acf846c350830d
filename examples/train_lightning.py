"""Train with Lightning, validate on a second cache, and resume from a checkpoint inside an epoch.

    cache-build train/ && cache-build val/               # train.cache, val.cache
    python examples/train_lightning.py train.cache val.cache --epochs 10
    python examples/train_lightning.py train.cache val.cache --epochs 20 --resume runs/last.ckpt

The trainer saves the state of the `FrameLoader` with the model, so that a run resumes at the next batch.
The model learns by how many quarter turns a frame was rotated, which takes no labels.
Needs Lightning: pip install lightning
"""

import argparse

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from loader import Augmentation, FrameBatch, FrameLoader, RandomResizedCrop, rank_and_world_size


class TurnModel(LightningModule):
    """A small network and its data."""

    def __init__(self, *, train_cache: str, val_cache: str, batch_size: int, size: int) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.network = torch.nn.Sequential(
            torch.nn.Conv2d(3, 32, 7, stride=4),
            torch.nn.ReLU(),
            torch.nn.Conv2d(32, 64, 3, stride=2),
            torch.nn.ReLU(),
            torch.nn.AdaptiveAvgPool2d(4),
            torch.nn.Flatten(),
            torch.nn.Linear(64 * 16, 4),
        )

    def train_dataloader(self) -> FrameLoader:
        """Made here, where each process knows its rank."""
        rank, world_size = rank_and_world_size()
        return FrameLoader(
            self.hparams.train_cache,
            batch_size=self.hparams.batch_size,
            augment=Augmentation(crop=RandomResizedCrop(size=self.hparams.size, scale=(0.5, 1.0))),
            rank=rank,
            world_size=world_size,
        )

    def val_dataloader(self) -> FrameLoader:
        """Every frame once, in the order of the cache."""
        rank, world_size = rank_and_world_size()
        return FrameLoader(
            self.hparams.val_cache,
            batch_size=self.hparams.batch_size,
            sampling="sequential",
            augment=Augmentation(),  # float pixels from 0 to 1
            rank=rank,
            world_size=world_size,
        )

    def transfer_batch_to_device(
        self, batch: FrameBatch, device: torch.device, dataloader_idx: int
    ) -> FrameBatch:
        """Copy the five tensors of a batch to the GPU of this process."""
        return batch.to(device, non_blocking=True)

    def loss_of(self, batch: FrameBatch) -> torch.Tensor:
        """The loss of a batch whose frames are rotated here."""
        turns = torch.randint(4, (len(batch),))
        pairs = zip(batch.frames, turns.tolist(), strict=True)
        frames = torch.stack([frame.rot90(turn, (1, 2)) for frame, turn in pairs])
        return torch.nn.functional.cross_entropy(self.network(frames), turns.to(frames.device))

    def training_step(self, batch: FrameBatch, batch_idx: int) -> torch.Tensor:
        """One step."""
        loss = self.loss_of(batch)
        self.log("loss", loss, batch_size=len(batch))
        return loss

    def validation_step(self, batch: FrameBatch, batch_idx: int) -> None:
        """One batch of the second cache."""
        self.log("val_loss", self.loss_of(batch), batch_size=len(batch), on_epoch=True, sync_dist=True)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """AdamW."""
        return torch.optim.AdamW(self.parameters(), lr=3e-4)


def main() -> None:
    """Fit the model."""
    parser = argparse.ArgumentParser()
    parser.add_argument("train_cache")
    parser.add_argument("val_cache")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--size", type=int, default=224, help="side of the crop that the model sees")
    parser.add_argument("--save-every", type=int, default=100, help="steps between checkpoints")
    parser.add_argument("--folder", default="runs", help="where checkpoints go")
    parser.add_argument("--resume", help="a checkpoint to go on from")
    options = parser.parse_args()

    model = TurnModel(
        train_cache=options.train_cache,
        val_cache=options.val_cache,
        batch_size=options.batch_size,
        size=options.size,
    )
    checkpoint = ModelCheckpoint(
        options.folder, every_n_train_steps=options.save_every, save_last=True, enable_version_counter=False
    )
    trainer = Trainer(max_epochs=options.epochs, callbacks=[checkpoint], logger=False)
    trainer.fit(model, ckpt_path=options.resume)
    print(
        f"{trainer.global_step} steps, epoch {trainer.current_epoch}, "
        f"validation loss {trainer.callback_metrics['val_loss'].item():.3f}"
    )


if __name__ == "__main__":
    main()
