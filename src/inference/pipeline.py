"""The inference pipeline: locate a study's sites, grade them, name their condition."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np
import pandas as pd

from src.classification.calibration import IDENTITY, Calibration, load_calibration
from src.competition.constants import (
    CONDITIONS,
    FAMILY_OF,
    LEVELS,
    SERIES_DESCRIPTIONS,
    SERIES_OF,
    SEVERITIES,
)
from src.errors import UserError
from src.imaging.dicom_errors import quiet
from src.inference.attention import SiteAttention, attention_of
from src.inference.findings import NO_SEVERITY_RUN, merge_into_findings
from src.inference.grading import CropClassifier, predict_ensemble
from src.inference.predicted_study import PredictedStudy
from src.inference.site_views import SiteViews, find_site_views, own_type
from src.inference.study import Study, read_study
from src.localization.level_shift import LevelShift, estimate_level_shift
from src.localization.locate import Sites, expected_points, locate
from src.localization.predict_heatmaps import predict_heatmaps
from src.localization.spine_prior import (
    CanalOffset,
    LevelSpacing,
    Target,
    learned_types,
    load_spine_prior,
)
from src.training.predictor import Predictor
from src.training.run_folder import Run

DISAGREE_AT = 0.5  # least probability of another condition that is reported
SHIFT_AT = 0.1  # least probability that all levels are off by one that is reported
NOT_FINITE = "no finite output"
Key = TypeVar("Key")
Log = Callable[[str], None]


@dataclass(frozen=True, eq=False)
class StudyPipeline:
    """The usable runs of a folder, loaded once.

    locators, severity_models, condition_models: the runs of each task, an ensemble
    each. Without severity_models the sites are found and every grade stays the prior.
    locator_types: the series types on which each locator has learned to find sites.
    with_views: find the sites' views even if no run sees them, for a page; attends: ask
    the severity models where they look, at the cost of a pass.
    log: takes a sentence for the user; skipped: the runs whose skipping it was told.
    """

    locators: list[Predictor]
    canal_offsets: Mapping[Target, CanalOffset]
    level_spacing: Mapping[str, LevelSpacing]
    severity_models: list[CropClassifier]
    condition_models: list[CropClassifier]
    calibration: Calibration
    locator_names: Sequence[str] = ()
    locator_types: Sequence[frozenset[str]] = ()
    log: Log = lambda sentence: None
    skipped: set[str] = field(default_factory=set)
    with_views: bool = False
    attends: bool = False

    def predict(
        self, folder: Path, listed: pd.DataFrame, findings: pd.DataFrame
    ) -> PredictedStudy:
        """Predict a study's 25 rows of findings; the prior where it cannot be read.

        folder: of its series; listed: their ids and types; findings: its prior's rows.
        """
        with quiet():
            study = read_study(folder, listed)
            return self.grade(study, self.find_sites(study), findings)

    def grade(
        self, study: Study, sites: Sites, findings: pd.DataFrame
    ) -> PredictedStudy:
        """Grade a study's sites and merge them into its prior's rows of findings."""
        skips: dict[Target, str] = {}

        def on_skip(run: str, target: Target) -> None:
            self.log_skip(run)
            _add(skips, target, f"without {run}: {NOT_FINITE}")

        views = self._site_views(study, sites)
        graded, errors = predict_ensemble(
            study, sites, self.severity_models, on_skip, views
        )
        named, _ = predict_ensemble(study, sites, self.condition_models, on_skip)
        if not self.severity_models:
            errors = dict.fromkeys(sites, NO_SEVERITY_RUN)
        reasons = _join(
            _site_reasons(study, sites),
            _neighbour_notes(study, sites),
            errors,
            skips,
            _disagreements(named),
        )
        grades = None
        if self.severity_models:
            grades = _calibrated(graded, self.calibration, findings)
        elsewhere = {at: s for at, s in views.elsewhere().items() if at in graded}
        for target in elsewhere:
            _add(reasons, target, f"graded from {', '.join(views.names(target))}")
        if doubt := _level_doubt(study.level_shift):
            for target in sites if grades is None else graded:
                _add(reasons, target, doubt)
        shift = study.level_shift
        rows = merge_into_findings(findings, elsewhere | sites, grades, reasons, shift)
        used = self._views_used(graded, sites, views)
        rows = _with_seen(_with_views(rows, used), named)
        shown = views.views or {at: {own_type(at): site} for at, site in sites.items()}
        return PredictedStudy(study, rows, shown, self._attention(sites, views))

    def _attention(
        self, sites: Sites, views: SiteViews
    ) -> dict[Target, SiteAttention] | None:
        """Return where the severity models look; None if that is not asked for."""
        if not self.attends:
            return None
        try:
            return attention_of(self.severity_models, sites, views)
        except Exception as error:  # a page must not cost the grades
            self.log(f"Warning: no attention is shown ({type(error).__name__})")
            return None

    def _site_views(self, study: Study, sites: Sites) -> SiteViews:
        """Find the views of all sites, if a run sees them or a page shows them."""
        seen = any(model.sees_all_views for model in self.severity_models)
        if not (seen or self.with_views):
            return SiteViews(study, {})
        expected = expected_points(sites, self.canal_offsets)
        return find_site_views(study, sites, expected)

    def _views_used(
        self, graded: Mapping[Target, np.ndarray], sites: Sites, views: SiteViews
    ) -> dict[Target, list[str]]:
        """List the series types from which each site was graded."""
        one_view = any(not model.sees_all_views for model in self.severity_models)
        all_views = any(model.sees_all_views for model in self.severity_models)
        used = {}
        for target in graded:
            names = views.names(target) if all_views else []
            if one_view and target in sites:
                names = [*names, own_type(target)]
            used[target] = [name for name in SERIES_DESCRIPTIONS if name in names]
        return used

    def find_sites(self, study: Study) -> Sites:
        """Find a study's sites; note in it the doubt about its levels.

        Its read_errors tell where no locator could find any.
        """
        heatmaps = {}
        for description, overview in study.overviews.items():
            skipped: list[Predictor] = []
            locators = self._locators_of(description)
            if not locators:
                error = f"no location run has learned to find sites on {description}"
                _add(study.read_errors, description, error)
                continue
            found = predict_heatmaps(overview, description, locators, skipped.append)
            for run in map(self._name_of, skipped):
                self.log_skip(run)
                _add(study.notes, description, f"without {run}: {NOT_FINITE}")
            if found is None:
                error = f"no location run gave a finite heatmap of {description}"
                _add(study.read_errors, description, error)
            else:
                heatmaps[description] = found
        sites = locate(heatmaps, self.canal_offsets, self.level_spacing)
        study.level_shift = estimate_level_shift(heatmaps, sites, self.level_spacing)
        return sites

    def _locators_of(self, description: str) -> list[Predictor]:
        """List the locators that have learned to find sites on a series type."""
        if not self.locator_types:
            return self.locators
        pairs = zip(self.locators, self.locator_types, strict=True)
        return [locator for locator, types in pairs if description in types]

    def log_skip(self, run: str) -> None:
        """Log once that a run was skipped somewhere, as its outputs are not finite."""
        if run not in self.skipped:
            self.skipped.add(run)
            self.log(
                f"Warning: {run} is skipped where it has {NOT_FINITE}, in one study or "
                "more; train it again with a lower --lr if it is so in most"
            )

    def _name_of(self, locator: Predictor) -> str:
        index = self.locators.index(locator)
        names = dict(enumerate(self.locator_names))
        return names.get(index, f"location run {index + 1}")


def load_pipeline(folder: Path, runs: list[Run], log: Log) -> StudyPipeline:
    """Load the usable runs of a folder, and log those that are skipped.

    Raises UserError without a location run, as no site can be found then.
    """
    usable: dict[str, list[CropClassifier]] = {
        "location": [],
        "severity": [],
        "condition": [],
    }
    for run in runs:
        name, config = run.folder.name, run.config
        if config.split == "row":
            log(f"Skipped {name}: trained on the leaky row split")
            continue
        try:
            classifier = CropClassifier(run, run.predictor())
            _ = classifier.spec  # whose sizes are checked as it is made
            usable[config.task].append(classifier)
        except UserError as error:
            log(f"Skipped: {error}")
    locators = usable["location"]
    if not locators:
        raise UserError(
            "no usable location run, so no site can be found and every grade is the "
            "prior: train one with --task location"
        )
    return StudyPipeline(
        [locator.predictor for locator in locators],
        *load_spine_prior([locator.run.config for locator in locators]),
        usable["severity"],
        usable["condition"],
        _calibration(folder, usable["severity"], log),
        [locator.run.folder.name for locator in locators],
        [learned_types(locator.run.config) for locator in locators],
        log,
    )


def _calibration(
    folder: Path, severity_models: list[CropClassifier], log: Log
) -> Calibration:
    """Read the severity models' calibration; IDENTITY if there is none."""
    if not severity_models:
        log(f"Warning: {NO_SEVERITY_RUN}; train one with --task severity")
        return IDENTITY
    try:
        names = [model.run.folder.name for model in severity_models]
        found = load_calibration(folder, names)
    except UserError as error:
        log(f"Not calibrated: {error}")
        return IDENTITY
    if found is None:
        log(
            "Not calibrated: no calibration.json of exactly these severity runs; run "
            "train.py again on the finished runs to write it"
        )
        return IDENTITY
    for family, weight in found.prior_weights.items():
        log(
            f"Blended with the prior: the {family} grades, {weight:.0%} of them the "
            "prior, as that scored better on studies unseen in training"
        )
    return found


def _calibrated(
    graded: dict[Target, np.ndarray], calibration: Calibration, findings: pd.DataFrame
) -> dict[Target, np.ndarray]:
    """Calibrate the ensemble's probabilities; findings: the prior's rows."""
    if not graded:
        return {}
    sites = pd.DataFrame(list(graded), columns=["condition", "level"])
    prior = findings.set_index(["condition", "level"]).loc[list(graded)]
    rows = calibration.apply(
        np.stack(list(graded.values())), sites, prior[list(SEVERITIES)].to_numpy(float)
    )
    return dict(zip(graded, rows, strict=True))


def _add(reasons: dict[Key, str], key: Key, reason: str) -> None:
    """Add a reason to those that a key has already."""
    reasons[key] = f"{reasons[key]}; {reason}" if key in reasons else reason


def _join(*parts: dict[Target, str]) -> dict[Target, str]:
    """Join the reasons of each target."""
    lists: dict[Target, list[str]] = {}
    for part in parts:
        for target, reason in part.items():
            lists.setdefault(target, []).append(reason)
    return {target: "; ".join(reasons) for target, reasons in lists.items()}


def _site_reasons(study: Study, sites: Sites) -> dict[Target, str]:
    """Explain each site that was not found, or has a note on its series type."""
    reasons: dict[Target, str] = {}
    for condition in CONDITIONS:
        description = SERIES_OF[FAMILY_OF[condition]]
        error = study.read_errors.get(description)
        for level in LEVELS:
            site = sites.get((condition, level))
            if site is None:
                reasons[condition, level] = error or f"not found in {description}"
            elif site.source == "projected":
                reason = f"not found in {description}: projected from another series"
                reasons[condition, level] = reason
            if description in study.notes:
                _add(reasons, (condition, level), study.notes[description])
    return reasons


def _level_doubt(shift: LevelShift) -> str:
    """Say that all levels may be off by one; empty if that is improbable."""
    if shift.probability < SHIFT_AT:
        return ""
    ways = f"too high ({shift.too_high:.0%}) or too low ({shift.too_low:.0%})"
    return f"levels may be one {ways}"


def _neighbour_notes(study: Study, sites: Sites) -> dict[Target, str]:
    """Note the sites whose crops lack a neighbour, or do not know which it is."""
    notes = {}
    for target, site in sites.items():
        with suppress(UserError, KeyError):  # grading names a slice that is not there
            own = study.series[site.series_id]
            if found := own.neighbour_notes(own.index_of(site.instance_number)):
                notes[target] = "; ".join(found)
    return notes


def _disagreements(named: dict[Target, np.ndarray]) -> dict[Target, str]:
    """Flag sites where the condition models predict another condition."""
    flags = {}
    for (condition, level), probabilities in named.items():
        predicted = CONDITIONS[int(probabilities.argmax())]
        if predicted != condition and probabilities.max() >= DISAGREE_AT:
            words = predicted.replace("_", " ")
            flags[condition, level] = f"the condition model predicts {words} here"
    return flags


def _with_views(
    findings: pd.DataFrame, used: Mapping[Target, list[str]]
) -> pd.DataFrame:
    keys = zip(findings["condition"], findings["level"], strict=True)
    names = [", ".join(used.get(key, [])) for key in keys]
    return findings.assign(views=names)


def _with_seen(findings: pd.DataFrame, named: dict[Target, np.ndarray]) -> pd.DataFrame:
    keys = list(zip(findings["condition"], findings["level"], strict=True))
    best = [named[key].argmax() if key in named else None for key in keys]
    names = np.array(
        [None if index is None else CONDITIONS[index] for index in best], dtype=object
    )
    probabilities = [
        float(named[key].max()) if key in named else np.nan for key in keys
    ]
    return findings.assign(seen_condition=names, seen_probability=probabilities)
