"""Every number that `cache-bias` prints of a sampler, against the orders that the loader draws."""

import math
import re
import warnings

import numpy as np

from loader import FrameLoader
from loader.sampling.plan import plan_batches
from tests.support.bias_command import bias, samplers
from tests.support.statistics.oracles.correlations import intraclass_correlation
from tests.support.statistics.statistics import coincidence, draws_p_value

SMALLEST_P = 1e-9
LARGEST_Z = 6.2
"""A normal variable is farther off with a probability of 6e-10. Up to 1,000 checks then fail by chance once in 10^6."""
NUM_GROUPS = 20


def options_of(name):
    """The options of a loader, as the name of a sampler writes them."""
    options = dict(word.split("=") for word in name.split())
    return {
        key: value == "True" if value in {"True", "False"} else int(value) if value.isdigit() else value
        for key, value in options.items()
    }


class Reported:
    """What `cache-bias` says of a store, and how to check it."""

    def __init__(self, store, flags, features_path, *, batch_size, num_epochs, seed=5):
        self.store, self.batch_size, self.num_epochs, self.seed = store, batch_size, num_epochs, seed
        features = np.random.default_rng(9).normal(size=(len(store), 3)).cumsum(axis=0)
        # A walk in time order, so that neighbours in a video are alike wherever they lie.
        rows = store.rows_of(np.arange(len(store)))
        by_time = np.lexsort((rows["frame_in_video"], rows["video_id"]))
        self.features = np.empty_like(features)
        self.features[by_time] = features
        self.features -= self.features.mean(axis=0)
        np.save(features_path, self.features)
        self.variance = float(np.square(self.features).sum(axis=1).mean())
        flags = [*flags, "--batch-size", batch_size, "--features", features_path, "--horizon", 7]
        (self.rows,) = samplers(*flags)
        self.text = bias(*flags).stdout
        self.num_checks = 0
        self.largest_z = 0.0

    def check(self):
        """Every row, and the text.

        Raises:
            AssertionError: a number is wrong.
        """
        self._check_text()
        self._check_levels()
        for name, row in self.rows.items():
            if not name.startswith("webdataset"):
                self._check_row(name, row)
            else:  # approximations, which are marked as such
                assert row["basis"] == "approximate" and row["long_run"] is None

    def _check_row(self, name, row):
        law, size, num_frames = row["law"], self.batch_size, len(self.store)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about a biased choice of shards, and short ones
            plan = plan_batches(self.store, batch_size=size, seed=self.seed, **options_of(name))
        epochs = [list(plan.batches(epoch)) for epoch in range(self.num_epochs)]
        self._check_that_the_loader_draws(name, epochs[0])
        whole = np.array([[ids for ids in epoch if len(ids) == size] for epoch in epochs])
        assert (law["slots_per_batch"], law["num_frames"]) == (size, num_frames)
        if not plan.spec.with_replacement:
            shown = sum(map(len, epochs[0]))
            assert law["num_positions_dropped"] - law["num_positions_doubled"] == num_frames - shown
        share = self._law_of(name, epochs[0])
        self._exact(name, "chi2", law["chi2"], num_frames * np.square(share).sum() - 1)
        self._exact(name, "total variation", law["total_variation"], np.abs(share - 1 / num_frames).sum() / 2)
        self._exact(name, "max", law["max_over_representation"], share.max() * num_frames)
        if row["bias_of_proxy"] is not None:
            bias_found = np.linalg.norm(share @ self.features) / math.sqrt(self.variance)
            self._exact(name, "bias", row["bias_of_proxy"], bias_found)
        if name != "sampling=sequential":
            for position in (0, -1):
                drawn = np.array([epoch[position][position] for epoch in epochs])
                self.num_checks += 1
                law_of_draws = share
                if "shard_choice=uniform" in name and np.count_nonzero(self.store.shard_sizes) > 1:
                    # There are too few draws for each frame.
                    shards = np.repeat(np.arange(len(self.store.shard_sizes)), self.store.shard_sizes)
                    drawn, law_of_draws = shards[drawn], np.bincount(shards, share)
                assert draws_p_value(drawn, law_of_draws) > SMALLEST_P, (name, position)
        means = self.features[whole].mean(axis=2)
        centre = share @ self.features
        if name == "sampling=sequential":  # around the mean of whole batches
            centre = means[0].mean(axis=0)
        assert row["basis"] == "exact", name
        effects = size * np.square(means - centre).sum(axis=2).mean(axis=1) / self.variance
        self._normal(name, "design effect", effects, row["design_effect"])
        self._exact(name, "B_eff", row["effective_batch"], size / row["design_effect"])
        if row["mean_square_effect"] is not None:
            around = size * np.square(means).sum(axis=2).mean(axis=1) / self.variance
            self._normal(name, "mean square", around, row["mean_square_effect"])
        self._check_long_run(name, row["long_run"], epochs, share @ self.features)
        self._check_pairs(name, law, whole)
        if law["epoch_variance"] is not None and name != "sampling=sequential":
            of_steps = [
                np.mean([self.features[ids].mean(axis=0) for ids in epoch], axis=0) for epoch in epochs
            ]
            self._normal(
                name,
                "epoch",
                np.square(of_steps).sum(axis=1) / self.variance,
                law["epoch_variance"],
            )

    def _law_of(self, name, batches):
        """The distribution over frames that the sampler has by its definition."""
        num_frames, sizes = len(self.store), self.store.shard_sizes
        if "shard_choice=uniform" in name:
            return np.repeat(1 / np.count_nonzero(sizes) / np.maximum(sizes, 1), sizes)
        if name == "sampling=sequential":
            return np.mean([np.bincount(ids, minlength=num_frames) / len(ids) for ids in batches], axis=0)
        return np.full(num_frames, 1 / num_frames)

    def _check_that_the_loader_draws(self, name, batches):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # as above
            loader = FrameLoader(self.store, batch_size=self.batch_size, seed=self.seed, **options_of(name))
        for batch, ids in zip(loader, batches, strict=True):
            base = getattr(self.store, "cache_ids", None)
            np.testing.assert_array_equal(batch.cache_ids.numpy(), ids if base is None else base(ids))
        self.num_checks += 1

    def _check_long_run(self, name, run, epochs, centre):
        a = 1 - 1 / run["horizon"]
        assert run["horizon"] == 7 and not run["is_bound"]
        noise = []
        for epoch in epochs[:1] if name == "sampling=sequential" else epochs:
            means = np.stack([self.features[ids].mean(axis=0) for ids in epoch]) - centre
            steps = np.arange(len(means))
            distance = np.abs(steps[:, None] - steps)
            weights = a**distance
            if name == "sampling=sequential":  # the epochs before and after are the same
                other = a ** (len(means) - distance)
                weights = (weights + other) / (1 - a ** len(means))
            noise.append(self.batch_size * (weights * (means @ means.T)).sum() / len(means) / self.variance)
        if name == "sampling=sequential":
            self._exact(name, "long run", run["effect"], noise[0])
        else:
            self._normal(name, "long run", noise, run["effect"], error=run["standard_error"])
        self._exact(name, "worth", run["effective_batch"], self.batch_size / run["effect"])

    def _check_pairs(self, name, law, whole):
        size, num_frames = self.batch_size, len(self.store)
        shards = np.repeat(np.arange(len(self.store.shard_sizes)), self.store.shard_sizes)
        if law["kappa_is_exact"] and "shard" in law["kappa"]:
            by_epoch = [coincidence(batches, shards).mean() for batches in whole]
            self._normal(name, "kappa", by_epoch, law["kappa"]["shard"])
        # Of two groups of epochs, so that the squares of chance cancel in the mean.
        groups = []
        for part in np.array_split(whole, NUM_GROUPS):
            table = np.zeros((num_frames, num_frames))
            for batch in part.reshape(-1, size):
                np.add.at(table, (batch[:, None], batch), 1 - np.eye(size))
            groups.append(table / table.sum())
        flat = np.array(groups).reshape(NUM_GROUPS, -1)
        products = num_frames**2 * flat @ flat.T
        left_out = []
        for group in range(NUM_GROUPS):
            kept = np.arange(NUM_GROUPS) != group
            rest = products[np.ix_(kept, kept)]
            left_out.append((rest.sum() - np.trace(rest)) / ((NUM_GROUPS - 1) * (NUM_GROUPS - 2)) - 1)
        found = (products.sum() - np.trace(products)) / (NUM_GROUPS * (NUM_GROUPS - 1)) - 1
        error = math.sqrt((NUM_GROUPS - 1) * np.var(left_out))
        off = (found - law["chi2_of_pairs"]) / max(error, 1e-9)
        self.num_checks += 1
        if law["chi2_of_pairs_is_exact"]:
            # Student's t of few groups has long tails: twice the limit of a normal variable is 1e-8 of 19 degrees.
            assert abs(off) < 2 * LARGEST_Z, (name, "chi2 pairs", found, law["chi2_of_pairs"], error)
        elif law["chi2_of_pairs_is_bound"]:
            assert off > -2 * LARGEST_Z, (name, "chi2 pairs", found, law["chi2_of_pairs"], error)

    def _check_levels(self):
        rows = self.store.rows_of(np.arange(len(self.store)))
        expected = {
            "shard": np.repeat(np.arange(len(self.store.shard_sizes)), self.store.shard_sizes),
            "video": rows["video_id"],
        }
        line = next(line for line in self.text.splitlines() if line.startswith("how alike"))
        for level, of_frame in expected.items():
            found = re.search(rf"{level} (-?\d\.\d+)", line)
            parts = [self.features[of_frame == unit] for unit in np.unique(of_frame)]
            oracle = intraclass_correlation(parts)
            assert found is not None and abs(float(found[1]) - oracle) < 0.00051, (level, found, oracle)
            self.num_checks += 1

    def _check_text(self):
        """The cells of the table are the numbers of `--json`."""
        lines = self.text.splitlines()
        header = next(row for row, line in enumerate(lines) if line.startswith("sampler"))
        for (name, row), line in zip(self.rows.items(), lines[header + 1 :], strict=False):
            cells = re.split(r"\s{2,}", line.strip())
            law, run = row["law"], row["long_run"]
            assert len(cells) == 7, line
            bias_found = row["bias_of_proxy"] if row["bias_of_proxy"] is not None else math.sqrt(law["chi2"])
            expected = [
                [law["chi2"]],
                [bias_found],
                [law["chi2_of_pairs"]],
                [row["design_effect"]],
                _with_ends(row["effective_batch"], row["effective_batch_low"], row["effective_batch_high"]),
                []
                if run is None
                else _with_ends(
                    run["effective_batch"], run["effective_batch_low"], run["effective_batch_high"]
                ),
            ]
            for cell, numbers in zip(cells[1:], expected, strict=True):
                printed = [float(word) for word in re.findall(r"(?<![\w.])\d[\d.]*(?:e[+-]\d+)?|inf", cell)]
                assert len(printed) == len(numbers), (name, cell, numbers)
                for shown, number in zip(printed, numbers, strict=True):
                    assert (
                        shown == number
                        or abs(shown - number) <= 0.0051 * abs(number) + 5e-5
                        or (number >= 1 and abs(shown - number) <= 0.051)
                    ), (name, cell, numbers)
            self.num_checks += 1

    def _exact(self, name, what, printed, expected):
        self.num_checks += 1
        assert abs(printed - expected) <= 1e-7 * max(1, abs(expected)), (name, what, printed, expected)

    def _normal(self, name, what, replicates, printed, *, error=0.0):
        replicates = np.asarray(replicates)
        spread = math.hypot(float(replicates.std(ddof=1)) / math.sqrt(len(replicates)), error)
        self.num_checks += 1
        off = abs(float(replicates.mean()) - printed)
        if off <= 1e-9 * max(1, abs(printed)):  # the same in every epoch
            return
        self.largest_z = max(self.largest_z, off / spread)
        assert off < LARGEST_Z * spread, (name, what, float(replicates.mean()), printed, spread)


def _with_ends(value, low, high):
    return [value] if low == high else [value, low, high]
