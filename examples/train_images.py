"""Train a ResNet-18 on single frames; the class of a frame is the folder in which its video lies.

    cache-build videos/                                  # videos/pick/*.mp4, videos/place/*.mp4 -> videos.cache
    python examples/train_images.py videos.cache --epochs 10

The labels here are made of the paths: a table with a row for each video, indexed with `batch.video_ids`. Labels
can also lie in the cache as columns, by video or by frame: see Columns in docs/GUIDE.md.
Needs torchvision: pip install torchvision
"""

import argparse
from pathlib import PurePosixPath

import torch
from torchvision.models import resnet18

from frame_store import open_store
from loader import Augmentation, ColorJitter, FrameLoader, Normalize, RandomResizedCrop


def main() -> None:
    """Train, and print the mean loss of each epoch."""
    parser = argparse.ArgumentParser()
    parser.add_argument("cache")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--size", type=int, default=224, help="side of the crop that the model sees")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args()

    store = open_store(options.cache)
    names = [PurePosixPath(video.path).parent.name for video in store.video_entries]
    classes = sorted(set(names))
    labels = torch.tensor([classes.index(name) for name in names], device=options.device)

    augment = Augmentation(
        crop=RandomResizedCrop(size=options.size, scale=(0.5, 1.0)),
        flip_probability=0.5,
        jitter=ColorJitter(brightness=0.4, contrast=0.4, saturation=0.4),
        normalize=Normalize(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
    )
    batches = FrameLoader(store, batch_size=options.batch_size, augment=augment, device=options.device)
    model = resnet18(num_classes=len(classes)).to(options.device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)

    for epoch in range(options.epochs):
        losses = []
        for batch in batches:  # one iteration is one epoch; each epoch has an order of its own
            loss = torch.nn.functional.cross_entropy(model(batch.frames), labels[batch.video_ids])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.detach())
        print(f"epoch {epoch}: mean loss {torch.stack(losses).mean().item():.3f} over {len(losses)} batches")


if __name__ == "__main__":
    main()
