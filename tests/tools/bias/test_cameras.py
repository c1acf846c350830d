"""`cache-bias` on caches of cameras: laws of the common ids, pixels of one camera."""

import json

import numpy as np
import pytest
from frame_cache_tools.bias.cli import EXIT_WRONG_COMMAND

from frame_store import ViewError, open_store, select
from loader import SamplingSpec
from loader.bias import camera_of_pixels, sampling_law, thumbnails
from tests.support.bias_command import bias, samplers
from tests.support.caches.camera_cache import write_camera_cache, write_plain_cache

SIZES = (9, 7, 8)


@pytest.fixture(scope="module")
def caches(tmp_path_factory):
    folder = tmp_path_factory.mktemp("caches")
    write_camera_cache(folder / "cameras", sizes=SIZES, shape=[(8, 12), (6, 6)], seeds=[1, 2])
    write_plain_cache(folder / "front", 0, seed=1, sizes=SIZES, shape=(8, 12))
    return folder


def test_laws_and_rho_of_a_cache_of_cameras_are_those_of_its_first_camera(caches):
    flags = ["--batch-size", 4]
    (of_group,), (alone,) = samplers(caches / "cameras", *flags), samplers(caches / "front", *flags)
    assert {name for name in alone if not name.startswith("webdataset")} == set(of_group)
    for name, row in of_group.items():
        assert row["law"] == alone[name]["law"]
        assert row["design_effect"] == alone[name]["design_effect"]
    group = open_store(caches / "cameras")
    assert of_group["sampling=permutation"]["law"]["kappa"] == (
        sampling_law(group.shard_sizes, SamplingSpec(), batch_size=4).kappa
    )


@pytest.mark.parametrize(("camera", "shown"), [(None, "front"), ("front", "front"), ("wrist", "wrist")])
def test_the_output_says_whose_pixels_rho_is_of(caches, camera, shown):
    flags = [] if camera is None else ["--camera", camera]
    result = bias(caches / "cameras", *flags, "--batch-size", 4)
    assert result.exit_code == 0, result.stderr
    assert f"thumbnails 16x16 of camera '{shown}'" in result.stdout
    (case,) = json.loads(bias(caches / "cameras", *flags, "--batch-size", 4, "--json").stdout)["cases"]
    assert {estimate["proxy"] for estimate in case["rho"]} == {f"thumbnails 16x16 of camera '{shown}'"}
    assert case["layout"] == "shuffled"
    assert "of camera" not in bias(caches / "front", "--batch-size", 4).stdout


def test_a_wrong_camera_is_a_wrong_command(caches):
    for flags, said in [
        ([caches / "cameras", "--camera", "left"], "no camera 'left'; there are 'front', 'wrist'"),
        ([caches / "front", "--camera", "front"], "no camera 'front': the store has no cameras"),
        ([caches / "cameras", "--sampling", "webdataset"], "neither views nor caches of cameras"),
    ]:
        result = bias(*flags, "--batch-size", 4)
        assert result.exit_code == EXIT_WRONG_COMMAND
        assert said in result.stderr
        assert "Traceback" not in result.stderr


def test_views_and_several_caches_of_cameras(caches):
    (rows,) = samplers(caches / "cameras", "--videos-like", "episode_000001", "--batch-size", 2)
    assert {row["law"]["num_frames"] for row in rows.values()} == {SIZES[1]}
    both = [caches / "cameras", caches / "cameras"]
    (rows,) = samplers(*both, "--concat", "--weights", "3,1", "--batch-size", 4)
    assert {row["law"]["num_frames"] for row in rows.values()} == {2 * sum(SIZES)}
    result = bias(caches / "cameras", caches / "front", "--concat", "--batch-size", 4)
    assert result.exit_code == EXIT_WRONG_COMMAND
    assert "groups of cameras are concatenated with groups" in result.stderr


def test_a_plan_measures_the_loader_of_all_cameras(caches):
    result = bias(caches / "cameras", "--batch-size", 4, "--plan", "--demand", 1)
    assert result.exit_code == 0, result.stderr


def test_thumbnails_of_groups_and_of_their_views(caches):
    group = open_store(caches / "cameras")
    ids = np.arange(len(group))
    for name, store in group.cameras.items():
        np.testing.assert_array_equal(thumbnails(group, camera=name)(ids), thumbnails(store)(ids))
    np.testing.assert_array_equal(thumbnails(group)(ids), thumbnails(group.leader)(ids))
    view = select(group, videos=[1])
    cache_ids = view.cache_ids(range(len(view)))
    np.testing.assert_array_equal(
        thumbnails(view, camera="wrist")(np.arange(len(view))), thumbnails(group, camera="wrist")(cache_ids)
    )
    assert camera_of_pixels(view) == "front"
    assert camera_of_pixels(group.leader) is None
    with pytest.raises(ViewError, match="no camera 'left'"):
        thumbnails(view, camera="left")
