"""What `gpu_acceptance` reads of nvidia-smi: its report, and dmon's columns."""

import os

import pytest
from frame_cache_tools.gpu_smi import DmonWatch, parse_dmon, parse_report, wanted_facts, watching

REPORT = """
==============NVSMI LOG==============

Timestamp                                 : Tue Nov 24 10:00:00 2026
Driver Version                            : 580.159.04
CUDA Version                              : 13.0

Attached GPUs                             : 1
GPU 00000000:00:1B.0
    Product Name                          : NVIDIA H100 80GB HBM3
    MIG Mode
        Current                           : Disabled
        Pending                           : Disabled
    GPU Virtualization Mode
        Virtualization Mode               : Pass-Through
    PCI
        Bus Id                            : 00000000:00:1B.0
        GPU Link Info
            PCIe Generation
                Max                       : 5
                Current                   : 4
            Link Width
                Max                       : 16x
                Current                   : 8x
    FB Memory Usage
        Total                             : 81559 MiB
        Used                              : 0 MiB
    Compute Mode                          : Default
    Utilization
        Gpu                               : 1 %
        Memory                            : 2 %
        Decoder                           : 97 %
        JPEG                              : 3 %
    Max Clocks
        Graphics                          : 1980 MHz
        Video                             : 1545 MHz
GPU 00000000:00:1C.0
    Utilization
        Decoder                           : 11 %
"""


def test_nvidia_smis_report_is_read_by_its_indentation():
    values = parse_report(REPORT)
    assert values["GPU 00000000:00:1B.0/PCI/Bus Id"] == "00000000:00:1B.0"
    assert values["GPU 00000000:00:1C.0/Utilization/Decoder"] == "11 %"
    assert wanted_facts(values) == {
        "Driver Version": "580.159.04",
        "CUDA Version": "13.0",
        "Product Name": "NVIDIA H100 80GB HBM3",
        "Virtualization Mode": "Pass-Through",
        "MIG Mode/Current": "Disabled",
        "Utilization/GPU": "1 %",
        "Utilization/Decoder": "97 %",
        "Utilization/JPEG": "3 %",
        "GPU Link Info/PCIe Generation/Current": "4",
        "GPU Link Info/PCIe Generation/Max": "5",
        "GPU Link Info/Link Width/Current": "8x",
        "FB Memory Usage/Total": "81559 MiB",
        "Max Clocks/Video": "1545 MHz",
        "Compute Mode": "Default",
    }


DMON = """\
# gpu     sm    mem    enc    dec    jpg    ofa
# Idx      %      %      %      %      %      %
    0      0      0      0      0      0      -
    0     31     10      0     88      0      -
    0     33     12      0     96      0      -
# gpu     sm    mem    enc    dec    jpg    ofa
# Idx      %      %      %      %      %      %
    0     35     12      0     92      0      -
not a reading
"""


def test_dmons_columns_are_read_and_idle_seconds_left_out():
    columns = parse_dmon(DMON)
    assert columns["dec"] == [0.0, 88.0, 96.0, 92.0]
    assert columns["ofa"] == []
    busy = DmonWatch(columns=columns).busy("dec")
    assert (busy.median, busy.largest) == (92.0, 96.0)
    assert DmonWatch(columns=columns).busy("jpg") is None
    assert DmonWatch(columns=columns).busy("no such column") is None
    assert parse_dmon("Failed to initialize NVML\n") == {}


@pytest.mark.parametrize(
    ("script", "dec", "reason"),
    [
        (f"cat <<'E'\n{DMON}E", [0.0, 88.0, 96.0, 92.0], ""),
        ("echo 'not supported here'; exit 1", None, "nvidia-smi dmon said: not supported here"),
    ],
)
def test_dmon_runs_while_something_is_watched(tmp_path, monkeypatch, script, dec, reason):
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    with watching(3) as watch:
        pass
    assert (watch.columns.get("dec"), watch.reason) == (dec, reason)
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    with watching(3) as watch:
        pass
    assert watch.reason == "nvidia-smi is not on the PATH"
