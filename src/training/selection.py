"""Which epoch's weights a training keeps, by the validation losses so far.

The least of many noisy losses is luck: on 24 real patients, whose folds validate on one
or two, the epoch of the least loss scored 2.3 on the test patients and the last epoch
1.2 (ResNet-18, 15 epochs, mean of five folds; the prior .9). By then the cosine has
brought the rate down, so that the last epochs hardly differ. So a small validation
chooses nothing, and a larger one by a mean over epochs, which no single one decides.
"""

from collections.abc import Sequence

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

SMOOTHED = 3  # epochs whose mean loss is held against that of others
SMALL_VALIDATION = 20  # studies; a guess between the 1 to 3 that failed and some 100


def choose_selection(select: str, validation_studies: int) -> str:
    """Return the rule that `auto` stands for, or another rule as it is."""
    if select != "auto":
        return select
    return "last" if validation_studies < SMALL_VALIDATION else "smoothed"


def is_best(select: str, losses: Sequence[float]) -> bool:
    """Return whether to keep the weights of the last epoch of `losses`.

    `best`: its loss is the least; `smoothed`: the mean over it and the SMOOTHED - 1
    before is, and before there are so many, always; `last`: always.
    """
    if select == "last" or (select == "smoothed" and len(losses) <= SMOOTHED):
        return True
    width = SMOOTHED if select == "smoothed" else 1
    means = sliding_window_view(np.asarray(losses), width).mean(axis=1)
    return bool(means[-1] < means[:-1].min(initial=np.inf))


def kept_loss(select: str, losses: Sequence[float]) -> float:
    """Return what the weights that a rule keeps of a whole training are judged by.

    `best`: their epoch's loss; else the mean over it and the SMOOTHED - 1 before.
    """
    kept = max(n for n in range(1, len(losses) + 1) if is_best(select, losses[:n]))
    width = 1 if select == "best" else SMOOTHED
    return float(np.mean(losses[max(0, kept - width) : kept]))
