"""A bar that shows how far an epoch is, how fast it goes and how long it takes."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from src.console import progress
from src.training.trainer import OnBatch

MIN_S = 1e-9  # a coarse clock may not have moved yet


@contextmanager
def epoch_bar(epoch: int) -> Iterator[OnBatch]:
    """Show an epoch's batches, its rate and the time left, on a terminal only.

    On a GPU the rate is that of the batches sent to it: to ask for more would wait.
    """
    start = time.perf_counter()

    def on_batch(done: int, total: int, images: int) -> None:
        seconds = max(time.perf_counter() - start, MIN_S)
        on_progress(done, total, f"{images / seconds:.0f} images/s")

    with progress(f"epoch {epoch}") as on_progress:
        yield on_batch
