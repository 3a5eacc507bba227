"""Two threads that play the processes of one training, without a process group."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import pytest
import torch
from torch import nn

WORLD = 2
Result = TypeVar("Result")


class Group:
    """What a process group does, for threads: ranks, sums and averaged gradients."""

    def __init__(self) -> None:
        """Make a group that nobody has joined."""
        self._own = threading.local()
        self._barrier = threading.Barrier(WORLD, timeout=60)
        self._given: list[torch.Tensor] = [torch.empty(0)] * WORLD

    def rank(self) -> int:
        """Return the calling thread's rank."""
        return self._own.rank

    def all_reduce_sum(self, values: torch.Tensor) -> torch.Tensor:
        """Add a tensor up over the threads, in place."""
        self._given[self.rank()] = values.detach().clone()
        self._barrier.wait()
        total = self._given[0] + self._given[1]
        self._barrier.wait()
        with torch.no_grad():
            return values.copy_(total)

    @contextmanager
    def wrap_ddp(self, model: nn.Module, device: torch.device) -> Iterator[nn.Module]:
        """Average a model's gradients over the threads, as they are computed."""

        def average(weight: nn.Parameter) -> None:
            self.all_reduce_sum(weight.grad).div_(WORLD)

        hooks = [
            weight.register_post_accumulate_grad_hook(average)
            for weight in model.parameters()
        ]
        yield model
        for hook in hooks:
            hook.remove()

    def average_statistics(self, model: nn.Module) -> None:
        """Average batch norm's running statistics over the threads."""
        for norm in model.modules():
            if isinstance(norm, nn.modules.batchnorm._BatchNorm):
                for values in (norm.running_mean, norm.running_var):
                    self.all_reduce_sum(values).div_(WORLD)

    def barrier(self) -> None:
        """Go on when both threads have come here."""
        self._barrier.wait()

    def run(self, work: Callable[[], Result]) -> list[Result]:
        """Do the same work in each thread; return what each gives."""

        def as_rank(rank: int) -> Result:
            self._own.rank = rank
            try:
                return work()
            except BaseException:
                self._barrier.abort()
                raise

        with ThreadPoolExecutor(WORLD) as pool:
            return list(pool.map(as_rank, range(WORLD)))


@contextmanager
def two_processes() -> Iterator[Group]:
    """Put a group of two threads in the place of src.training.distributed's."""
    group = Group()
    with pytest.MonkeyPatch.context() as patch:
        place = "src.training.distributed."
        names = ("rank", "all_reduce_sum", "wrap_ddp", "average_statistics", "barrier")
        for name in names:
            patch.setattr(place + name, getattr(group, name))
        patch.setattr(place + "world_size", lambda: WORLD)
        yield group
