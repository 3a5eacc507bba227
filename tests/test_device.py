"""Which device and number format a process takes, on machines that are made up."""

import pytest
import torch
from tiny_training import CPU, tiny_model
from torch import nn

from src.training.device import (
    choose_device,
    choose_precision,
    evaluation_batch,
    search_convolutions,
)

GPU = torch.device("cuda", 0)


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Pretend that there are two GPUs which answer."""
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    ones = torch.ones
    monkeypatch.setattr("torch.ones", lambda *shape, device: ones(*shape))
    return monkeypatch


@pytest.mark.parametrize(("rank", "index"), [(0, 0), (1, 1), (3, 1)])
def test_each_process_of_a_host_has_a_gpu_of_its_own(
    gpus: pytest.MonkeyPatch, rank: int, index: int
) -> None:
    gpus.setattr("src.training.distributed.rank", lambda: rank)
    assert choose_device() == torch.device("cuda", index)


def test_a_gpu_that_cannot_compute_is_left_alone(gpus: pytest.MonkeyPatch) -> None:
    def no_kernel(*shape: int, device: torch.device) -> None:
        raise RuntimeError("no kernel image is available")

    gpus.setattr("torch.ones", no_kernel)
    assert choose_device() == CPU


def test_without_a_gpu_it_is_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert choose_device() == CPU


@pytest.mark.parametrize(
    ("native", "liked"), [(True, torch.bfloat16), (False, torch.float16)]
)
def test_an_older_gpu_computes_in_float16(
    monkeypatch: pytest.MonkeyPatch, native: bool, liked: torch.dtype
) -> None:
    def supported(including_emulation: bool = True) -> bool:
        return native or including_emulation

    monkeypatch.setattr("torch.cuda.is_bf16_supported", supported)
    assert choose_precision(GPU, tiny_model()) is liked
    grouped = nn.Sequential(nn.Conv2d(4, 4, 3, groups=4))
    assert choose_precision(GPU, grouped) is liked


@pytest.mark.parametrize(
    ("told", "liked"),
    [
        ({"avx512_bf16": True, "amx_bf16": False}, torch.bfloat16),
        ({"avx512_bf16": False, "amx_bf16": True}, torch.bfloat16),
        ({"avx2": True, "avx512": True}, torch.float32),
    ],
)
def test_a_cpu_that_would_emulate_bfloat16_keeps_float32(
    monkeypatch: pytest.MonkeyPatch, told: dict, liked: torch.dtype
) -> None:
    monkeypatch.setattr("torch.cpu.get_capabilities", lambda: told, raising=False)
    assert choose_precision(CPU, tiny_model()) is liked


@pytest.mark.parametrize("device", [CPU, GPU])
@pytest.mark.parametrize("fixed", [True, False])
def test_convolutions_are_searched_for_on_a_gpu_with_batches_of_one_shape(
    monkeypatch: pytest.MonkeyPatch, device: torch.device, fixed: bool
) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", not fixed)
    search_convolutions(device, fixed)
    assert torch.backends.cudnn.benchmark is (device is GPU and fixed)


def test_a_gpu_evaluates_four_training_batches_at_once() -> None:
    assert evaluation_batch(32, GPU) == 128
    assert evaluation_batch(32, CPU) == 32
