"""What severity runs score without a series type, on the studies they tested.

    python -m benchmarks.missing_series --cache cache --runs runs --write

Each series type in turn is taken away from all test studies. A run that sees all views
grades from those that are left; a run of the marked views cannot grade the sites that
are marked on that type. A site that nothing grades keeps the prior of its runs, as in
predict_submission.py. The scores are the competition's, out of fold and uncalibrated,
on all labelled rows; the runs of a variant are pooled as evaluate.py does.
"""

import argparse
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

import pandas as pd

from benchmarks.measure import BENCHMARKS, Row, write_table
from evaluate import predictions_of
from src.cache.crop_cache import CropCache, open_cache
from src.cache.crop_views import own_types
from src.classification.calibration import out_of_fold_probabilities
from src.classification.crop_task import CropTask, make_crop_task
from src.classification.paired_comparison import by_variant
from src.classification.prior_comparison import tested_prior
from src.classification.severity_metrics import labelled_score, with_prior
from src.classification.site_dataset import MISSING, SiteDataset
from src.command_line import make_parser, run_script
from src.competition.constants import FAMILIES, SERIES_DESCRIPTIONS, SERIES_OF
from src.competition.folds import read_folds
from src.console import show_table
from src.errors import UserError
from src.imaging.crops import CropSpec
from src.training.predictor import Predictor
from src.training.run_folder import Run, read_runs

Terms = Mapping[str, float | None]

SECTION = "Missing series"
COLUMNS = (
    "Weighted log losses of unseen studies, lower is better; any_severe is the score's "
    "fourth term. The last column compares with the prior the families that the series "
    "usually shows."
)


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = make_parser(__doc__)
    add = parser.add_argument
    add("--cache", type=Path, required=True, help="what the runs were trained on")
    add("--runs", type=Path, required=True, help="severity runs, of either --views")
    add("--write", action="store_true", help=f"put the tables into {BENCHMARKS}")
    return parser.parse_args()


def predictions_without(
    run: Run, table: pd.DataFrame, cache: CropCache, folds: pd.DataFrame
) -> dict[str, pd.DataFrame]:
    """Return a run's predictions without a series type, by that type.

    table: its predictions with all series. Sites that it cannot grade have no row.
    """
    if run.config.views == "own":
        marked = own_types(cache.table.set_index("crop").loc[table["crop"]]).to_numpy()
        return {name: table[marked != name] for name in SERIES_DESCRIPTIONS}
    if CropSpec(**run.config.crop) != cache.spec:
        raise UserError(
            f"{run.folder.name} was trained on crops of {CropSpec(**run.config.crop)} "
            f"and {cache.path} has {cache.spec}: name the cache it was trained on"
        )
    task, model = make_crop_task(cache, folds, run.config), run.predictor()
    return {name: predict_without(task, model, name) for name in SERIES_DESCRIPTIONS}


def predict_without(task: CropTask, model: Predictor, name: str) -> pd.DataFrame:
    """Predict a task's test sites with a view masked; those without any are dropped."""
    test = without_view(cast(SiteDataset, task.test), name)
    graded = (test.views != MISSING).any(axis=1)
    return replace(task, test=test).predict(model)[graded]


def without_view(sites: SiteDataset, name: str) -> SiteDataset:
    """Return sites whose view of a series type is missing."""
    views = sites.views.copy()
    views[:, SERIES_DESCRIPTIONS.index(name)] = MISSING
    return replace(sites, views=views)


def missing_series_rows(
    runs: Sequence[Run], cache: CropCache, folds: pd.DataFrame
) -> list[Row]:
    """Score a variant's runs with all series, without each type, and by the prior."""
    tables = {run.folder.name: predictions_of(run, cache, folds)[0] for run in runs}
    prior = tested_prior(list(runs), tables)
    tested = pd.concat(tables.values())["study_id"]
    truth = cache.labels[cache.labels["study_id"].isin(tested)]
    floor = _terms(truth, prior)
    rest = [
        predictions_without(run, tables[run.folder.name], cache, folds) for run in runs
    ]

    def row(series: str, graded: list[pd.DataFrame], families: Iterable[str]) -> Row:
        submission = with_prior(out_of_fold_probabilities(graded), prior)
        terms = _terms(truth, submission)
        verdict = better_than_prior(terms, floor, families)
        return {"series": series, **terms, "better than the prior": verdict}

    rows = [row("all", list(tables.values()), FAMILIES)]
    for name in SERIES_DESCRIPTIONS:
        shown = [family for family in FAMILIES if SERIES_OF[family] == name]
        rows.append(row(f"without {name}", [each[name] for each in rest], shown))
    return [*rows, {"series": "prior alone", **floor, "better than the prior": "-"}]


def better_than_prior(terms: Terms, prior: Terms, families: Iterable[str]) -> str:
    """Say of each labelled family whether its loss is below the prior's."""
    pairs = ((family, terms[family], prior[family]) for family in families)
    verdicts = (
        f"{family}: {'yes' if loss < bound else 'no'}"
        for family, loss, bound in pairs
        if loss is not None and bound is not None
    )
    return ", ".join(verdicts) or "-"


def _terms(truth: pd.DataFrame, submission: pd.DataFrame) -> Terms:
    return cast(Terms, labelled_score(truth, submission))


def main() -> None:
    """Show every variant's table, and write it where asked."""
    args = parse()
    cache = open_cache(args.cache)
    folds = read_folds(cache.path / "folds.csv")
    runs = [r for r in read_runs(args.runs, "severity") if r.config.split == "study"]
    if not runs:
        raise UserError(
            f"--runs {args.runs} has no severity run of the study split: train one "
            "with train.py --task severity"
        )
    for variant, chosen in by_variant([run.config for run in runs]).items():
        own = [runs[index] for index in chosen]
        rows = missing_series_rows(own, cache, folds)
        title = f"{SECTION}, {variant}"
        show_table(title, rows)
        if args.write:
            write_table(title, rows, note=f"Runs pooled: {len(own)}. {COLUMNS}")


if __name__ == "__main__":
    run_script(main)
