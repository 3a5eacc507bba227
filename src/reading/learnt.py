"""What location runs learnt of where sites lie, beside their weights."""

from collections import ChainMap
from collections.abc import Mapping, Sequence

from src.learning.run_config import RunConfig
from src.reading.offsets import Offset, Target, read_offsets
from src.reading.steps import Step, read_steps


def learnt(
    configs: Sequence[RunConfig],
) -> tuple[Mapping[Target, Offset], Mapping[str, Step]]:
    """Return offsets and steps, each as the first run that knows it has it."""
    offsets = ChainMap(*(read_offsets(config.offsets) for config in configs))
    return offsets, ChainMap(*(read_steps(config.steps) for config in configs))
