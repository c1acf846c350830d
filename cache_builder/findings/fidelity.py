"""How near stored frames are to unencoded ones: figures of samples, and of several videos together."""

import math
from collections.abc import Iterable, Sequence

from frame_store.manifest import Fidelity


def measured_fidelity(sampled_errors: Sequence[tuple[int, float]]) -> Fidelity | None:
    """PSNR from (position, mean squared error) samples; None without samples."""
    if not sampled_errors:
        return None
    errors = [error for _, error in sampled_errors]
    return Fidelity(
        num_frames_sampled=len(errors),
        psnr_db_of_mean_error=psnr_db(math.fsum(errors) / len(errors)),
        psnr_db_worst_frame=psnr_db(max(errors)),
    )


def joined_fidelity(of_videos: Iterable[Fidelity | None]) -> Fidelity | None:
    """The figures of all samples of several videos together; None where no video has figures.

    It comes from the rounded figures of each video, in exact sums: so it does not depend on how videos are grouped.

    >>> one = Fidelity(num_frames_sampled=1, psnr_db_of_mean_error=40.0, psnr_db_worst_frame=40.0)
    >>> two = Fidelity(num_frames_sampled=3, psnr_db_of_mean_error=50.0, psnr_db_worst_frame=45.0)
    >>> joined_fidelity([one, None, two])
    Fidelity(num_frames_sampled=4, psnr_db_of_mean_error=44.881, psnr_db_worst_frame=40.0)
    """
    known = [fidelity for fidelity in of_videos if fidelity is not None]
    num_sampled = sum(fidelity.num_frames_sampled for fidelity in known)
    if not known:
        return None
    errors = [
        fidelity.num_frames_sampled * 255**2 / 10 ** (fidelity.psnr_db_of_mean_error / 10)
        for fidelity in known
        if fidelity.psnr_db_of_mean_error is not None
    ]
    worst = [fidelity.psnr_db_worst_frame for fidelity in known if fidelity.psnr_db_worst_frame is not None]
    return Fidelity(
        num_frames_sampled=num_sampled,
        psnr_db_of_mean_error=psnr_db(math.fsum(errors) / num_sampled) if errors else None,
        psnr_db_worst_frame=min(worst, default=None),
    )


def psnr_db(mean_squared_error: float) -> float | None:
    """10 log10(255^2 / mean squared error) in dB, rounded to 0.001; None where nothing differs.

    >>> psnr_db(1.0)
    48.131
    """
    return round(10 * math.log10(255**2 / mean_squared_error), 3) if mean_squared_error else None
