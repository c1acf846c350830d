"""Train a model on clips: the model predicts whether a clip runs forward or backward, which takes no labels.

    cache-build videos/
    python examples/train_clips.py videos.cache --clip-frames 8 --clip-stride 2

Clips come from any cache; `cache-build --layout video` keeps the frames of a clip side by side on the disk.
A clip is T frames of one video, always exactly `--clip-stride` stored frames apart; a batch has shape (B, T, 3, H, W).
"""

import argparse

import torch

from loader import FrameLoader


def make_model() -> torch.nn.Module:
    """A small network of 3D convolutions; put yours here."""
    return torch.nn.Sequential(
        torch.nn.Conv3d(3, 16, (3, 7, 7), stride=(1, 4, 4), padding=(1, 3, 3)),
        torch.nn.ReLU(),
        torch.nn.Conv3d(16, 32, 3, stride=2, padding=1),
        torch.nn.ReLU(),
        torch.nn.AdaptiveAvgPool3d((2, 4, 4)),
        torch.nn.Flatten(),
        torch.nn.Linear(32 * 32, 2),
    )


def main() -> None:
    """Train, and print the mean loss of each epoch."""
    parser = argparse.ArgumentParser()
    parser.add_argument("cache")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batch-size", type=int, default=16, help="clips in a batch")
    parser.add_argument("--clip-frames", type=int, default=8)
    parser.add_argument("--clip-stride", type=int, default=2)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args()

    batches = FrameLoader(
        options.cache,
        batch_size=options.batch_size,
        clip_frames=options.clip_frames,
        clip_stride=options.clip_stride,
        device=options.device,
    )
    print(batches)  # how many clips and batches an epoch has
    model = make_model().to(options.device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4)

    for epoch in range(options.epochs):
        losses = []
        for batch in batches:
            clips = batch.frames.float().div(255).movedim(2, 1)  # (B, 3, T, H, W), as Conv3d takes it
            is_backward = torch.randint(2, (len(clips),), device=clips.device)
            clips = torch.where(is_backward.bool()[:, None, None, None, None], clips.flip(2), clips)
            loss = torch.nn.functional.cross_entropy(model(clips), is_backward)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.detach())
        print(f"epoch {epoch}: mean loss {torch.stack(losses).mean().item():.3f} over {len(losses)} batches")


if __name__ == "__main__":
    main()
