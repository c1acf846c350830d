"""Clone the behaviour of a robot: cameras and state in, a chunk of actions out.

    cache-build my_dataset/ --size 96                      # a LeRobot v3 data set -> my_dataset.cache
    python examples/train_policy.py my_dataset.cache --chunk 16

A batch holds, for each anchor, the frame of every camera, the state, and the next `--chunk` actions. Near the end of an
episode a chunk runs over it. `column_is_pad` marks these actions, and the loss leaves them out.
"""

import argparse

import torch

from frame_store import open_store
from loader import FrameLoader


class Policy(torch.nn.Module):
    """A small network for each camera, and one that joins them with the state; put yours here."""

    def __init__(self, cameras: list[str], *, state_size: int, action_size: int, chunk: int) -> None:
        super().__init__()
        self.chunk = chunk
        self.cameras = cameras
        self.eyes = torch.nn.ModuleList(
            torch.nn.Sequential(
                torch.nn.Conv2d(3, 16, 5, stride=2, padding=2),
                torch.nn.ReLU(),
                torch.nn.Conv2d(16, 32, 3, stride=2, padding=1),
                torch.nn.ReLU(),
                torch.nn.AdaptiveAvgPool2d(8),
                torch.nn.Flatten(),
            )
            for _ in cameras
        )
        self.head = torch.nn.Sequential(
            torch.nn.Linear(32 * 64 * len(cameras) + state_size, 256),
            torch.nn.ReLU(),
            torch.nn.Linear(256, chunk * action_size),
        )

    def forward(self, frames: dict[str, torch.Tensor], state: torch.Tensor) -> torch.Tensor:
        """Actions (B, chunk, action_size) for pictures (B, 3, H, W) of each camera and states (B, state_size)."""
        seen = [
            eye(frames[camera].float().div(255).sub(0.5))
            for camera, eye in zip(self.cameras, self.eyes, strict=True)
        ]
        return self.head(torch.cat([*seen, state], 1)).view(len(state), self.chunk, -1)


def main() -> None:
    """Train, and print the mean loss of each epoch."""
    parser = argparse.ArgumentParser()
    parser.add_argument("cache")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--chunk", type=int, default=16, help="actions predicted at once")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args()

    store = open_store(options.cache)
    batches = FrameLoader(
        store,
        batch_size=options.batch_size,
        columns=("observation.state", "action"),
        column_offsets={"action": range(options.chunk)},
        device=options.device,
    )
    print(batches)  # how many batches an epoch has
    policy = Policy(
        list(store.cameras),
        state_size=store.columns["observation.state"].shape[0],
        action_size=store.columns["action"].shape[0],
        chunk=options.chunk,
    ).to(options.device)
    optimizer = torch.optim.AdamW(policy.parameters(), lr=1e-3)

    for epoch in range(options.epochs):
        losses = []
        for batch in batches:
            predicted = policy(batch.frames, batch.columns["observation.state"].float())
            error = (predicted - batch.columns["action"]).square().mean(-1)  # (B, chunk)
            is_real = ~batch.column_is_pad["action"]
            loss = error[is_real].mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.detach())
        print(f"epoch {epoch}: mean loss {torch.stack(losses).mean().item():.4f} over {len(losses)} batches")


if __name__ == "__main__":
    main()
