"""Where a model runs, and in which number format."""

import torch

from src.learning import distributed


def choose_device() -> torch.device:
    """Take this process's GPU if it answers a small sum, else the CPU."""
    if torch.cuda.is_available():
        device = torch.device("cuda", distributed.rank() % torch.cuda.device_count())
        try:
            torch.ones(2, device=device).sum().item()
        except RuntimeError:  # a GPU that this torch has no kernels for
            return torch.device("cpu")
        return device
    return torch.device("cpu")


def choose_precision(device: torch.device) -> torch.dtype:
    """bfloat16 where the device computes in it, float16 on older GPUs, else float32."""
    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.bfloat16 if native else torch.float16
    return torch.bfloat16 if _cpu_has_bfloat16() else torch.float32


def _cpu_has_bfloat16() -> bool:
    """Say whether the CPU multiplies bfloat16 itself: emulated, it would be slower."""
    told = getattr(torch.cpu, "get_capabilities", dict)()  # since torch 2.11 or so
    return any(told.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))
