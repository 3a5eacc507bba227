"""Top-1 accuracy of condition runs, with confusion, precision, recall and intervals."""

import numpy as np
import pandas as pd
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from src.competition.constants import CONDITIONS, FAMILIES
from src.metrics_schema import Accuracy, ByCondition, PrecisionRecall

RESAMPLES = 2000
CLASSES = range(len(CONDITIONS))
FORAMINAL = [CONDITIONS.index(name) for name in FAMILIES["foraminal"]]


def summarise(table: pd.DataFrame) -> Accuracy:
    """Summarise test predictions: columns crop, study_id, truth, predicted (class ids).

    A crop that several runs predict counts once: its predictions share its weight, so
    that more seeds do not make more crops; `confusion` and n count distinct crops.
    top1_low and top1_high bound the middle 95 % of RESAMPLES bootstrap draws of whole
    studies, since the errors of a study's crops are correlated. foraminal_side: among
    foraminal crops predicted as foraminal, the share with the correct side; None if
    there are none. foraminal_merged: accuracy with both sides as one class.
    """
    truth, predicted = table["truth"].to_numpy(), table["predicted"].to_numpy()
    weight = crop_weights(table)
    foraminal = np.isin(truth, FORAMINAL) & np.isin(predicted, FORAMINAL)
    correct = truth == predicted
    low, high = study_interval(table["study_id"].to_numpy(), correct, weight)
    return {
        "top1": float(np.average(correct, weights=weight)),
        "top1_low": low,
        "top1_high": high,
        "foraminal_side": _share(correct[foraminal], weight[foraminal]),
        "foraminal_merged": float(np.average(correct | foraminal, weights=weight)),
        "confusion": _confusion(truth, predicted, weight).tolist(),
        **precision_and_recall(truth, predicted, weight),
        "n": int(table["crop"].nunique()),
        "studies": int(table["study_id"].nunique()),
    }


def crop_weights(table: pd.DataFrame) -> np.ndarray:
    """Share each crop's weight of 1 among its rows: [n], from the column crop."""
    return 1 / table.groupby("crop")["crop"].transform("size").to_numpy()


def study_interval(
    studies: np.ndarray, correct: np.ndarray, weight: np.ndarray
) -> tuple[float, float]:
    """Bound the weighted share of `correct` at 95 % by resampling studies; all [n].

    Percentile bootstrap over clusters.
    """
    rows = pd.DataFrame({"correct": correct * weight, "all": weight})
    by_study = rows.groupby(studies).sum().to_numpy()
    rng = np.random.default_rng(0)
    draws = rng.integers(len(by_study), size=(RESAMPLES, len(by_study)))
    totals = by_study[draws].sum(axis=1)
    low, high = np.quantile(totals[:, 0] / totals[:, 1], [0.025, 0.975])
    return float(low), float(high)


def precision_and_recall(
    truth: np.ndarray, predicted: np.ndarray, weight: np.ndarray
) -> PrecisionRecall:
    """Return each condition's precision and recall; None where no crop counts."""
    precision, recall, *_ = precision_recall_fscore_support(
        truth, predicted, labels=CLASSES, sample_weight=weight, zero_division=np.nan
    )
    return {"precision": _by_condition(precision), "recall": _by_condition(recall)}


def _by_condition(values: np.ndarray) -> ByCondition:
    pairs = zip(CONDITIONS, values, strict=True)
    return {name: None if np.isnan(value) else float(value) for name, value in pairs}


def _confusion(
    truth: np.ndarray, predicted: np.ndarray, weight: np.ndarray
) -> np.ndarray:
    """Count crops by true (row) and predicted class, [5, 5]; int if weights are 1."""
    matrix: np.ndarray = confusion_matrix(
        truth, predicted, labels=CLASSES, sample_weight=weight
    )
    return matrix.astype(int) if (weight == 1).all() else matrix.round(6)


def _share(correct: np.ndarray, weight: np.ndarray) -> float | None:
    return float(np.average(correct, weights=weight)) if len(correct) else None
