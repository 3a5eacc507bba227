"""Several processes training one model, as `torchrun` starts them; or one alone."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from timm.utils import distribute_bn
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel


@contextmanager
def process_group() -> Iterator[None]:
    """Join the other processes where torchrun started some: NCCL on GPUs, else gloo."""
    if "WORLD_SIZE" not in os.environ:
        yield
        return
    gpus = torch.cuda.is_available()
    if gpus:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    distributed.init_process_group("nccl" if gpus else "gloo")
    try:
        yield
    finally:
        distributed.destroy_process_group()


def rank() -> int:
    """This process' rank, from 0; 0 alone writes and prints."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def world_size() -> int:
    """The number of processes."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def barrier() -> None:
    """Wait for all processes."""
    if distributed.is_initialized():
        distributed.barrier()


def all_reduce_sum(values: torch.Tensor) -> torch.Tensor:
    """Add a tensor up over the processes, in place."""
    if distributed.is_initialized():
        distributed.all_reduce(values)
    return values


@contextmanager
def wrap_ddp(model: nn.Module, device: torch.device) -> Iterator[nn.Module]:
    """Yield the model so that its gradients are averaged over the processes.

    For the length of the block alone: the wrapper holds the process group, and a group
    that is held beyond `process_group` keeps its threads until the interpreter ends,
    where one that then asks for the interpreter's lock aborts the process. So what is
    left of the wrapper is emptied, for a traceback may hold it.
    """
    if not distributed.is_initialized():
        yield model
        return
    ids = [device.index] if device.type == "cuda" else None
    wrapper = DistributedDataParallel(model, device_ids=ids)
    try:
        yield wrapper
    finally:
        vars(wrapper).clear()


def sync_batch_norms(model: nn.Module, device: torch.device) -> nn.Module:
    """Let batch normalisation use all processes' examples, where GPUs train."""
    if distributed.is_initialized() and device.type == "cuda":
        return nn.SyncBatchNorm.convert_sync_batchnorm(model)
    return model


def average_statistics(model: nn.Module) -> None:
    """Average batch normalisation's statistics over the processes."""
    if distributed.is_initialized():
        distribute_bn(model, world_size(), reduce=True)
