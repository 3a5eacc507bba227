"""Sites out of fold: found in each study by the runs that tested it, not trained on it.

The runs of a fold look together, as an ensemble, with the code of inference. Their
errors go into the report, and the sites into found_sites.csv, for `input_prep.py
--sites`.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import inf

import pandas as pd

from src.competition.tables import SITE
from src.localization.locate import Sites
from src.localization.location_metrics import compare_sites
from src.localization.location_task import StudyOverviews, locate_study, shown_sites
from src.localization.spine_prior import load_spine_prior
from src.training.run_folder import Run

# Those of train_label_coordinates.csv.
FOUND_COLUMNS = ["study_id", "series_id", "instance_number", *SITE[1:], "x", "y"]
Progress = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class UnseenSites:
    """The sites that a fold's runs found together, by the studies that they tested."""

    fold: str
    runs: list[Run]
    sites: dict[int, Sites]


def fold_ensembles(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """Group runs by fold; of a fold's, keep those of the most studies.

    Runs of a holdout and of a fold are kept apart, since one has trained on what the
    other tests. A run of fewer studies (`--limit`) tests fewer too.
    """
    by_fold: dict[str, list[Run]] = defaultdict(list)
    for run in runs:
        by_fold[run.config.fold].append(run)

    def studies(run: Run) -> float:
        return inf if run.config.limit is None else run.config.limit

    return {
        fold: [run for run in some if studies(run) == max(map(studies, some))]
        for fold, some in by_fold.items()
    }


def find_unseen(
    runs: Sequence[Run],
    tested: Mapping[str, set[int]],
    studies: StudyOverviews,
    progress: Progress = lambda done, total: None,
) -> list[UnseenSites]:
    """Find the sites of all tested studies, by the ensemble of their fold.

    tested: the studies in each run's own predictions, by the run's name: no table of
    folds made since can turn a study that a run was trained on into a tested one.
    """
    ensembles = fold_ensembles(runs)
    wanted = {
        fold: set.intersection(*(tested[run.folder.name] for run in some))
        for fold, some in ensembles.items()
    }
    done, total = 0, sum(map(len, wanted.values()))
    unseen = []
    for fold, some in ensembles.items():
        prior = load_spine_prior([run.config for run in some])
        locators = [run.predictor() for run in some]
        found = UnseenSites(fold, some, {})
        for study_id in sorted(wanted[fold]):
            overviews = studies.by_study.get(study_id, {})
            found.sites[study_id] = locate_study(overviews, locators, prior)
            progress(done := done + 1, total)
        unseen.append(found)
    return unseen


def ensemble_errors(
    unseen: Sequence[UnseenSites], marked: pd.DataFrame, studies: StudyOverviews
) -> pd.DataFrame | None:
    """Compare found sites with the marked ones: COMPARED_COLUMNS and `run`, the fold.

    marked: the cache's sites. None where no fold has an ensemble of several runs.
    """
    if all(len(each.runs) == 1 for each in unseen):
        return None
    of_study = dict(iter(marked.groupby("study_id")))
    tables = []
    for each in unseen:
        for study_id, sites in each.sites.items():
            overviews = studies.by_study.get(study_id, {})
            shown = shown_sites(of_study.get(study_id, marked[:0]), overviews)
            compared = compare_sites(sites, shown, overviews)
            tables.append(compared.assign(run=each.fold))
    return pd.concat(tables, ignore_index=True)


def found_sites(unseen: Sequence[UnseenSites], labels: pd.DataFrame) -> pd.DataFrame:
    """List the found sites that have a label: FOUND_COLUMNS, a row a site.

    labels: the cache's. Of a study that the holdout and a numbered fold both test, the
    numbered fold's are kept, whose runs are those of most other studies.
    """
    ordered = sorted(unseen, key=lambda each: (each.fold == "holdout", each.fold))
    by_study: dict[int, Sites] = {}
    for each in ordered:
        by_study = each.sites | by_study
    rows = [
        (study_id, site.series_id, site.instance_number, *target, site.x, site.y)
        for study_id, sites in sorted(by_study.items())
        for target, site in sites.items()
    ]
    table = pd.DataFrame(rows, columns=FOUND_COLUMNS)
    labelled = labels.loc[labels["severity"].notna(), SITE]
    return table.merge(labelled, on=SITE).round({"x": 4, "y": 4})[FOUND_COLUMNS]
