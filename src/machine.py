"""What this machine has: cores, memory, disk space and GPUs, found without torch."""

import os
import platform
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

# Dense peak of GPUs in 16 bits, teraflops, from the makers' data sheets.
PEAK = {
    **{"H100": 989, "H200": 989, "A100": 312, "L40S": 362, "L4": 121},
    **{"A10": 125, "A10G": 125, "V100": 125, "T4": 65, "P100": 19},
}
GPU_FIELDS = "index,uuid,name,memory.total"  # the last in MiB
CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")  # of a container


class Gpu(NamedTuple):
    """One GPU; token: its name in CUDA_VISIBLE_DEVICES.

    memory_gb: 0 where the driver does not tell it.
    """

    token: str
    model: str
    memory_gb: float


@dataclass(frozen=True)
class Machine:
    """The hardware that a command may use; memory_gb: None where it is not known."""

    system: str
    cpu: str
    cores: int
    memory_gb: float | None
    free_disk_gb: float
    gpus: tuple[Gpu, ...]


def describe_machine(folder: Path) -> Machine:
    """Look at this machine, and at the free space of the disk that holds a folder."""
    return Machine(
        f"{platform.system()} {platform.release()} {platform.machine()}",
        cpu_model(),
        cores(),
        _memory_gb(),
        shutil.disk_usage(_existing(folder)).free / 1e9,
        gpus(),
    )


def peak_of(name: str) -> float | None:
    """Look a GPU's peak up by the name that its driver gives, in flop/s."""
    words = re.split(r"\W+", name)
    return next((1e12 * PEAK[word] for word in words if word in PEAK), None)


def cores() -> int:
    """Count the cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def gpus() -> tuple[Gpu, ...]:
    """List the GPUs that CUDA may use, by the driver: torch would hold one."""
    if not shutil.which("nvidia-smi"):
        return ()
    command = [
        "nvidia-smi",
        f"--query-gpu={GPU_FIELDS}",
        "--format=csv,noheader,nounits",
    ]
    listed = subprocess.run(command, capture_output=True, text=True, check=False)
    rows = [line.split(", ") for line in listed.stdout.splitlines()]
    found = [row for row in rows if len(row) == 4]
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    tokens = [row[0] for row in found] if chosen is None else chosen.split(",")
    return tuple(
        Gpu(token.strip(), model, (int(mib) if mib.isdecimal() else 0) * 2**20 / 1e9)
        for token in tokens
        for index, uuid, model, mib in found
        if token.strip() == index or (len(token) > 4 and uuid.startswith(token.strip()))
    )


def _existing(folder: Path) -> Path:
    """Return the folder, or the nearest one above it that exists."""
    folder = folder.absolute()
    return next(path for path in (folder, *folder.parents) if path.exists())


def _memory_gb() -> float | None:
    """Return the main memory, or a container's share of it, in GB."""
    try:
        found = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):  # Windows has no sysconf
        return None
    try:
        limit = CGROUP_LIMIT.read_text().strip()
    except OSError:
        limit = "max"
    return min(found, int(limit) if limit.isdecimal() else found) / 1e9


def cpu_model() -> str:
    """Return the processor's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    named = (line.split(":", 1)[1].strip() for line in lines if "model name" in line)
    return next(named, platform.processor() or "unknown")
