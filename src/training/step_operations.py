"""The operations of a training step, counted: an estimate for a GPU that is not here.

    python -m src.training.step_operations '[{"task": "severity", "backbones":
                              ["resnet18"], "channels": [3, 3], "px": 100}]'

prints one JSON object: by backbone the operations that an example takes, forward and
backward, and the network's parameters, for each entry. Nothing is computed. The forward
pass is counted, the backward pass taken for twice as much: torch 2 counts that of
grouped convolutions as if they were whole.
"""

import json
import sys
from collections.abc import Sequence

import torch
from torch.utils.flop_counter import FlopCounterMode

from src.command_line import run_script
from src.models.backbones import check_names
from src.training.step_time import build_network

EXAMPLES = 2  # counted at once: batch norm needs two
PASSES = 3  # forward, and backward to the images and to the weights


def count_operations(
    task: str, backbone: str, channels: Sequence[int], px: int
) -> dict[str, float]:
    """Count an example's additions and multiplications apart, and the parameters.

    As torch counts them: of convolutions and matrix products. channels: the axes of an
    example before those of its sides.
    """
    counter = FlopCounterMode(display=False)
    model = build_network(task, backbone, channels).to("meta").train()
    with counter, torch.device("meta"), torch.no_grad():
        model(torch.zeros(EXAMPLES, *channels, px, px))
    parameters = sum(each.numel() for each in model.parameters())
    flops = PASSES * counter.get_total_flops() / EXAMPLES
    return {"flops": flops, "parameters": float(parameters)}


def count_all(
    task: str, backbones: list[str], channels: Sequence[int], px: int
) -> dict[str, dict[str, float]]:
    """Count a step of each backbone, `paper` spelled out."""
    return {
        name: count_operations(task, name, channels, px)
        for name in check_names(backbones)
    }


def main() -> None:
    """Count what the command line asks for, and print it."""
    steps = [count_all(**entry) for entry in json.loads(sys.argv[1])]
    print(json.dumps({"steps": steps}))


if __name__ == "__main__":
    run_script(main)
