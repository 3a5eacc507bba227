"""Published results of the paper and of the competition, shown beside ours.

Source: Schwall, Xu and Bauman, "Detecting Lumbar Spine Degenerative Conditions From
MRI Data", 2024, its Table 2 and figures 5 to 7; the corrected numbers come from its
authors' public code and stored outputs.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class PaperResult:
    """A backbone's accuracies, shares of 1.

    top1: the paper's Table 2; corrected: top-1 of the checkpoint with the best
    validation; side: correct side among foraminal crops predicted as foraminal, by its
    confusion matrices; merged: top-1 with the two foraminal classes as one.
    """

    top1: float
    corrected: float
    side: float
    merged: float


PAPER_RESULTS = {
    "vgg11": PaperResult(0.914, 0.9142, 0.791, 0.999),
    "vgg16": PaperResult(0.934, 0.9337, 0.840, 0.998),
    "mnasnet0_75": PaperResult(0.873, 0.8734, 0.698, 0.996),
    "mnasnet1_0": PaperResult(0.882, 0.8313, 0.629, 0.983),
    "resnet101": PaperResult(0.946, 0.9484, 0.877, 1.000),
    "resnet152": PaperResult(0.944, 0.9455, 0.871, 0.999),
}

# The baselines of baselines.py on the real crops under the paper's row split.
PAPER_BASELINES = {
    "majority_class": 0.600,
    "random_side": 0.798,
    "nearest_neighbour_side": 0.995,
}
# The share of its test crops whose image is also in its training set.
SHARED_IMAGES = 0.698

# The pairs of the paper's figures 5, 6 and 7.
PAIRS = {
    "VGG": ("vgg11", "vgg16"),
    "MNASNet": ("mnasnet0_75", "mnasnet1_0"),
    "ResNet": ("resnet101", "resnet152"),
}

# Scores of teams on the competition's public and private leaderboard, from their own
# write-ups; None if not published. The private half is the harder one.
LEADERBOARD = {
    "1st": (0.33, None),
    "6th": (0.355, 0.401),
    "7th": (0.34, 0.401),
    "13th": (0.345, 0.412),
    "14th": (0.35, 0.41),
    "27th": (0.39, 0.44),
    "a silver medal": (0.43, 0.49),
}
# The winners' reported slice accuracy: exact, within one.
WINNERS_SLICES = (0.71, 0.98)
