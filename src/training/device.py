"""Where a model runs, and in which number format."""

import ctypes
import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from src.training import distributed

EVALUATION_FACTOR = 4
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # as glibc's malloc.h numbers them


def choose_device() -> torch.device:
    """Take this process's GPU if a small sum works on it, else the CPU."""
    if torch.cuda.is_available():
        device = torch.device("cuda", distributed.rank() % torch.cuda.device_count())
        try:
            torch.ones(2, device=device).sum().item()
        except RuntimeError:  # a GPU that this torch has no kernels for
            return torch.device("cpu")
        return device
    return torch.device("cpu")


def choose_precision(device: torch.device, model: nn.Module) -> torch.dtype:
    """bfloat16 where the device computes in it, float16 on older GPUs, else float32.

    On a CPU a model of grouped convolutions (MNASNet's are) stays with float32, since
    their gradients take three times as long in bfloat16 (docs/log.md).
    """
    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.bfloat16 if native else torch.float16
    mixed = _cpu_has_bfloat16() and not _is_grouped(model)
    return torch.bfloat16 if mixed else torch.float32


def search_convolutions(device: torch.device, fixed_shape: bool) -> None:
    """Let cuDNN time its algorithms once for each shape, where shapes are few."""
    torch.backends.cudnn.benchmark = device.type == "cuda" and fixed_shape


def evaluation_batch(batch_size: int, device: torch.device) -> int:
    """Return how many rows to evaluate at once where so many train at once.

    A GPU is filled by more of them, and without gradients has the memory.
    """
    return EVALUATION_FACTOR * batch_size if device.type == "cuda" else batch_size


def _is_grouped(model: nn.Module) -> bool:
    return any(isinstance(m, nn.Conv2d) and m.groups > 1 for m in model.modules())


def _cpu_has_bfloat16() -> bool:
    """Say whether the CPU multiplies bfloat16 itself: emulated, it would be slower."""
    read: Callable[[], dict[str, Any]] = getattr(torch.cpu, "get_capabilities", dict)
    held = read()  # empty before about torch 2.11
    return any(held.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))


def keep_malloc_arena() -> None:
    """Let a network's large blocks be used again rather than given back each step.

    glibc hands every large block back to the kernel when it is freed and asks for it
    anew at the next step, page by page: up to a third of a step's time on a CPU.
    """
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        libc.mallopt(_M_MMAP_MAX, 0)
        libc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
