"""`cache-bias --gradients MODEL.py`: features by a function of the user's."""

import numpy as np
import pytest
from frame_cache_tools.bias import gradients as bias_gradients
from frame_cache_tools.bias import table as bias_table
from frame_cache_tools.bias.cli import EXIT_WRONG_COMMAND
from frame_cache_tools.bias.gradients import MOST_NUMBERS, gradient_features

import frame_store
from loader.bias import scaled_features, thumbnails
from tests.support.bias_command import bias, samplers

MEANS = """
import numpy as np
def per_frame_gradients(frames):
    assert frames.dtype == np.uint8 and frames.ndim == 4 and len(frames) <= 64
    return frames.reshape(len(frames), -1)[:, :20].astype(np.float64)
"""


@pytest.fixture
def model(tmp_path):
    def write(text):
        path = tmp_path / "model.py"
        path.write_text(text)
        return path

    return write


def test_gradients_take_the_place_of_pixels_in_every_row(bias_caches, model, tmp_path):
    path = bias_caches["video"]
    store = frame_store.open_store(path)
    frames = store.read_frames(np.arange(len(store)))
    np.save(tmp_path / "features.npy", frames.reshape(len(store), -1)[:, :20])
    (of_gradients,) = samplers(path, "--gradients", model(MEANS), "--batch-size", "32")
    (of_features,) = samplers(path, "--features", tmp_path / "features.npy", "--batch-size", "32")
    (of_pixels,) = samplers(path, "--batch-size", "32")
    for name, row in of_gradients.items():
        for figure in ("design_effect", "bias_of_proxy"):
            found, of_file = row[figure], of_features[name][figure]
            assert (found is None) == (of_file is None)
            assert found is None or found == pytest.approx(of_file, rel=1e-9)
        run, expected = row["long_run"], of_features[name]["long_run"]
        assert (run is None) == (expected is None)
        assert run is None or run["effect"] == pytest.approx(expected["effect"], rel=1e-6)
    for name in ("sampling=stratified", "sampling=shards frames_per_visit=8", "sampling=sequential"):
        for figure in (
            of_gradients[name]["design_effect"] / of_pixels[name]["design_effect"],
            of_gradients[name]["long_run"]["effect"] / of_pixels[name]["long_run"]["effect"],
        ):
            assert abs(figure - 1) > 1e-3
    assert "by gradients by model.py" in bias(path, "--gradients", model(MEANS), "--batch-size", "32").stdout


def test_features_of_a_cache_of_which_no_pixels_would_all_be_read(bias_caches, tmp_path, monkeypatch):
    """Above `MAX_FRAMES_READ` frames features give exact figures, as they do below."""
    store = frame_store.open_store(bias_caches["video"])
    np.save(tmp_path / "features.npy", thumbnails(store)(np.arange(len(store))))
    options = (bias_caches["video"], "--batch-size", "32")
    (below,) = samplers(*options)
    monkeypatch.setattr(bias_table, "MAX_FRAMES_READ", 100)
    (above,) = samplers(*options, "--features", tmp_path / "features.npy")
    (sampled,) = samplers(*options)
    for name, row in above.items():
        assert row["design_effect"] == pytest.approx(below[name]["design_effect"], rel=1e-6)
        assert row["basis"] == below[name]["basis"] and (row["long_run"] is None) == name.startswith(
            "webdataset"
        )
    assert sampled["sampling=stratified"]["long_run"]["is_bound"]
    assert sampled["sampling=block shards_per_block=4"]["long_run"] is None
    text = bias(*options).stdout
    line = next(line for line in text.splitlines() if line.startswith("stratified"))
    assert "~>= " in line  # 661 frames are no power of two


@pytest.mark.parametrize("kind", ["torch", "numpy"])
def test_gradients_of_a_network(bias_caches, model, kind):
    returned = "gradients" if kind == "torch" else "gradients.numpy()"
    path = model(
        f"""
import torch
layer = torch.nn.Linear(12, 3)
torch.nn.init.constant_(layer.weight, 0.1)
def per_frame_gradients(frames):
    x = torch.from_numpy(frames)[:, ::8, ::8].reshape(len(frames), -1)[:, :12].float() / 255
    y = layer(x)
    gradients = ((y - 1)[:, :, None] * x[:, None, :]).flatten(1).detach()
    return {returned}
"""
    )
    features, name = gradient_features(path, frame_store.open_store(bias_caches["video"]))
    assert features.shape == (661, 36) and name == "gradients by model.py" and np.ptp(features) > 0


def test_long_gradients_are_summed_and_inner_products_stay(bias_caches, model, monkeypatch):
    store = frame_store.open_store(bias_caches["video"])
    long = """
import numpy as np
def per_frame_gradients(frames):
    return np.random.default_rng(int(frames[0].sum())).normal(size=(len(frames), 40_000)) + np.linspace(0, 1, 40_000)
"""
    features, name = gradient_features(model(long), store)
    assert features.shape == (len(store), MOST_NUMBERS) and "(512 sums of 40,000 numbers)" in name
    monkeypatch.setattr(bias_gradients, "MOST_NUMBERS", 40_000)
    whole, _ = gradient_features(model(long), store)
    rows = np.arange(200)
    products, expected = features[rows] @ features[rows].T, whole[rows] @ whole[rows].T
    lengths = np.linalg.norm(whole[rows], axis=1)
    errors = (products - expected) / np.outer(lengths, lengths)
    assert abs(errors.mean()) < 0.06 and errors.std() < 0.07  # the root of 2 / 512 is 0.063
    centred, of_whole = scaled_features(features), scaled_features(whole)
    assert centred.shape[0] == of_whole.shape[0]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x = 1", "defines no function per_frame_gradients(frames)"),
        ("def per_frame_gradients(", "cannot be run: SyntaxError"),
        ("import nosuchmodule", "cannot be run: ModuleNotFoundError: No module named 'nosuchmodule'"),
        ("def per_frame_gradients(frames):\n    return 1 / 0", "frames 0 to 63 failed: ZeroDivisionError"),
        ("raise SystemExit(0)", "cannot be run: SystemExit: 0"),
        ("def per_frame_gradients(frames):\n    raise SystemExit(0)", "frames 0 to 63 failed: SystemExit: 0"),
        (
            "def per_frame_gradients(frames):\n    return frames.reshape(len(frames), -1) * 1j",
            "frames 0 to 63: expected real numbers, found complex128",
        ),
        (
            "import torch\ndef per_frame_gradients(frames):\n    return torch.ones(len(frames), 2) * 1j",
            "frames 0 to 63: expected real numbers, found complex64",
        ),
        (
            "def per_frame_gradients(frames):\n    return frames",
            "expected shape (64, D), a gradient for each frame",
        ),
        ("def per_frame_gradients(frames):\n    return frames[:3].reshape(3, -1)", "expected shape (64, D)"),
        (
            "import numpy as np\ndef per_frame_gradients(frames):\n    g = frames.reshape(len(frames), -1) * 1.0\n"
            "    g[5] = np.nan\n    return g",
            "1 gradient with NaN or infinity, the first of frame 5",
        ),
        (
            "calls = []\ndef per_frame_gradients(frames):\n    calls.append(1)\n"
            "    return frames.reshape(len(frames), -1)[:, :len(calls)]",
            "returned 1 number for frame 0 and 2 for frame 64",
        ),
    ],
)
def test_errors_in_the_file_name_it(bias_caches, model, text, said):
    path = model(text)
    result = bias(bias_caches["video"], "--gradients", path)
    assert result.exit_code == EXIT_WRONG_COMMAND
    assert str(path) in result.stderr and said in result.stderr and "Traceback" not in result.stderr


def test_a_file_that_is_missing_or_not_the_only_source_of_rho(bias_caches, bias_videos, model, tmp_path):
    path = bias_caches["video"]
    for flags, said in (
        ((path, "--gradients", tmp_path / "gone.py"), "expected a Python file that defines"),
        ((path, "--gradients", model(MEANS), "--rho", "0.5"), "--gradients and --rho both determine rho"),
        (
            ("--videos", bias_videos, "--gradients", model(MEANS)),
            "--gradients looks at the frames of caches: give CACHE",
        ),
    ):
        result = bias(*flags)
        assert result.exit_code == EXIT_WRONG_COMMAND and said in result.stderr
