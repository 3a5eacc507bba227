"""How often runs name the right condition, and how sure that figure is."""

from typing import Any

import numpy as np
import pandas as pd

from src.competition.constants import CONDITIONS, FAMILIES

RESAMPLES = 2000
FORAMINAL = [CONDITIONS.index(name) for name in FAMILIES["foraminal"]]


def summarise(table: pd.DataFrame) -> dict[str, Any]:
    """Sum up test predictions: columns crop, study_id, truth, predicted (class ids).

    A crop that several runs predict counts once: its predictions share its weight, so
    that seeds are no crops of their own, and `confusion` and n count distinct crops.
    top1_low and top1_high bound the middle 95 % of RESAMPLES bootstrap draws of whole
    studies (crops of a study err together). foraminal_side is the share of the crops
    rightly called foraminal whose side is right too; None where there is none.
    """
    truth, predicted = table["truth"].to_numpy(), table["predicted"].to_numpy()
    weight = crop_weights(table)
    foraminal = np.isin(truth, FORAMINAL) & np.isin(predicted, FORAMINAL)
    right = truth == predicted
    low, high = study_interval(table["study_id"].to_numpy(), right, weight)
    matrix = _confusion(truth, predicted, weight)
    return {
        "top1": float(np.average(right, weights=weight)),
        "top1_low": low,
        "top1_high": high,
        "foraminal_side": _share(right[foraminal], weight[foraminal]),
        "foraminal_merged": float(np.average(right | foraminal, weights=weight)),
        "confusion": matrix.tolist(),
        **precision_and_recall(matrix),
        "n": int(table["crop"].nunique()),
        "studies": int(table["study_id"].nunique()),
    }


def crop_weights(table: pd.DataFrame) -> np.ndarray:
    """Share each crop's weight of 1 among its rows: [n], from the column crop."""
    return 1 / table.groupby("crop")["crop"].transform("size").to_numpy()


def study_interval(
    studies: np.ndarray, right: np.ndarray, weight: np.ndarray
) -> tuple[float, float]:
    """Bound the weighted share of `right` at 95 % by resampling whole studies; all [n].

    Percentile bootstrap over clusters.
    """
    rows = pd.DataFrame({"right": right * weight, "all": weight})
    by_study = rows.groupby(studies).sum().to_numpy()
    rng = np.random.default_rng(0)
    draws = rng.integers(len(by_study), size=(RESAMPLES, len(by_study)))
    totals = by_study[draws].sum(axis=1)
    low, high = np.quantile(totals[:, 0] / totals[:, 1], [0.025, 0.975])
    return float(low), float(high)


def precision_and_recall(
    confusion: np.ndarray,
) -> dict[str, dict[str, float | None]]:
    """Give each condition's precision and recall; None where nothing is counted.

    confusion [5, 5]: rows true, columns predicted.
    """
    right = np.diag(confusion)
    sums = {"precision": confusion.sum(axis=0), "recall": confusion.sum(axis=1)}
    return {
        name: {
            condition: float(hits / total) if total else None
            for condition, hits, total in zip(CONDITIONS, right, totals, strict=True)
        }
        for name, totals in sums.items()
    }


def _confusion(
    truth: np.ndarray, predicted: np.ndarray, weight: np.ndarray
) -> np.ndarray:
    """Count crops by true (row) and predicted class; whole numbers if they are."""
    size = len(CONDITIONS)
    cells = np.bincount(truth * size + predicted, weight, size * size)
    matrix = cells.round(6).reshape(size, size)
    return matrix.astype(int) if (weight == 1).all() else matrix


def _share(right: np.ndarray, weight: np.ndarray) -> float | None:
    return float(np.average(right, weights=weight)) if len(right) else None
