"""Train in several processes (DDP), and go on after an interruption at the very next batch.

    cache-build videos/
    torchrun --standalone --nproc-per-node 2 examples/train_ddp.py videos.cache --checkpoint run.pt

Stop it and start the same command again: it continues after the last checkpoint, with the frames that this epoch has
not shown yet. The number of processes may be another one. The model learns by how many quarter turns a frame was
rotated, which takes no labels.
"""

import argparse
from pathlib import Path

import torch
import torch.distributed
from torch.nn.parallel import DistributedDataParallel

from loader import Augmentation, FrameLoader, RandomResizedCrop, rank_and_world_size


def make_model() -> torch.nn.Module:
    """A small network; put yours here."""
    return torch.nn.Sequential(
        torch.nn.Conv2d(3, 32, 7, stride=4),
        torch.nn.ReLU(),
        torch.nn.Conv2d(32, 64, 3, stride=2),
        torch.nn.ReLU(),
        torch.nn.AdaptiveAvgPool2d(4),
        torch.nn.Flatten(),
        torch.nn.Linear(64 * 16, 4),
    )


def turned(frames: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Rotate each frame by a random number of quarter turns, and return these numbers too."""
    turns = torch.randint(4, (len(frames),))
    pairs = zip(frames, turns.tolist(), strict=True)
    return torch.stack([frame.rot90(turn, (1, 2)) for frame, turn in pairs]), turns.to(frames.device)


def main() -> None:
    """Train; the first process prints and saves."""
    parser = argparse.ArgumentParser()
    parser.add_argument("cache")
    parser.add_argument("--checkpoint", type=Path, default=Path("run.pt"))
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batch-size", type=int, default=128, help="frames a process takes at each step")
    parser.add_argument("--size", type=int, default=224, help="side of the crop that the model sees")
    parser.add_argument("--save-every", type=int, default=100, help="steps between checkpoints")
    parser.add_argument("--max-steps", type=int, help="stop after so many steps, as a time limit would")
    options = parser.parse_args()

    torch.distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    rank, world_size = rank_and_world_size()
    device = f"cuda:{rank % torch.cuda.device_count()}" if torch.cuda.is_available() else "cpu"

    augment = Augmentation(crop=RandomResizedCrop(size=options.size, scale=(0.5, 1.0)))
    batches = FrameLoader(
        options.cache,
        batch_size=options.batch_size,
        rank=rank,  # each process reads its share of one global order
        world_size=world_size,
        augment=augment,
        device=device,
    )
    model = DistributedDataParallel(make_model().to(device))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)

    first_epoch, step = 0, 0
    if options.checkpoint.exists():
        state = torch.load(options.checkpoint, map_location=device)
        model.module.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        batches.load_state_dict(state["batches"])
        first_epoch, step = state["batches"]["epoch"], state["step"]

    for epoch in range(first_epoch, options.epochs):
        for batch in batches:
            frames, turns = turned(batch.frames)
            loss = torch.nn.functional.cross_entropy(model(frames), turns)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            step += 1
            is_last = step == options.max_steps
            if rank == 0 and (is_last or step % options.save_every == 0):
                print(f"epoch {epoch}, step {step}: loss {loss.item():.3f}", flush=True)
                state = {
                    "model": model.module.state_dict(),
                    "optimizer": optimizer.state_dict(),
                    "batches": batches.state_dict(),  # the place after this batch
                    "step": step,
                }
                unfinished = options.checkpoint.with_suffix(".tmp")
                torch.save(state, unfinished)
                unfinished.replace(options.checkpoint)  # an interruption leaves the old checkpoint whole
            if is_last:
                end_together()
                return
    end_together()


def end_together() -> None:
    """Leave the group when all processes are done: one that leaves early closes the connections of the others."""
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main()
