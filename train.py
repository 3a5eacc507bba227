"""Train backbones on cached crops: one run folder a backbone and fold.

    python train.py --cache cache --runs runs --task condition --backbone paper

A run keeps the weights of its best validation loss, its history, and its test crops'
predictions. A run that is there already is not trained again.
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from src.reporting.command_line import count, parser_of, run
from src.reporting.console import epoch_printer, say, step

if TYPE_CHECKING:
    import pandas as pd

    from src.imaging.cache import Cache
    from src.learning.runs import RunConfig


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = parser_of(__doc__)
    add = parser.add_argument
    add("--cache", type=Path, required=True, help="what input_prep.py made")
    add("--runs", type=Path, required=True, help="where run folders go")
    add("--task", choices=["condition"], required=True, help="what to learn")
    text = "`paper` for its six, or names known to torchvision or timm"
    add("--backbone", nargs="+", required=True, metavar="NAME", help=text)
    text = "study keeps a study's crops together; row leaks, as the paper's code did"
    add("--split", choices=["study", "row"], default="study", help=text)
    text = "holdout (80/5/15), all five folds, or some of 0 to 4"
    add("--folds", nargs="+", default=["holdout"], metavar="K", help=text)
    text = "the three channels: slice before, labelled, after; or three times the same"
    add("--slices", choices=["neighbours", "repeat"], default="neighbours", help=text)
    add("--weights", default="none", help="none, imagenet, or a state dict's path")
    names = ["adam", "adamw", "rmsprop", "sgd"]
    add("--optimizer", choices=names, default="adamw", help="kind of descent")
    add("--lr", type=float, default=1e-3, help="learning rate")
    add("--epochs", type=count, default=20, help="at most so many")
    text = "stop after so many epochs without a better validation loss"
    add("--patience", type=count, default=5, help=text)
    add("--batch-size", type=count, default=32, help="crops a step")
    add("--seed", type=int, default=0, help="of the weights, the order, the changes")
    add("--limit", type=count, metavar="N", help="only the first N studies")
    return parser.parse_args()


def main() -> None:
    """Train every backbone on every fold."""
    args = parse()
    from src.competition.folds import read_folds
    from src.imaging.cache import open_cache
    from src.learning.backbones import check_names
    from src.learning.runs import finished
    from src.learning.training import train_run

    cache = open_cache(args.cache)
    folds = read_folds(args.cache / "folds.csv")
    for backbone in check_names(args.backbone):
        for fold in fold_names(args.folds):
            config = configure(args, cache, folds, backbone, fold)
            if finished(args.runs, config):
                say(f"{args.runs / config.name} is there already")
                continue
            with step(f"Wrote {args.runs / config.name}"):
                on_epoch = epoch_printer(config.name)
                train_run(cache, folds, config, args.runs, on_epoch)
    out = f"--cache {args.cache} --runs {args.runs} --out report"
    say(f"\nNext: python evaluate.py {out}")


def fold_names(given: list[str]) -> list[str]:
    """Spell `all` out as the five folds."""
    from src.competition.folds import FOLDS

    return [str(k) for k in range(FOLDS)] if given == ["all"] else given


def configure(
    args: argparse.Namespace,
    cache: "Cache",
    folds: "pd.DataFrame",
    backbone: str,
    fold: str,
) -> "RunConfig":
    """Turn the flags into the description of one run."""
    from src.learning.engine import Settings
    from src.learning.runs import RunConfig
    from src.learning.tasks import CROP_TASKS
    from src.learning.training import prior_of

    settings = {name: getattr(args, name) for name in vars(Settings())}
    return RunConfig(
        task=args.task,
        backbone=backbone,
        split=args.split,
        fold=fold,
        slices=args.slices,
        labels=list(CROP_TASKS[args.task].labels),
        settings=settings,
        weights=args.weights,
        crop=cache.key["crop"],
        cache_key={part: cache.key[part] for part in ("points", "labels", "series")},
        limit=args.limit,
        prior=prior_of(cache.labels, folds, fold).to_dict("records"),
    )


if __name__ == "__main__":
    run(main)
