"""Runs of one backbone trained in one way, put together over folds and seeds."""

from collections import defaultdict
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from src.classification.accuracy import crop_weights, summarise
from src.classification.baselines import baseline_accuracy
from src.classification.leakage import leakage
from src.classification.variants import Variant, name_variants


@dataclass(frozen=True, eq=False)
class RunEvaluation:
    """What a run was asked and what it answered.

    description: its config.json; table: its predictions with the probabilities of the
    references beside each; leakage: what its test crops share with its training.
    """

    name: str
    description: dict[str, Any]
    table: pd.DataFrame
    leakage: dict[str, dict[str, Any]]


def evaluate_run(
    name: str,
    description: dict[str, Any],
    predictions: pd.DataFrame,
    sites: pd.DataFrame,
    roles: pd.Series,
) -> RunEvaluation:
    """Put a run's predictions beside its references; sites: the cache's crops."""
    train, test = (sites[(roles == role).to_numpy()] for role in ("train", "test"))
    probabilities = baseline_accuracy(train, test).set_index(test["crop"].to_numpy())
    table = predictions.join(probabilities, on="crop")
    return RunEvaluation(name, description, table, leakage(train, test))


def condition_metrics(outcomes: list[RunEvaluation]) -> dict[str, dict[str, Any]]:
    """Sum up condition runs by backbone and way: metrics.json's entry `condition`.

    A backbone's name is that of its most usual way (study split, neighbouring slices);
    any other way of it says in brackets what it is.
    """
    named = name_variants([one.description for one in outcomes])
    pooled: dict[str, list[RunEvaluation]] = defaultdict(list)
    for one, (name, _) in zip(outcomes, named, strict=True):
        pooled[name].append(one)
    ways = dict(named)
    return {name: _pool(pooled[name], ways[name]) for name in sorted(pooled)}


def _pool(outcomes: list[RunEvaluation], way: Variant) -> dict[str, Any]:
    """Sum up one way's runs: the pooled crops, each run, and the runs' spread."""
    table = pd.concat([one.table for one in outcomes], ignore_index=True)
    runs = [_run_row(one) for one in outcomes]
    top1 = np.array([run["top1"] for run in runs])
    return {
        **summarise(table),
        "top1_mean": float(top1.mean()),
        "top1_std": float(top1.std(ddof=1)) if len(top1) > 1 else None,
        "top1_min": float(top1.min()),
        "top1_max": float(top1.max()),
        "baselines": pooled_baselines(table),
        "runs": runs,
        **asdict(way),
    }


def _run_row(one: RunEvaluation) -> dict[str, Any]:
    right = one.table["truth"] == one.table["predicted"]
    return {
        "name": one.name,
        "fold": one.description["fold"],
        "seed": one.description["hyperparameters"]["seed"],
        "top1": float(right.mean()),
        "n": len(one.table),
        "leakage": one.leakage,
    }


def pooled_baselines(table: pd.DataFrame) -> dict[str, float | None]:
    """Average the references' probabilities over crops, as `summarise` does accuracy.

    look_up_side: of the foraminal crops alone, the share whose side is looked up right.
    """
    weight = crop_weights(table)
    lines = {
        name: float(np.average(table[name], weights=weight))
        for name in ("majority_class", "random_side", "nearest_neighbour")
    }
    chosen = table["foraminal"].to_numpy(dtype=bool)
    side = table.loc[chosen, "nearest_neighbour"]
    found = float(np.average(side, weights=weight[chosen])) if len(side) else None
    return {**lines, "nearest_neighbour_side": found}
