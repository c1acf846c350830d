"""Learn what an action does: from a frame and the action taken there, predict the next frame.

    cache-build videos/ --size 64 --columns actions.csv    # columns: video, frame, action
    python examples/train_world_model.py videos.cache

A window has a frame and the one after it. `edges="whole"` takes only windows that lie inside one video, so no frame
is shown twice in the place of a missing one. The loss is a fraction: 1 is the error of repeating the last frame.
"""

import argparse
import math

import torch

from frame_store import open_store
from loader import FrameLoader


class WorldModel(torch.nn.Module):
    """Predicts the change of a picture; the action scales and shifts the features of each layer. Put yours here."""

    def __init__(self, action_size: int, width: int = 32) -> None:
        super().__init__()
        self.width = width
        self.first = torch.nn.Conv2d(3, width, 5, padding=2)
        self.second = torch.nn.Conv2d(width, width, 5, padding=2)
        self.last = torch.nn.Conv2d(width, 3, 5, padding=2)
        self.act = torch.nn.Sequential(
            torch.nn.Linear(action_size, 64), torch.nn.ReLU(), torch.nn.Linear(64, 4 * width)
        )

    def forward(self, frames: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
        """The next frames (B, 3, H, W), of frames in [0, 1] and actions (B, action_size)."""
        scale_1, shift_1, scale_2, shift_2 = self.act(actions)[..., None, None].chunk(4, dim=1)
        hidden = torch.relu(self.first(frames) * (1 + scale_1) + shift_1)
        hidden = torch.relu(self.second(hidden) * (1 + scale_2) + shift_2)
        return frames + self.last(hidden)


def main() -> None:
    """Train, and print the loss of each epoch."""
    parser = argparse.ArgumentParser()
    parser.add_argument("cache")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args()

    store = open_store(options.cache)
    batches = FrameLoader(
        store,
        batch_size=options.batch_size,
        frame_offsets=(0, 1),
        edges="whole",
        columns=("action",),
        device=options.device,
    )
    print(batches)  # how many windows and batches an epoch has
    model = WorldModel(math.prod(store.columns["action"].shape)).to(options.device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)

    for epoch in range(options.epochs):
        errors, changes = [], []
        for batch in batches:
            now, after = batch.frames.float().div(255).unbind(1)  # (B, 3, H, W) each
            actions = batch.columns["action"].float().view(len(now), -1)
            error = (model(now, actions) - after).square().mean()
            optimizer.zero_grad()
            error.backward()
            optimizer.step()
            errors.append(error.detach())
            changes.append((now - after).square().mean())
        loss = (torch.stack(errors).mean() / torch.stack(changes).mean()).item()
        print(f"epoch {epoch}: loss {loss:.3f} of the error of repeating the last frame")


if __name__ == "__main__":
    main()
