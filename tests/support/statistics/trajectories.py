"""What an order of an epoch does to the expected steps along it, to first order in the step size."""

import numpy as np

START = np.array([0.4, -0.3])
_TINY = 1e-5


def frame_gradients(num_frames):
    """Gradients of every frame at a point, (N, 2), of losses that are no parabolas: a function of the point."""
    slopes, centres, bends = np.random.default_rng(6).normal(size=(3, num_frames, 2))

    def gradients(point):
        off = point - centres
        return np.exp(slopes) * off + 0.3 * bends * off**2

    return gradients


def slope_of(value):
    """Gradient of a function of the point at `START`."""
    return np.array([value(START + along) - value(START - along) for along in _TINY * np.eye(2)]) / (
        2 * _TINY
    )


def mean_step_off_the_path(orders, num_frames, num_steps, batch_size, step):
    """E g_t(x_t) - E grad F(x_t) for t = num_steps, over all `orders`, of losses that are no parabolas."""
    gradients, num_done = frame_gradients(num_frames), num_steps * batch_size
    drawn, full = [], []
    for order in orders:
        point = START
        for start in range(0, num_done, batch_size):
            point = point - step * gradients(point)[list(order[start : start + batch_size])].mean(0)
        here = gradients(point)
        drawn.append(here[list(order[num_done : num_done + batch_size])].mean(0))
        full.append(here.mean(0))
    return np.mean(drawn, 0) - np.mean(full, 0)


def leading_drift(orders, num_frames, num_steps, batch_size, step=1e-4):
    """The same over eta, for eta -> 0."""
    one, two = (
        mean_step_off_the_path(orders, num_frames, num_steps, batch_size, eta) for eta in (step, 2 * step)
    )
    return (2 * one - two / 2) / step
