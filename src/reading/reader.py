"""The reader: runs that find a study's sites, grade them and say what they see."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from src.competition.vocab import CONDITIONS, FAMILY_OF, LEVELS, SERIES_OF
from src.errors import InputError
from src.learning.predictor import Predictor
from src.learning.runs import Run
from src.reading.calibration import NONE, Calibration, load
from src.reading.findings import enter
from src.reading.grades import Grader, grade
from src.reading.learnt import learnt
from src.reading.locate import Sites, locate
from src.reading.offsets import Offset, Target
from src.reading.seeing import see
from src.reading.steps import Step
from src.reading.study import Study, read_study

SURE = 0.5  # a condition model less sure than this of another condition says nothing


@dataclass(frozen=True, eq=False)
class Reader:
    """All runs of a folder, loaded once.

    locators, graders, namers: of the tasks location, severity, condition.
    """

    locators: list[Predictor]
    offsets: Mapping[Target, Offset]
    steps: Mapping[str, Step]
    graders: list[Grader]
    namers: list[Grader]
    calibration: Calibration

    def read(
        self, folder: Path, listed: pd.DataFrame, findings: pd.DataFrame
    ) -> pd.DataFrame:
        """Answer a study: its 25 rows of findings, the prior where nothing was read.

        folder: of its series; listed: their ids and types; findings: its prior's rows.
        """
        study = read_study(folder, listed)
        return self.answer(study, self.find(study), findings)

    def answer(
        self, study: Study, sites: Sites, findings: pd.DataFrame
    ) -> pd.DataFrame:
        """Grade a study's sites and enter them into its prior's rows of findings."""
        graded, reasons = grade(study, sites, self.graders)
        named, _ = grade(study, sites, self.namers)
        reasons = _together(_missing(study, sites), reasons, _disagreements(named))
        graded = _calibrated(graded, self.calibration)
        return _with_seen(enter(findings, sites, graded, reasons), named)

    def find(self, study: Study) -> Sites:
        """Find a study's sites."""
        seen = {
            description: see(overview, description, self.locators)
            for description, overview in study.overviews.items()
        }
        return locate(seen, self.offsets, self.steps)


def load_reader(folder: Path, runs: list[Run], tell: Callable[[str], None]) -> Reader:
    """Load the runs of a folder that can be used, and tell of the others.

    Raises InputError if they cannot find sites or cannot grade them.
    """
    working: dict[str, list[Grader]] = {"location": [], "severity": [], "condition": []}
    for run in runs:
        name, config = run.folder.name, run.config
        if config.split == "row":
            tell(f"Left aside, since its split leaks: {name}")
            continue
        try:
            working[config.task].append(Grader(run, run.predictor()))
        except InputError as error:
            tell(f"Left aside: {error}")
    for task in ("location", "severity"):
        if not working[task]:
            raise InputError(f"no usable {task} run: train one with --task {task}")
    locators = working["location"]
    return Reader(
        [one.predictor for one in locators],
        *learnt([one.run.config for one in locators]),
        working["severity"],
        working["condition"],
        _calibration(folder, working["severity"], tell),
    )


def _calibration(
    folder: Path, graders: list[Grader], tell: Callable[[str], None]
) -> Calibration:
    """Read the graders' calibration; without one probabilities stay as they are."""
    try:
        found = load(folder, [one.run.folder.name for one in graders])
    except InputError as error:
        tell(f"Not calibrated: {error}")
        return NONE
    if found is None:
        tell("Not calibrated: no calibration.json of these severity runs")
    return found or NONE


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
        trouble = study.troubles.get(description)
        for level in LEVELS:
            site = sites.get((condition, level))
            if site is None:
                reasons[condition, level] = trouble or f"not seen in {description}"
            elif site.source == "projected":
                why = f"not seen in {description}: its place is another series' word"
                reasons[condition, level] = why
    return reasons


def _disagreements(named: dict[Target, np.ndarray]) -> dict[Target, str]:
    """Flag sites where the condition model sees another condition."""
    flags = {}
    for (condition, level), chances in named.items():
        seen = CONDITIONS[int(chances.argmax())]
        if seen != condition and chances.max() >= SURE:
            words = seen.replace("_", " ")
            flags[condition, level] = f"the condition model sees {words} here"
    return flags


def _with_seen(findings: pd.DataFrame, named: dict[Target, np.ndarray]) -> pd.DataFrame:
    keys = list(zip(findings["condition"], findings["level"], strict=True))
    best = [named[key].argmax() if key in named else None for key in keys]
    names = [None if place is None else CONDITIONS[place] for place in best]
    chances = [float(named[key].max()) if key in named else np.nan for key in keys]
    return findings.assign(seen_condition=names, seen_probability=chances)
