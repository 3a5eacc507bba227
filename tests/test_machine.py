"""What a machine has: GPUs by the driver's list, cores, memory and disk."""

import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from src import machine

LISTED = """\
0, GPU-6f2c1d6e-aaaa, Tesla T4, 15360
1, GPU-90a1b2c3-bbbb, Tesla T4, 15360
2, GPU-77777777-cccc, NVIDIA GH200, [N/A]
"""


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> None:
    """An nvidia-smi that lists three GPUs, one of unknown memory."""

    def run(command: list[str], **_: object) -> SimpleNamespace:
        assert command[0] == "nvidia-smi"
        return SimpleNamespace(stdout=LISTED)

    monkeypatch.setattr(machine.subprocess, "run", run)
    monkeypatch.setattr(machine.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


@pytest.mark.usefixtures("driver")
def test_gpus_are_the_drivers() -> None:
    first, second, third = machine.gpus()
    assert (first.token, second.token, third.token) == ("0", "1", "2")
    assert first.model == "Tesla T4"
    assert first.memory_gb == pytest.approx(16.1, abs=0.05)  # 15,360 MiB
    assert third == ("2", "NVIDIA GH200", 0.0)


@pytest.mark.usefixtures("driver")
@pytest.mark.parametrize(
    ("visible", "tokens"),
    [
        ("1", ["1"]),
        ("1,0", ["1", "0"]),
        ("", []),
        ("-1", []),
        ("GPU-90a1", ["GPU-90a1"]),
    ],
)
def test_the_environment_chooses_gpus(
    visible: str, tokens: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert [gpu.token for gpu in machine.gpus()] == tokens


def test_without_a_driver_there_is_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine.shutil, "which", lambda _: None)
    assert machine.gpus() == ()


def test_a_containers_memory_is_its_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = tmp_path / "memory.max"
    monkeypatch.setattr(machine, "CGROUP_LIMIT", limit)
    whole = machine.describe_machine(tmp_path).memory_gb
    limit.write_text("max\n")
    assert machine.describe_machine(tmp_path).memory_gb == whole
    limit.write_text("3000000\n")
    assert machine.describe_machine(tmp_path).memory_gb == pytest.approx(0.003)


def test_the_disk_is_that_of_a_folder_yet_to_be_made(tmp_path: Path) -> None:
    found = machine.describe_machine(tmp_path / "not" / "yet")
    assert found.free_disk_gb == pytest.approx(
        shutil.disk_usage(tmp_path).free / 1e9, rel=0.1
    )
    assert 1 <= found.cores <= (os.cpu_count() or 1)
