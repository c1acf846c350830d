"""One build in a Ray cluster on this machine, whose worker process is killed meanwhile."""

import importlib.util
import os
import signal
import threading
import time

import psutil
import pytest

import cache_builder
from tests.support.faults.faults import digests
from tests.support.videos.tiny_videos import simple_specs, tiny_folder

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="Ray is not installed: frame-cache[ray]"
)


class Notes:
    """A progress that keeps its notes, and kills a process of Ray when the decoding begins."""

    def __init__(self):
        self.notes = []
        self.killed = []

    def start(self, stage, total, unit):
        if stage == "decode":
            threading.Thread(target=self._kill, daemon=True).start()

    def advance(self, steps):
        pass

    def note(self, line):
        self.notes.append(line)

    def _kill(self):
        ends = time.monotonic() + 60
        while not self.killed and time.monotonic() < ends:
            for process in psutil.Process(os.getpid()).children(recursive=True):
                if "ray::run_on_node" in " ".join(process.cmdline()):
                    process.kill()
                    self.killed.append(process.pid)
                    return


def test_a_build_in_a_cluster_that_loses_a_worker_has_the_bytes_of_a_local_one(tmp_path, capfd):
    videos = tiny_folder(tmp_path / "videos", simple_specs(3, num_frames=40))
    settings = {"size": 64, "workers": 2}
    cache_builder.build_cache(videos.path, tmp_path / "local", **settings)
    progress = Notes()
    terminated = signal.getsignal(signal.SIGTERM)
    report = cache_builder.build_cache(
        videos.path, tmp_path / "ray", executor="ray:local", progress=progress, **settings
    )
    assert progress.killed and report.is_whole
    assert digests(tmp_path / "ray") == digests(tmp_path / "local")
    assert progress.notes[-1].startswith("a Ray cluster of 1 node, 2 CPUs")
    assert not (tmp_path / "ray.nodes").exists()
    assert signal.getsignal(signal.SIGTERM) == terminated  # Ray sets its own
    assert not any(
        each.name() in {"raylet", "gcs_server"} for each in psutil.Process().children(recursive=True)
    )
    assert "".join(capfd.readouterr()) == ""  # Ray's lines name hosts
