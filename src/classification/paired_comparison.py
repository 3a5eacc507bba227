"""Which backbone is better: entries tested on the same rows, compared in pairs."""

from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from src.classification.aggregate import RunEvaluation
from src.classification.calibration import out_of_fold_probabilities
from src.classification.paired_bootstrap import (
    MIN_STUDIES,
    Difference,
    StudySums,
    paired_differences,
)
from src.classification.prior_comparison import tested_prior
from src.classification.severity_metrics import with_prior
from src.classification.variants import name_variants
from src.competition.metric import study_losses
from src.metrics_schema import PairedComparison, PairedDifference, PairedGroup
from src.training.config import RunConfig
from src.training.run_folder import Run


@dataclass(frozen=True, eq=False)
class _Entry:
    """A variant's runs on their test rows.

    configs: of its runs; rows: what names its test rows; totals, weights: a row a
    study and a column a term, as of StudySums.
    """

    name: str
    configs: Sequence[RunConfig]
    rows: Hashable
    totals: pd.DataFrame
    weights: pd.DataFrame

    @property
    def folds(self) -> list[str]:
        return sorted({config.fold for config in self.configs})

    @property
    def group(self) -> Hashable:
        """What entries have to share to be compared."""
        return self.configs[0].split, *self.folds, self.rows


def compare_conditions(evaluations: Sequence[RunEvaluation]) -> PairedComparison:
    """Compare the variants' top-1 accuracy: metrics.json's entry `condition_paired`.

    Variants are compared where their runs have the same split, slices, folds and test
    crops. A crop that several of a variant's runs tested counts once, by its mean.
    """
    entries = []
    for name, chosen in by_variant([each.config for each in evaluations]).items():
        own = [evaluations[index] for index in chosen]
        table = pd.concat([each.table for each in own], ignore_index=True)
        correct = (table["truth"] == table["predicted"]).astype(float)
        keys = table[["study_id", "crop"]]
        crops = keys.assign(correct=correct).groupby(["study_id", "crop"]).mean()
        studies = crops["correct"].groupby("study_id")
        configs = [each.config for each in own]
        rows = (configs[0].slices, frozenset(crops.index))
        sums, counts = studies.sum().to_frame(), studies.size().to_frame()
        entries.append(_Entry(name, configs, rows, sums, counts))
    return _compare(entries, higher_is_better=True)


def compare_severities(
    runs: Sequence[Run], tables: Mapping[str, pd.DataFrame], labels: pd.DataFrame
) -> PairedComparison:
    """Compare the variants' scores: metrics.json's entry `severity_paired`.

    A variant's score is that of its runs' ensemble without calibration on all labelled
    rows of its test studies, those without a crop by the prior. Variants are compared
    where their runs have the same split, folds and test studies, whatever slices and
    views they see, and all terms of the score are defined. tables: each run's
    predictions by its name; labels: the cohort's.
    """
    entries = []
    for name, chosen in by_variant([run.config for run in runs]).items():
        own = [runs[index] for index in chosen]
        sites = out_of_fold_probabilities([tables[run.folder.name] for run in own])
        truth = labels[labels["study_id"].isin(sites["study_id"])]
        submission = with_prior(sites, tested_prior(own, tables))
        losses, weights = study_losses(truth, submission)
        rows = frozenset(losses.index)
        configs = [run.config for run in own]
        entries.append(_Entry(name, configs, rows, losses, weights))
    return _compare(entries, higher_is_better=False)


def by_variant(configs: Sequence[RunConfig]) -> dict[str, list[int]]:
    """Return the indices of each variant's runs by its name, as in the tables."""
    indices: dict[str, list[int]] = defaultdict(list)
    for index, (name, _) in enumerate(name_variants(configs)):
        indices[name].append(index)
    return indices


def _compare(entries: Sequence[_Entry], *, higher_is_better: bool) -> PairedComparison:
    groups: dict[Hashable, list[_Entry]] = defaultdict(list)
    for entry in entries:
        groups[entry.group].append(entry)
    compared = [group for group in groups.values() if _comparable(group)]
    names = {entry.name for group in compared for entry in group}
    return {
        "groups": [_group(group, higher_is_better) for group in compared],
        "skipped": sorted({entry.name for entry in entries} - names),
    }


def _comparable(group: Sequence[_Entry]) -> bool:
    weights = group[0].weights
    return len(group) > 1 and len(weights) > 1 and bool((weights.sum() > 0).all())


def _group(entries: Sequence[_Entry], higher_is_better: bool) -> PairedGroup:
    weights = entries[0].weights
    totals = np.stack([entry.totals.loc[weights.index] for entry in entries])
    figures = StudySums(totals, weights.to_numpy()).figures
    order = np.argsort(-figures if higher_is_better else figures, kind="stable")
    names = [entries[index].name for index in order]
    config = entries[0].configs[0]
    differences = paired_differences(StudySums(totals[order], weights.to_numpy()))
    return {
        "split": config.split,
        "slices": ", ".join(sorted({e.configs[0].slices for e in entries})),
        "folds": entries[0].folds,
        "studies": len(weights),
        "figures": dict(zip(names, figures[order].tolist(), strict=True)),
        "pairs": [_pair(each, names, len(weights)) for each in differences],
    }


def _pair(
    difference: Difference, names: Sequence[str], studies: int
) -> PairedDifference:
    return {
        "first": names[difference.first],
        "second": names[difference.second],
        "difference": difference.value,
        "low": difference.low,
        "high": difference.high,
        "shown": difference.excludes_zero and studies >= MIN_STUDIES,
    }
