"""Where a model runs, and in which number format."""

import torch


def choose_device() -> torch.device:
    """Take the GPU if it answers a small sum, else the CPU."""
    if torch.cuda.is_available():
        try:
            torch.ones(2, device="cuda").sum().item()
        except RuntimeError:  # a GPU that this torch has no kernels for
            return torch.device("cpu")
        return torch.device("cuda")
    return torch.device("cpu")


def choose_precision(device: torch.device) -> torch.dtype:
    """bfloat16 or, with a gradient scaler, float16 on a GPU; float32 on a CPU."""
    if device.type != "cuda":
        return torch.float32
    native = torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.bfloat16 if native else torch.float16
