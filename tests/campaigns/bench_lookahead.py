"""The gain of look-ahead for live decoding, from the plan alone: decoded frames for each delivered frame.

    python -m tests.campaigns.bench_lookahead [--num-videos 200] [--video-frames 300] [--gop-frames 30]
        [--lookahead 0 8 32 130 200 260] [--buffer-bytes 2500000000] [--decoded-per-second 215] [--sampling stratified]

Plans an epoch of strictly uniform batches of 128 frames of 224x224, over videos of equal length. Images/s are
computed from the given decoding rate; H.264 skips frames on which no other depends, so the real figure can be higher.
"Window" is the second window, in steady state, where an epoch has two; "epoch" includes its start and end.
"""

import argparse

import numpy as np

from loader.lookahead.plan import plan_lookahead
from tests.campaigns.bench_sampling import plan_of
from tests.support.lookahead_cost import cost_of

FRAME_BYTES = 224 * 224 * 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--num-videos", type=int, default=200)
    parser.add_argument("--video-frames", type=int, default=300)
    parser.add_argument("--gop-frames", type=int, default=30)
    parser.add_argument("--lookahead", type=int, nargs="+", default=[0, 8, 32, 130, 200, 260])
    parser.add_argument("--buffer-bytes", type=int, default=2_500_000_000)
    parser.add_argument("--decoded-per-second", type=float, default=215.0)
    parser.add_argument("--sampling", default="permutation")
    options = parser.parse_args()

    def groups_of(ids: np.ndarray) -> np.ndarray:
        return ids - ids % options.video_frames % options.gop_frames

    sizes = [options.video_frames] * options.num_videos
    plan = plan_of(sizes, sampling=options.sampling, batch_size=128)
    print(
        f"{'look-ahead':>10} {'window':>8} {'images/s':>9} {'epoch':>8} {'images/s':>9}   decoded frames a frame"
    )
    for lookahead in options.lookahead:
        capacity = options.buffer_bytes // FRAME_BYTES
        steps = list(plan_lookahead(plan.batches(0), groups_of, lookahead=lookahead, capacity=capacity))
        costs = [cost_of(steps).decoded_per_frame]
        if len(steps) >= 2 * lookahead:
            costs.insert(0, cost_of(steps[lookahead : 2 * lookahead] or steps).decoded_per_frame)
        cells = [f"{cost:8.2f} {options.decoded_per_second / cost:9.1f}" for cost in costs]
        print(f"{lookahead:10} {' '.join(cells if len(cells) == 2 else [' ' * 18, *cells])}")


if __name__ == "__main__":
    main()
