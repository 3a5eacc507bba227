"""Train backbones on cached crops: one run folder a backbone and fold.

    python train.py --cache cache --runs runs --task condition --backbone paper
    torchrun --nproc-per-node 2 train.py ...       the same on several GPUs or hosts

A run keeps the weights of its best validation loss (of its last epoch with --patience
0), its history, and its test crops' predictions. A run that is there is not trained
again; one that was killed goes on.
--config takes a preset (configs/); flags that are given come before it.
"""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from src.command_line import make_parser, non_negative_int, positive_int, run_script
from src.console import say, show_table, timed

if TYPE_CHECKING:
    import pandas as pd

    from src.cache.crop_cache import CropCache
    from src.training.config import RunConfig
    from src.training.train_run import TrainingTask


INPUT_PX = {"location": 160}  # fine enough on phantoms, at half the price of 224


def parse() -> argparse.Namespace:
    """Read the command line; `given` lists the flags that were on it."""
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
    what("--split", choices=["study", "row"], default="study", help=text)
    text = "holdout (80/5/15), all five folds, or some of 0 to 4"
    what("--folds", nargs="+", default=["holdout"], metavar="K", help=text)
    text = "the channels: slice before, labelled, after; three times the labelled; or "
    text += "all that were cut, with attention over them"
    choices = ["neighbours", "repeat", "attention"]
    what("--slices", choices=choices, default="neighbours", help=text)
    what("--limit", type=positive_int, metavar="N", help="only the first N studies")
    add_recipe(parser)
    tune = parser.add_argument_group("tuning").add_argument
    text = "try N recipes on validation and write the best as a preset"
    tune("--tune", type=positive_int, metavar="N", help=text)
    text = "database shared by tuning workers, as sqlite:///tune.db; or a journal file"
    tune("--storage", metavar="URL", help=text)
    args = parser.parse_args()
    args.given = {
        word[2:].partition("=")[0].replace("-", "_")
        for word in sys.argv[1:]
        if word.startswith("--")
    }
    return args


def add_recipe(parser: argparse.ArgumentParser) -> None:
    """Add the flags that a preset may set."""
    how = parser.add_argument_group("how to train it").add_argument
    how("--config", type=Path, metavar="TOML", help="a preset for what follows")
    how("--weights", default="none", help="none, imagenet, or a state dict's path")
    names = ["adam", "adamw", "rmsprop", "sgd"]
    how("--optimizer", choices=names, default="adamw", help="optimizer")
    how("--lr", type=float, default=1e-3, help="learning rate")
    how("--weight-decay", type=float, default=0.01, help="weight decay")
    text = "warm-up and half a cosine over --epochs, or constant"
    how("--schedule", choices=["cosine", "constant"], default="cosine", help=text)
    how("--epochs", type=positive_int, default=20, help="maximum epochs")
    text = "stop after so many epochs without a better validation loss and keep the "
    text += "best; 0: train all and keep the last, for a validation of few studies"
    how("--patience", type=non_negative_int, default=5, help=text)
    how(
        "--batch-size",
        type=positive_int,
        default=32,
        help="crops a step, all processes",
    )
    text = (
        "scale images to this side for the backbone, 0 for as they are; if not given "
    )
    text += "160 for location, else 0"
    how("--input-px", type=int, default=None, help=text)
    text = "strength of random changes, mirroring included; 0 for none"
    how("--augment", type=float, default=0.5, help=text)
    text = (
        "recompute batch-norm statistics before validation: auto where they move slowly"
    )
    choices = ["auto", "recompute", "running"]
    how("--bn-stats", choices=choices, default="auto", help=text)
    how("--seed", type=int, default=0, help="random seed")


def main() -> None:
    """Train every backbone on every fold, or tune one."""
    args = parse()
    from src.cache.crop_cache import open_cache
    from src.competition.folds import read_folds
    from src.models.backbones import check_names
    from src.training.distributed import process_group

    cache = open_cache(args.cache)
    folds = read_folds(args.cache / "folds.csv")
    with process_group():
        for backbone in check_names(args.backbone):
            for fold in fold_names(args.folds):
                job = make_task(
                    cache, folds, configure(args, cache, folds, backbone, fold)
                )
                tune_one(args, job) if args.tune else train_one(args.runs, job)
        if args.task == "severity" and not args.tune:
            calibrate(args.runs)
        where = f"--cache {args.cache} --runs {args.runs}"
        tell(f"\nNext: python evaluate.py {where} --out report")


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


def train_one(runs: Path, job: "TrainingTask") -> None:
    """Train one run unless it is there."""
    from src.training.distributed import rank
    from src.training.run_folder import is_finished
    from src.training.train_run import epoch_printer, train_and_save

    name = job.config.name
    if is_finished(runs, job.config):
        tell(f"{runs / name} is there already")
    elif rank() == 0:
        with timed(f"Wrote {runs / name}"):
            train_and_save(job, runs, epoch_printer(name))
    else:
        train_and_save(job, runs)


def calibrate(folder: Path) -> None:
    """Fit all severity runs' calibration on what they were not trained on."""
    from src.classification.calibration import (
        fit_calibration,
        out_of_fold_probabilities,
        save_calibration,
    )
    from src.training.distributed import rank
    from src.training.run_folder import read_runs

    if rank() != 0:
        return
    runs = [r for r in read_runs(folder, "severity") if r.config.split == "study"]
    if runs:
        calibration = fit_calibration(
            out_of_fold_probabilities([run.predictions() for run in runs])
        )
        save_calibration(calibration, folder, [run.folder.name for run in runs])
        gain = f"a gain of {calibration.gain:.4f}" if calibration.gain else "no gain"
        say(f"Calibrated {len(runs)} severity runs: {gain} by nested folds")


def tune_one(args: argparse.Namespace, job: "TrainingTask") -> None:
    """Try recipes for one run's backbone and fold; write the best."""
    from src.training.tuning import tune

    path = args.runs / f"tuned-{job.config.backbone}.toml"
    with timed(f"Wrote {path}"):
        rows = tune(job, args.tune, args.storage, path, say)
    show_table("The best of each optimiser, on validation", rows)
    say(f"Use it: python train.py --config {path} ...")


def tell(sentence: str) -> None:
    """Say it once, however many processes train."""
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
    from src.classification.labels import LABELS
    from src.training.config import RunConfig
    from src.training.splits import training_prior

    recipe, weights = recipe_for(args, backbone)
    return RunConfig(
        task=args.task,
        backbone=backbone,
        split=args.split,
        fold=fold,
        slices=args.slices,
        labels=list(LABELS[args.task]),
        hyperparameters=recipe,
        weights=weights,
        crop=cache.fingerprint["crop"],
        cache_fingerprint={
            part: cache.fingerprint[part] for part in ("points", "labels", "series")
        },
        limit=args.limit,
        prior=training_prior(cache.labels, folds, fold).to_dict("records"),
    )


def recipe_for(args: argparse.Namespace, backbone: str) -> tuple[dict[str, Any], str]:
    """Return a backbone's settings and weights: flags, then preset, then defaults."""
    from src.models.backbones import check_names
    from src.training.config import Hyperparameters
    from src.training.presets import read_preset, values_for

    values = {
        name: getattr(args, name) for name in [*vars(Hyperparameters()), "weights"]
    }
    if args.config is not None:
        flags = {name.replace("_", "-") for name in values}
        known = {*check_names(args.backbone), *check_names(["paper"])}
        preset = values_for(read_preset(args.config, flags, known), backbone)
        chosen = {k: v for k, v in preset.items() if k not in args.given}
        values |= chosen
    if values["input_px"] is None:
        values["input_px"] = INPUT_PX.get(args.task, 0)
    weights = values.pop("weights")
    return Hyperparameters(**values).to_dict(), weights


if __name__ == "__main__":
    run_script(main)
