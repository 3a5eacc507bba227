"""Several processes training one model, as `torchrun` starts them; or one alone."""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import cast

import torch
from timm.utils import distribute_bn
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from src.errors import UserError

TORCHRUN = ("WORLD_SIZE", "RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")


@contextmanager
def process_group() -> Iterator[None]:
    """Join the other processes where torchrun started some: NCCL on GPUs, else gloo."""
    if not _is_launched():
        yield
        return
    gpus = torch.cuda.is_available()
    if gpus:
        torch.cuda.set_device(_local_gpu())
    try:
        distributed.init_process_group("nccl" if gpus else "gloo")
    except (RuntimeError, ValueError) as error:
        raise UserError(
            f"the other processes could not be joined at {os.environ['MASTER_ADDR']}:"
            f"{os.environ['MASTER_PORT']} ({type(error).__name__}): start them all by "
            "the same torchrun command"
        ) from error
    try:
        yield
    finally:
        distributed.destroy_process_group()


def _is_launched() -> bool:
    """Return whether torchrun started this process; UserError if by halves."""
    if not {"WORLD_SIZE", "RANK"} & set(os.environ):
        return False
    for name in TORCHRUN:
        if name not in os.environ:
            found = next(other for other in TORCHRUN if other in os.environ)
            raise UserError(
                f"the environment sets {found} and not {name}: start several processes "
                f"by torchrun, which sets both, or unset {found}"
            )
    for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_PORT"):
        if not os.environ[name].isdecimal():
            raise UserError(
                f"the environment sets {name} to {os.environ[name]!r}, no whole "
                "number: start by torchrun, or unset it"
            )
    number, processes = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    if number >= processes:
        raise UserError(
            f"the environment sets RANK to {number}, not below WORLD_SIZE, "
            f"{processes}: start by torchrun, or unset both"
        )
    return True


def _local_gpu() -> int:
    """Return this process' GPU; UserError where it has none of its own."""
    index, gpus = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
    if index >= gpus:
        raise UserError(
            f"{index + 1} or more processes were started for {gpus} GPUs: pass "
            f"torchrun --nproc-per-node {gpus}"
        )
    return index


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
def first_alone(block: AbstractContextManager[None]) -> Iterator[None]:
    """Enter a block in the first process; where it raises UserError, all raise one."""
    with ExitStack() as stack:
        failure = None
        if rank() == 0:
            try:
                stack.enter_context(block)
            except UserError as error:
                failure = error
        if all_reduce_sum(torch.tensor(float(failure is not None), device=_device())):
            raise failure or UserError("the first process could not begin")
        yield


def _device() -> torch.device:
    """Return where tensors lie that the processes exchange."""
    grouped = distributed.is_initialized() and distributed.get_backend() == "nccl"
    return torch.device("cuda" if grouped else "cpu")


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


def defer_sync(model: nn.Module) -> AbstractContextManager[None]:
    """Keep gradients from the other processes within the block.

    So all parts of a batch but the last add up in the process itself.
    """
    if isinstance(model, DistributedDataParallel):
        return cast(AbstractContextManager[None], model.no_sync())
    return nullcontext()


def sync_batch_norms(model: nn.Module, device: torch.device) -> nn.Module:
    """Let batch normalisation use all processes' examples, where GPUs train."""
    if distributed.is_initialized() and device.type == "cuda":
        return nn.SyncBatchNorm.convert_sync_batchnorm(model)
    return model


def average_statistics(model: nn.Module) -> None:
    """Average batch normalisation's statistics over the processes."""
    if distributed.is_initialized():
        distribute_bn(model, world_size(), reduce=True)
