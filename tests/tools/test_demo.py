import re
import subprocess
import sys


def test_the_demo_runs_to_its_end_and_every_frame_names_itself(tmp_path):
    run = subprocess.run(
        [sys.executable, "-m", "frame_cache_tools.demo", str(tmp_path / "demo"), "--count", "6"],
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert run.returncode == 0, run.stderr
    rows = re.findall(r"^(live|cached) +(\w+) .* (\d+) of (\d+)$", run.stdout, flags=re.MULTILINE)
    assert [row[:2] for row in rows] == [
        ("live", "permutation"),
        ("cached", "permutation"),
        ("cached", "stratified"),
        ("cached", "iid"),
        ("cached", "sequential"),
        ("cached", "shards"),
        ("cached", "block"),
    ]
    assert all(right == total and int(total) >= 128 for _, _, right, total in rows)
    assert "sound" in run.stdout
    assert "Traceback" not in run.stderr
