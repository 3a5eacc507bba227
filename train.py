"""Train backbones on cached crops: one run folder a backbone and fold.

    python train.py --cache cache --runs runs --task condition --backbone paper
    python train.py ... --folds all --jobs 2       two runs at a time, one a GPU
    torchrun --nproc-per-node 2 train.py ...       each run on several GPUs or hosts

A run keeps the weights of the epoch that --select chooses (of the last with --patience
0), its history, and its test crops' predictions. A finished run is not trained again;
an interrupted one resumes from its checkpoint.
--config takes a preset (configs/); flags override the preset.
"""

import argparse
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from src.command_line import make_parser, non_negative_int, positive_int, run_script
from src.console import say, show_table, timed
from src.errors import UserError
from src.training.config import SLICES, SPLIT_WAYS, Hyperparameters
from src.training.presets import add_recipe_flags, read_preset, values_for

if TYPE_CHECKING:
    import pandas as pd

    from src.cache.crop_cache import CropCache
    from src.training.config import RunConfig, SiteErrorRow
    from src.training.train_run import TrainingTask


INPUT_PX = {"location": 160}  # fine enough on phantoms, at half the price of 224
# Of pretrained weights on crops: 1e-3 unlearns them, and memorizes a small cohort.
PRETRAINED_LR = 1e-4


def parse(**preset: Any) -> argparse.Namespace:
    """Read the command line; a preset's values are defaults, so that flags win."""
    parser = make_parser(__doc__)
    what = parser.add_argument_group("what to train").add_argument
    what("--cache", type=Path, required=True, help="what input_prep.py made")
    what("--runs", type=Path, required=True, help="where run folders go")
    what(
        "--task",
        choices=["condition", "severity", "location"],
        required=True,
        help="what to learn",
    )
    text = "`paper` for its six, or names known to torchvision or timm"
    what("--backbone", nargs="+", required=True, metavar="NAME", help=text)
    text = "study keeps a study's crops together; row leaks, as the paper's code did"
    what("--split", choices=list(SPLIT_WAYS), default="study", help=text)
    text = "holdout (80/5/15), all for five folds, or fold numbers of 0 to 4"
    what("--folds", nargs="+", default=["holdout"], metavar="K", help=text)
    what("--limit", type=positive_int, metavar="N", help="only the first N studies")
    text = (
        "a location run's folder: shift severity crops at random as far as its sites "
    )
    text += "are off, in mm and slices; `none`: not at all; if not given, a quarter of "
    text += "them by a slice, where 5 or more were cut"
    what("--jitter", metavar="RUN", help=text)
    text = "processes that prepare batches ahead of the training; they change no batch"
    what("--loader-workers", type=non_negative_int, default=0, metavar="N", help=text)
    text = "runs at a time, each a process: one a GPU, or on a CPU sharing its cores"
    what("--jobs", type=positive_int, default=1, metavar="N", help=text)
    text = "of these runs only that of one backbone and fold, without calibration; "
    text += "for schedulers: --jobs starts its runs by it"
    what("--only", nargs=2, metavar=("NAME", "K"), help=text)
    what("--config", type=Path, metavar="TOML", help="a preset for the flags below")
    add_recipe_flags(parser)
    tune = parser.add_argument_group("tuning").add_argument
    text = "try N recipes on validation and write the best as a preset"
    tune("--tune", type=positive_int, metavar="N", help=text)
    text = "database shared by tuning workers, as sqlite:///tune.db; or a journal file"
    tune("--storage", metavar="URL", help=text)
    parser.set_defaults(**preset)
    return parser.parse_args()


def main() -> None:
    """Train every backbone on every fold, or tune one."""
    args = parse()
    from src.cache.crop_cache import open_cache
    from src.competition.folds import read_folds
    from src.training.distributed import process_group

    side_by_side = args.jobs > 1 and not args.only
    if side_by_side:
        _require_plain_training(args)
    if args.tune:
        _require_one_process("--tune", "once a GPU, with one --storage for all")
    cache = open_cache(args.cache)
    folds = read_folds(args.cache / "folds.csv")
    if side_by_side:
        train_side_by_side(args, cache, folds)
        return
    with process_group():
        for backbone, fold in runs_of(args):
            config = configure(args, cache, folds, backbone, fold)
            task = make_task(cache, folds, config)
            tune_one(args, task) if args.tune else train_one(args, task)
        if not args.only:
            finish(args)


def runs_of(args: argparse.Namespace) -> list[tuple[str, str]]:
    """List the runs, a backbone and a fold each; UserError for an unknown --only."""
    from src.models.backbones import check_names

    names, folds = check_names(args.backbone), fold_names(args.folds)
    runs = [(backbone, fold) for backbone in names for fold in folds]
    if not args.only:
        return runs
    if (only := tuple(args.only)) not in runs:
        raise UserError(
            f"--only {' '.join(only)} is no run of --backbone {' '.join(names)} and "
            f"--folds {' '.join(folds)}: name one of these backbones, then a fold"
        )
    return [only]


def train_side_by_side(
    args: argparse.Namespace, cache: "CropCache", folds: "pd.DataFrame"
) -> None:
    """Train --jobs runs at a time; UserError at the end if some failed."""
    from src.training.jobs import SideBySide, slots

    command = [sys.executable, __file__, *sys.argv[1:], "--only"]
    runs = runs_of(args)
    names, waiting = {}, {}
    for backbone, fold in runs:
        config = configure(args, cache, folds, backbone, fold)
        label = f"{backbone} {fold}"
        names[label] = config.name
        with suppress(UserError):  # which the run's own process tells
            if exists(args.runs, config):
                continue
        waiting[label] = [*command, backbone, fold]
    failed = {}
    if waiting:
        failed = SideBySide(slots(args.jobs, len(waiting), say), say).run(waiting)
    if len(failed) < len(runs):
        finish(args)
    if failed:
        raise UserError(
            f"{len(failed)} of {len(runs)} runs failed, for the reasons above: "
            f"{', '.join(names[label] for label in failed)}; run the same command "
            "again to repeat them: the finished ones are not trained again"
        )


def finish(args: argparse.Namespace) -> None:
    """Calibrate what was trained, and say what to do with it."""
    if args.task == "severity" and not args.tune:
        calibrate(args.runs)
    where = f"--cache {args.cache} --runs {args.runs}"
    log(f"\nNext: python evaluate.py {where} --out report")


def make_task(
    cache: "CropCache", folds: "pd.DataFrame", config: "RunConfig"
) -> "TrainingTask":
    """Put together what a run's task needs."""
    from src.cache.overview_cache import open_overviews
    from src.classification.crop_task import make_crop_task
    from src.localization.location_task import make_location_task

    if config.task == "location":
        return make_location_task(cache, open_overviews(cache.path), folds, config)
    return make_crop_task(cache, folds, config)


def train_one(args: argparse.Namespace, task: "TrainingTask") -> None:
    """Train one run unless it is there."""
    from src.training.distributed import rank
    from src.training.train_run import epoch_printer, train_run

    folder, workers = args.runs / task.config.name, args.loader_workers
    if exists(args.runs, task.config):
        return
    if rank() == 0:
        with timed(f"Wrote {folder}"):
            train_run(task, args.runs, epoch_printer(folder.name), workers)
    else:
        train_run(task, args.runs, loader_workers=workers)


def exists(runs: Path, config: "RunConfig") -> bool:
    """Return whether a run is finished, and say so; UserError for another's folder."""
    from src.training.run_folder import is_finished

    if finished := is_finished(runs, config):
        log(f"{runs / config.name} exists: not trained again")
    return finished


def calibrate(folder: Path) -> None:
    """Fit all severity runs' calibration on what they were not trained on."""
    from src.classification.calibration import (
        out_of_fold_probabilities,
        save_calibration,
    )
    from src.classification.prior_comparison import (
        family_calibrations,
        fit_beside_prior,
        prior_warnings,
        tested_prior,
    )
    from src.training.distributed import rank
    from src.training.run_folder import read_runs

    if rank() != 0:
        return
    runs = [r for r in read_runs(folder, "severity") if r.config.split == "study"]
    if runs:
        tables = {run.folder.name: run.predictions() for run in runs}
        sites = out_of_fold_probabilities(list(tables.values()))
        prior = tested_prior(runs, tables)
        fit = fit_beside_prior(sites, prior)
        save_calibration(fit.calibration, folder, list(tables))
        gain = fit.calibration.gain
        gained = f"a gain of {gain:.4f}" if gain else "no gain"
        say(f"Calibrated {len(runs)} severity runs: {gained} by nested folds")
        for sentence in prior_warnings(family_calibrations(sites, prior, fit)):
            say(sentence)


def tune_one(args: argparse.Namespace, task: "TrainingTask") -> None:
    """Try recipes for one run's backbone and fold; write the best."""
    from src.training.tuning import tune

    path = args.runs / f"tuned-{task.config.name}.toml"
    with timed(f"Wrote {path}"):
        rows = tune(task, args.tune, args.storage, path, say, args.loader_workers)
    show_table("The best of each optimiser, on validation", rows)
    say(f"Use it: python train.py --config {path} ...")


def _require_plain_training(args: argparse.Namespace) -> None:
    """Raise UserError where --jobs cannot start the runs."""
    if args.tune:
        raise UserError(
            f"--jobs {args.jobs} is not for --tune, whose trials share one process: "
            "start the tuning once a GPU, with one --storage for all"
        )
    _require_one_process("--jobs", "which takes one GPU a run")


def _require_one_process(flag: str, instead: str) -> None:
    """Raise UserError under torchrun, whose processes would each do the same."""
    if os.environ.get("WORLD_SIZE", "1") != "1":
        raise UserError(f"{flag} is not for torchrun: start train.py itself, {instead}")


def log(sentence: str) -> None:
    """Print a sentence in the first process only."""
    from src.training.distributed import rank

    if rank() == 0:
        say(sentence)


def fold_names(given: list[str]) -> list[str]:
    """Spell `all` out as the five folds."""
    from src.competition.folds import FOLDS

    return [str(k) for k in range(FOLDS)] if given == ["all"] else given


def configure(
    args: argparse.Namespace,
    cache: "CropCache",
    folds: "pd.DataFrame",
    backbone: str,
    fold: str,
) -> "RunConfig":
    """Turn the flags and the preset into the description of one run."""
    from src.training.config import LABELS, RunConfig
    from src.training.splits import prior_rows, training_prior

    given = with_preset(args, backbone)
    _require_labels_to_soften(given)
    return RunConfig(
        task=args.task,
        backbone=backbone,
        split=args.split,
        fold=fold,
        slices=slices_of(given),
        labels=list(LABELS[args.task]),
        hyperparameters=recipe_of(given),
        weights=given.weights,
        crop=cache.fingerprint["crop"],
        cache_fingerprint={
            "points": cache.fingerprint["points"],
            "labels": cache.fingerprint["labels"],
            "series": cache.fingerprint["series"],
        },
        limit=args.limit,
        prior=prior_rows(training_prior(cache.labels, folds, fold)),
        site_errors=jitter_of(args, folds),
        views=given.views,
    )


def _require_labels_to_soften(given: argparse.Namespace) -> None:
    """Raise UserError where --soften has no labels, or no place in a search."""
    if not given.soften:
        return
    if given.task == "location":
        raise UserError(
            f"--soften {given.soften:g} softens labels of condition and severity, and "
            "the task location has none: leave --soften out"
        )
    if given.tune:
        raise UserError(
            f"--soften {given.soften:g} is not for --tune, whose trials train on the "
            "labels as they are: leave it out, and give it to the training that uses "
            "the recipe found"
        )


def slices_of(args: argparse.Namespace) -> str:
    """Return what --slices stands for; UserError where --views all rules it out."""
    if args.views == "own":
        return SLICES[0] if args.slices == "auto" else str(args.slices)
    if args.task != "severity":
        raise UserError(
            f"--views all is for --task severity: the task {args.task} looks at one "
            "series type at a time; give --views own"
        )
    if args.slices == "repeat":
        raise UserError(
            "--slices repeat shows one slice of the marked view, and --views all is "
            "given: give --slices neighbours or attention, or --views own"
        )
    return "neighbours" if args.slices == "auto" else str(args.slices)


def jitter_of(
    args: argparse.Namespace, folds: "pd.DataFrame"
) -> "list[SiteErrorRow] | None":
    """Read --jitter: a location run's errors; [] for none, None if it is not given."""
    from src.localization.location_metrics import read_locations, site_errors
    from src.training.run_folder import read_run
    from src.training.splits import study_splits

    if args.jitter in (None, "none"):
        return None if args.jitter is None else []
    run = read_run(Path(args.jitter))
    if args.task != "severity" or run.config.task != "location":
        raise UserError(
            f"--jitter {args.jitter} is a {run.config.task} run for the task "
            f"{args.task}: give a location run's folder, to --task severity"
        )
    splits = study_splits(folds, run.config.fold)
    tested = set(splits.index[splits == "test"])
    errors = site_errors(read_locations(run.folder / "predictions.csv", tested))
    if not errors:
        raise UserError(
            f"--jitter {args.jitter} found no site at its level: train it for longer, "
            "or give --jitter none"
        )
    return errors


def with_preset(args: argparse.Namespace, backbone: str) -> argparse.Namespace:
    """Return the flags for a backbone: those given, then its preset, then defaults."""
    from src.models.backbones import check_names

    if args.config is None:
        return args
    known = {*check_names(args.backbone), *check_names(["paper"])}
    return parse(**values_for(read_preset(args.config, known), backbone))


def recipe_of(given: argparse.Namespace) -> Hyperparameters:
    """Choose the hyperparameters from the flags; some defaults hang on the task."""
    crops, pretrained = given.task != "location", given.weights != "none"
    usual = Hyperparameters()
    defaults = {
        "input_px": INPUT_PX.get(given.task, usual.input_px),
        "lr": PRETRAINED_LR if crops and pretrained else usual.lr,
    }
    own = {k: v for k, v in vars(given).items() if v is not None}
    chosen = defaults | own
    return Hyperparameters(**{name: chosen[name] for name in vars(usual)})


if __name__ == "__main__":
    run_script(main)
