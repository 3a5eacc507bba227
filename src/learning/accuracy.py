"""How often a run names the right condition, and how sure that figure is."""

from collections import Counter, defaultdict
from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import confusion_matrix

from src.competition.vocab import CONDITIONS, FAMILIES
from src.errors import InputError
from src.learning.backbones import PAPER
from src.learning.runs import Run

RESAMPLES = 2000
USUAL = ("study", "neighbours")
FORAMINAL = [CONDITIONS.index(name) for name in FAMILIES["foraminal"]]


def check_label_order(table: pd.DataFrame, labels: list[str]) -> None:
    """Make sure class ids mean what the confusion matrix will call them.

    The paper's own code printed two matrices under labels in another order; here the
    ids, the sites' condition and the probability columns must tell one story.
    """
    columns = [name.removeprefix("p_") for name in table if name.startswith("p_")]
    truth = table["condition"].map(CONDITIONS.index)
    chances = table[[f"p_{name}" for name in columns]].to_numpy()
    agree = (
        list(labels) == list(CONDITIONS) == columns
        and (truth == table["truth"]).all()
        and (chances.argmax(axis=1) == table["predicted"]).all()
    )
    if not agree:
        raise InputError(
            "A run's class ids do not follow the order of its labels, so its confusion "
            "matrix would be wrong: train the run again"
        )


def summarise(table: pd.DataFrame) -> dict[str, Any]:
    """Sum up test predictions: columns study_id, truth, predicted (class ids).

    top1_low and top1_high bound the middle 95 % of RESAMPLES bootstrap draws of whole
    studies (crops of a study err together). foraminal_side is the share of the crops
    rightly called foraminal whose side is right too; None where there is none.
    """
    truth, predicted = table["truth"].to_numpy(), table["predicted"].to_numpy()
    foraminal = np.isin(truth, FORAMINAL) & np.isin(predicted, FORAMINAL)
    right = truth == predicted
    low, high = study_interval(table["study_id"].to_numpy(), right)
    side = float(right[foraminal].mean()) if foraminal.any() else None
    matrix = confusion_matrix(truth, predicted, labels=range(len(CONDITIONS)))
    return {
        "top1": float(right.mean()),
        "top1_low": low,
        "top1_high": high,
        "foraminal_side": side,
        "foraminal_merged": float((right | foraminal).mean()),
        "confusion": matrix.tolist(),
        "n": len(table),
        "studies": int(table["study_id"].nunique()),
    }


def study_interval(studies: np.ndarray, right: np.ndarray) -> tuple[float, float]:
    """Bound the share of `right` [n] at 95 % by resampling whole studies [n]."""
    grouped = pd.Series(right).groupby(studies).agg(["sum", "count"]).to_numpy()
    rng = np.random.default_rng(0)
    draws = rng.integers(len(grouped), size=(RESAMPLES, len(grouped)))
    totals = grouped[draws].sum(axis=1)
    low, high = np.quantile(totals[:, 0] / totals[:, 1], [0.025, 0.975])
    return float(low), float(high)


def condition_metrics(runs: list[Run]) -> dict[str, dict[str, Any]]:
    """Sum up condition runs by backbone, pooling its folds and seeds.

    A backbone trained in one way goes by its name; where it was trained in several,
    all but the usual (study split, neighbouring slices) say which in brackets.
    """
    pooled: dict[tuple[str, str, str], list[pd.DataFrame]] = defaultdict(list)
    for run in runs:
        table = run.predictions()
        check_label_order(table, run.config.labels)
        config = run.config
        pooled[config.backbone, config.split, config.slices].append(table)
    ways = Counter(backbone for backbone, _, _ in pooled)
    metrics = {}
    for (backbone, split, slices), tables in sorted(pooled.items(), key=_in_order):
        usual = ways[backbone] == 1 or (split, slices) == USUAL
        name = backbone if usual else f"{backbone} ({split}, {slices})"
        which = {"backbone": backbone, "split": split, "slices": slices}
        summary = summarise(pd.concat(tables, ignore_index=True))
        metrics[name] = {**summary, **which, "runs": len(tables)}
    return metrics


def _in_order(item: tuple[tuple[str, str, str], object]) -> tuple[int, str, bool, str]:
    """Sort as the paper's table does, then by name, the usual way first."""
    backbone, split, slices = item[0]
    place = PAPER.index(backbone) if backbone in PAPER else len(PAPER)
    return place, backbone, (split, slices) != USUAL, f"{split} {slices}"
