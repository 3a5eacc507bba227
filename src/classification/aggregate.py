"""Condition metrics, aggregated over the folds and seeds of each variant."""

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
import pandas as pd

from src.classification.accuracy import crop_weights, summarise
from src.classification.baselines import baseline_accuracy
from src.classification.leakage import leakage
from src.classification.variants import name_variants
from src.metrics_schema import (
    Baseline,
    Baselines,
    ConditionEntry,
    ConditionMetrics,
    ConditionRun,
    Leakage,
    Variant,
)
from src.training.config import RunConfig


@dataclass(frozen=True, eq=False)
class RunEvaluation:
    """A run's predictions on its test crops.

    table: its predictions, with each baseline's probability of being right; leakage:
    the overlap of its test and training crops.
    """

    name: str
    config: RunConfig
    table: pd.DataFrame
    leakage: Leakage


def evaluate_run(
    name: str,
    config: RunConfig,
    predictions: pd.DataFrame,
    sites: pd.DataFrame,
    roles: pd.Series,
) -> RunEvaluation:
    """Join a run's predictions with its baselines; sites: the cache's crops."""
    train, test = (sites[(roles == role).to_numpy()] for role in ("train", "test"))
    probabilities = baseline_accuracy(train, test).set_index(test["crop"].to_numpy())
    table = predictions.join(probabilities, on="crop")
    return RunEvaluation(name, config, table, leakage(train, test))


def condition_metrics(evaluations: list[RunEvaluation]) -> ConditionMetrics:
    """Aggregate condition runs by variant: metrics.json's entry `condition`.

    The backbone's name alone is its standard variant (study split, neighbouring
    slices); other variants are described in brackets.
    """
    named = name_variants([evaluation.config for evaluation in evaluations])
    pooled: dict[str, list[RunEvaluation]] = defaultdict(list)
    for evaluation, (name, _) in zip(evaluations, named, strict=True):
        pooled[name].append(evaluation)
    variants = dict(named)
    return {name: _pool(pooled[name], variants[name]) for name in sorted(pooled)}


def _pool(evaluations: list[RunEvaluation], variant: Variant) -> ConditionEntry:
    """Aggregate a variant's runs: the pooled crops, each run, the runs' spread."""
    table = pd.concat([each.table for each in evaluations], ignore_index=True)
    runs = [_run_row(evaluation) for evaluation in evaluations]
    top1 = np.array([run["top1"] for run in runs])
    return {
        **summarise(table),
        "top1_mean": float(top1.mean()),
        "top1_std": float(top1.std(ddof=1)) if len(top1) > 1 else None,
        "top1_min": float(top1.min()),
        "top1_max": float(top1.max()),
        "baselines": pooled_baselines(table),
        "runs": runs,
        **variant,
    }


def _run_row(run: RunEvaluation) -> ConditionRun:
    correct = run.table["truth"] == run.table["predicted"]
    return {
        "name": run.name,
        "fold": run.config.fold,
        "seed": run.config.hyperparameters.seed,
        "top1": float(correct.mean()),
        "n": len(run.table),
        "leakage": run.leakage,
    }


def pooled_baselines(table: pd.DataFrame) -> Baselines:
    """Average the baselines' accuracy over crops, as `summarise` does for a run.

    nearest_neighbour_side: the accuracy of that baseline on foraminal crops alone.
    """
    weight = crop_weights(table)

    def mean(name: Baseline) -> float:
        return float(np.average(table[name], weights=weight))

    chosen = table["foraminal"].to_numpy(dtype=bool)
    side = table.loc[chosen, "nearest_neighbour"]
    found = float(np.average(side, weights=weight[chosen])) if len(side) else None
    return {
        "majority_class": mean("majority_class"),
        "random_side": mean("random_side"),
        "nearest_neighbour": mean("nearest_neighbour"),
        "nearest_neighbour_side": found,
    }
