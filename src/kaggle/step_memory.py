"""The memory of a training step, estimated: a batch that does not fit comes in parts.

bytes = 16 a parameter (weights, gradients and Adam's two averages, in float32)
      + 1.5 x what the backward pass keeps of the images (the rest: working space)
      + what the libraries take for themselves.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

from src.machine import Machine

PAPER = ("vgg11", "vgg16", "mnasnet0_75", "mnasnet1_0", "resnet101", "resnet152")
BYTES_A_PARAMETER, WORKING_SPACE = 16, 1.5
LIBRARIES_GB = 1.5  # CUDA's context and cuDNN's plans, or a process' torch
UNKNOWN_GB = 4.0  # taken where a GPU's or a machine's memory is not known


class Size(NamedTuple):
    """A network's parameters, in millions, and MB that are kept of an image.

    image_mb: what autograd saves for the backward pass in 16 bits; in float32, as
    MNASNets train on a CPU, it is twice that.
    """

    parameters_m: float
    image_mb: float


# Crops of 100 px, as autograd's hooks count what is saved; the tests count it again.
CLASSIFIERS = {
    **{"vgg11": Size(128.8, 6.1), "vgg16": Size(134.3, 8.5)},
    **{"mnasnet0_75": Size(1.9, 4.3), "mnasnet1_0": Size(3.1, 5.0)},
    **{"resnet101": Size(42.5, 14.7), "resnet152": Size(58.2, 20.6)},
    **{"resnet18": Size(11.2, 2.5), "resnet10t": Size(4.9, 2.4)},
    "tf_efficientnet_lite0": Size(3.4, 9.0),
}
# Slices of 160 px through a heatmap network.
LOCATORS = {"resnet18": Size(11.3, 8.5), "resnet10t": Size(5.1, 8.5)}


def step_gb(task: str, backbones: Sequence[str], images: int, gpu: bool) -> float:
    """Estimate the most memory that a step of any of the backbones takes, in GB.

    images: that pass through the network at once, of a site all slices of all its
    views. `paper` counts as its six.
    """
    known = LOCATORS if task == "location" else CLASSIFIERS
    names = [n for name in backbones for n in (PAPER if name == "paper" else (name,))]
    kept = WORKING_SPACE * images * (1 if gpu else 2) / 1e3
    return LIBRARIES_GB + max(
        known[name].parameters_m * BYTES_A_PARAMETER / 1e3 + known[name].image_mb * kept
        for name in names
    )


def device_gb(machine: Machine) -> float:
    """Return the memory that a step may take: the smallest GPU's, or the machine's."""
    if machine.gpus:
        return min(gpu.memory_gb or UNKNOWN_GB for gpu in machine.gpus)
    return machine.memory_gb or UNKNOWN_GB


def parts_that_fit(
    task: str,
    backbones: Sequence[str],
    batch_size: int,
    machine: Machine,
    images_each: int = 1,
) -> int:
    """Return in how few parts a batch fits the memory: gradient accumulation.

    images_each: of an example. At most as many parts as leave two examples in each,
    which batch norm needs.
    """
    most, room = max(1, batch_size // 2), device_gb(machine)
    for parts in range(1, most):
        images = images_each * math.ceil(batch_size / parts)
        gpu = bool(machine.gpus)
        if step_gb(task, backbones, images, gpu) <= room:
            return parts
    return most
