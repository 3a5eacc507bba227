"""An entry of metrics.json in which no two numbers are the same, nor symmetric."""

from typing import Any

from src.competition.constants import CONDITIONS

PRECISION = (0.11, 0.12, 0.13, 0.14, 0.15)
RECALL = (0.21, 0.22, 0.23, 0.24, 0.25)
# Rows true, columns predicted, in the order of the class ids: no row is a column.
CONFUSION = [
    [90, 3, 7, 0, 0],
    [1, 40, 0, 9, 0],
    [30, 2, 60, 4, 4],
    [0, 2, 1, 5, 12],
    [8, 0, 5, 0, 12.5],
]


def run_row(**changes: Any) -> dict[str, Any]:
    """A run of an entry; 13 of its 40 test images are also in training."""
    leakage = {
        unit: {"test": test, "also_in_train": shared, "share_of_crops": share}
        for unit, test, shared, share in (
            ("studies", 9, 8, 0.91),
            ("series", 27, 20, 0.82),
            ("images", 40, 13, 0.375),
            ("crops", 91, 2, 0.02),
        )
    }
    usual = {
        **{"name": "a", "fold": "holdout", "seed": 3, "top1": 0.792, "n": 91},
        "leakage": leakage,
    }
    return usual | changes


def entry(**changes: Any) -> dict[str, Any]:
    """A variant of a backbone; changes: values to replace, by key."""
    usual = {
        **{"top1": 0.811, "top1_low": 0.752, "top1_high": 0.883},
        **{"top1_mean": 0.805, "top1_std": 0.021, "top1_min": 0.791},
        **{"top1_max": 0.822, "foraminal_side": 0.633, "foraminal_merged": 0.947},
        **{"n": 1234, "studies": 56, "confusion": CONFUSION},
        "precision": dict(zip(CONDITIONS, PRECISION, strict=True)),
        "recall": dict(zip(CONDITIONS, RECALL, strict=True)),
        "baselines": {
            **{"majority_class": 0.597, "random_side": 0.796},
            **{"nearest_neighbour": 0.871, "nearest_neighbour_side": 0.985},
        },
        "runs": [run_row(), run_row(name="b", seed=5, top1=0.823, n=90)],
        **{"backbone": "mnasnet1_0", "split": "study", "slices": "neighbours"},
        "crop": "3 slices of 100 px over 50 mm",
        **{"recipe": {"weights": "/far/away/vgg.pth", "lr": 0.001}, "differs_by": ""},
    }
    return usual | changes
