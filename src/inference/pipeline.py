"""The reader: runs that find a study's sites, grade them and say what they see."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from src.classification.calibration import IDENTITY, Calibration, load_calibration
from src.competition.constants import CONDITIONS, FAMILY_OF, LEVELS, SERIES_OF
from src.errors import UserError
from src.inference.findings import merge_into_findings
from src.inference.grading import CropClassifier, predict_ensemble
from src.inference.study import Study, read_study
from src.localization.locate import Sites, locate
from src.localization.predict_heatmaps import predict_heatmaps
from src.localization.spine_prior import (
    CanalOffset,
    LevelSpacing,
    Target,
    load_spine_prior,
)
from src.training.predictor import Predictor
from src.training.run_folder import Run

DISAGREE_AT = (
    0.5  # a condition model less sure than this of another condition says nothing
)


@dataclass(frozen=True, eq=False)
class StudyPipeline:
    """All runs of a folder, loaded once.

    locators, severity_models, condition_models: of the three tasks.
    """

    locators: list[Predictor]
    canal_offsets: Mapping[Target, CanalOffset]
    level_spacing: Mapping[str, LevelSpacing]
    severity_models: list[CropClassifier]
    condition_models: list[CropClassifier]
    calibration: Calibration

    def predict(
        self, folder: Path, listed: pd.DataFrame, findings: pd.DataFrame
    ) -> pd.DataFrame:
        """Answer a study: its 25 rows of findings, the prior where nothing was read.

        folder: of its series; listed: their ids and types; findings: its prior's rows.
        """
        study = read_study(folder, listed)
        return self.grade(study, self.find_sites(study), findings)

    def grade(self, study: Study, sites: Sites, findings: pd.DataFrame) -> pd.DataFrame:
        """Grade a study's sites and enter them into its prior's rows of findings."""
        graded, reasons = predict_ensemble(study, sites, self.severity_models)
        named, _ = predict_ensemble(study, sites, self.condition_models)
        reasons = _together(_missing(study, sites), reasons, _disagreements(named))
        graded = _calibrated(graded, self.calibration)
        return _with_seen(merge_into_findings(findings, sites, graded, reasons), named)

    def find_sites(self, study: Study) -> Sites:
        """Find a study's sites."""
        seen = {
            description: predict_heatmaps(overview, description, self.locators)
            for description, overview in study.overviews.items()
        }
        return locate(seen, self.canal_offsets, self.level_spacing)


def load_pipeline(
    folder: Path, runs: list[Run], tell: Callable[[str], None]
) -> StudyPipeline:
    """Load the runs of a folder that can be used, and tell of the others.

    Raises UserError if they cannot find sites or cannot grade them.
    """
    working: dict[str, list[CropClassifier]] = {
        "location": [],
        "severity": [],
        "condition": [],
    }
    for run in runs:
        name, config = run.folder.name, run.config
        if config.split == "row":
            tell(f"Skipped {name}: trained on the leaky row split")
            continue
        try:
            working[config.task].append(CropClassifier(run, run.predictor()))
        except UserError as error:
            tell(f"Skipped: {error}")
    for task in ("location", "severity"):
        if not working[task]:
            raise UserError(f"no usable {task} run: train one with --task {task}")
    locators = working["location"]
    return StudyPipeline(
        [one.predictor for one in locators],
        *load_spine_prior([one.run.config for one in locators]),
        working["severity"],
        working["condition"],
        _calibration(folder, working["severity"], tell),
    )


def _calibration(
    folder: Path, severity_models: list[CropClassifier], tell: Callable[[str], None]
) -> Calibration:
    """Read the graders' calibration; without one probabilities stay as they are."""
    try:
        found = load_calibration(
            folder, [one.run.folder.name for one in severity_models]
        )
    except UserError as error:
        tell(f"Not calibrated: {error}")
        return IDENTITY
    if found is None:
        tell("Not calibrated: no calibration.json of these severity runs")
    return found or IDENTITY


def _calibrated(
    graded: dict[Target, np.ndarray], calibration: Calibration
) -> dict[Target, np.ndarray]:
    if not graded:
        return {}
    conditions = pd.Series([condition for condition, _ in graded])
    rows = calibration.apply(np.stack(list(graded.values())), conditions)
    return dict(zip(graded, rows, strict=True))


def _together(*parts: dict[Target, str]) -> dict[Target, str]:
    """Join what there is to say of each target."""
    told: dict[Target, list[str]] = {}
    for part in parts:
        for target, reason in part.items():
            told.setdefault(target, []).append(reason)
    return {target: "; ".join(reasons) for target, reasons in told.items()}


def _missing(study: Study, sites: Sites) -> dict[Target, str]:
    """Say of each site that was not found why, and of others what to know."""
    reasons = {}
    for condition in CONDITIONS:
        description = SERIES_OF[FAMILY_OF[condition]]
        trouble = study.read_errors.get(description)
        for level in LEVELS:
            site = sites.get((condition, level))
            if site is None:
                reasons[condition, level] = trouble or f"not seen in {description}"
            elif site.source == "projected":
                why = f"not seen in {description}: projected from another series"
                reasons[condition, level] = why
    return reasons


def _disagreements(named: dict[Target, np.ndarray]) -> dict[Target, str]:
    """Flag sites where the condition model sees another condition."""
    flags = {}
    for (condition, level), probabilities in named.items():
        seen = CONDITIONS[int(probabilities.argmax())]
        if seen != condition and probabilities.max() >= DISAGREE_AT:
            words = seen.replace("_", " ")
            flags[condition, level] = f"the condition model sees {words} here"
    return flags


def _with_seen(findings: pd.DataFrame, named: dict[Target, np.ndarray]) -> pd.DataFrame:
    keys = list(zip(findings["condition"], findings["level"], strict=True))
    best = [named[key].argmax() if key in named else None for key in keys]
    names = [None if place is None else CONDITIONS[place] for place in best]
    probabilities = [
        float(named[key].max()) if key in named else np.nan for key in keys
    ]
    return findings.assign(seen_condition=names, seen_probability=probabilities)
