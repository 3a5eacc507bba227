"""Location runs at work together, as a submission uses them, on unseen studies."""

from collections import defaultdict

import pandas as pd

from src.imaging.overview_cache import OverviewCache
from src.learning.roles import limited, study_roles
from src.learning.runs import Run
from src.reading.location_job import Studies, compared


def found_together(
    runs: list[Run], sites: pd.DataFrame, folds: pd.DataFrame, overviews: OverviewCache
) -> pd.DataFrame | None:
    """Find test studies' sites by all runs of their fold: rows of COMPARED and `run`.

    sites: the cache's crops. None where no fold has several runs. Runs of a holdout and
    of a fold are kept apart, since one has trained on what the other tests.
    """
    by_fold: dict[tuple[str, int | None], list[Run]] = defaultdict(list)
    for run in runs:
        by_fold[run.config.fold, run.config.limit].append(run)
    if all(len(some) == 1 for some in by_fold.values()):
        return None
    studies = Studies(overviews)
    tables = []
    for (fold, limit), some in by_fold.items():
        role = sites["study_id"].map(study_roles(folds, fold))
        tested = sites[(role == "test") & limited(sites, limit)]
        configs = [run.config for run in some]
        found = compared(studies, tested, configs, [run.predictor() for run in some])
        tables.append(found.assign(run=fold))
    return pd.concat(tables, ignore_index=True)
