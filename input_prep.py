"""Prepare the competition's download for training: DICOM and CSVs to cached crops.

    python input_prep.py --data data --cache cache

reads and checks the CSVs of --data, cuts a crop around every marked point and writes
crops.npy, crops.csv, rejects.csv and folds.csv to --cache. Points without a crop are
listed in rejects.csv with the reason. If interrupted, run it again: it resumes.
"""

import argparse
import os
from concurrent.futures import Executor
from pathlib import Path

from src.cache.build_crops import CacheSummary, build_cache
from src.cache.crop_cache import open_cache
from src.cache.label_checks import MOSTLY, inconsistent_points, share_of_swapped_sides
from src.cache.overview_cache import build_overviews
from src.command_line import make_parser, positive_int, run_script
from src.competition.folds import make_folds
from src.competition.tables import LABEL_FILE, Competition, image_folder, read_training
from src.console import progress, say, show_table, timed
from src.files import write_csv
from src.imaging.crops import CropSpec
from src.kaggle.download import fetch_competition
from src.phantom.cohort import truth_folder, write_cohort
from src.workers import worker_pool


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = make_parser(__doc__)
    add = parser.add_argument
    add("--data", type=Path, required=True, help="the unpacked competition")
    add("--cache", type=Path, required=True, help="folder of the crops and tables")
    source = parser.add_mutually_exclusive_group()
    text = "download the competition from Kaggle to --data first, or resume"
    source.add_argument("--download", action="store_true", help=text)
    text = "write N phantom studies to --data first, if it holds no competition"
    source.add_argument("--phantom", type=positive_int, metavar="N", help=text)
    add("--crop-px", type=positive_int, default=100, help="side of a crop in pixels")
    text = "slices of a crop; 5 for --slices attention or for slice jitter"
    add("--crop-slices", type=int, choices=[3, 5], default=3, help=text)
    field = parser.add_mutually_exclusive_group()
    field.add_argument("--field-mm", type=float, default=50.0, help="side in mm")
    text = "crop the image's own pixels, as the paper does, instead of millimetres"
    field.add_argument("--native-px", action="store_true", help=text)
    text = "skip the overviews that --task location needs, 7 GB for all studies"
    add("--no-overviews", action="store_true", help=text)
    add(
        "--workers",
        type=positive_int,
        default=os.cpu_count(),
        help="parallel processes",
    )
    add("--limit", type=positive_int, metavar="N", help="only the first N studies")
    add("--seed", type=int, default=0, help="random seed of phantom and folds")
    return parser.parse_args()


def main() -> None:
    """Write the phantom if requested, then the cache, and report."""
    args = parse()
    field_mm = None if args.native_px else args.field_mm
    spec = CropSpec(args.crop_px, field_mm, args.crop_slices)
    if args.download:
        fetch_competition(args.data)
    with worker_pool(args.workers) as executor:
        if args.phantom:
            make_phantom(args, executor)
        with timed(f"Read the tables in {args.data}"):
            competition = first_studies(read_training(args.data), args.limit)
        summary = cut_crops(competition, args, spec, executor)
        if not args.no_overviews:
            draw_overviews(competition, args, executor)
    write_csv(make_folds(competition.labels, args.seed), args.cache / "folds.csv")
    report_label_checks(args.cache)
    preview(args)
    report(competition, summary, args.cache)


def make_phantom(args: argparse.Namespace, executor: Executor) -> None:
    """Write a cohort with known ground truth to --data, unless it has a competition."""
    if (args.data / LABEL_FILE).is_file():
        say(f"{args.data} holds a competition already: no phantom is written")
        return
    done = f"Wrote {args.phantom} phantom studies to {args.data}"
    with timed(done), progress("phantom studies") as on_progress:
        write_cohort(args.data, args.phantom, executor, args.seed, on_progress)
    say(f"The ground truth of its test studies is in {truth_folder(args.data)}")


def first_studies(competition: Competition, limit: int | None) -> Competition:
    """Keep the first `limit` studies of every table; all if None."""
    studies = sorted(competition.labels["study_id"].unique())[:limit]
    kept = {
        name: table[table["study_id"].isin(studies)].reset_index(drop=True)
        for name, table in vars(competition).items()
        if name != "root"
    }
    return Competition(competition.root, **kept) if limit else competition


def cut_crops(
    competition: Competition,
    args: argparse.Namespace,
    spec: CropSpec,
    executor: Executor,
) -> CacheSummary:
    """Cut the crops into --cache, unless they are there."""
    with timed(f"Cut {spec} into {args.cache}"), progress("series") as on_progress:
        return build_cache(
            competition.points,
            competition.labels,
            competition.series,
            image_folder(args.data, "train"),
            args.cache,
            spec,
            executor,
            on_progress,
        )


def draw_overviews(
    competition: Competition, args: argparse.Namespace, executor: Executor
) -> None:
    """Draw all slices at one scale into --cache, unless they are there."""
    done = f"Drew the overviews of {len(competition.series)} series into {args.cache}"
    with timed(done), progress("series") as on_progress:
        folder = image_folder(args.data, "train")
        counts = build_overviews(
            competition.series, folder, args.cache, executor, on_progress
        )
    if counts["rejects"]:
        path = args.cache / "overview-rejects.csv"
        say(f"{counts['rejects']} files or series could not be read: see {path}")


def report_label_checks(folder: Path) -> None:
    """List points that contradict the patient's geometry, and warn if most sides do."""
    table = open_cache(folder).table
    found = inconsistent_points(table)
    write_csv(found, folder / "suspects.csv")
    share = share_of_swapped_sides(table)
    if share > MOSTLY:
        say(
            f"WARNING: LEFT AND RIGHT ARE SWAPPED in {100 * share:.0f} % of the marked "
            "pairs: by the images' positions, the left points lie on the patient's "
            "right. Fix the coordinates before training on them"
        )
    if len(found):
        say(f"{len(found)} points contradict geometry: see {folder / 'suspects.csv'}")


def preview(args: argparse.Namespace) -> None:
    """Draw one study's points and crops, to look at before training."""
    from src.reporting.preview import draw_preview

    path = args.cache / "preview.png"
    with timed(f"Drew {path}: look at it"):
        draw_preview(open_cache(args.cache), image_folder(args.data, "train"), path)


def report(competition: Competition, summary: CacheSummary, cache: Path) -> None:
    """Show the counts of crops and rejects, and the next command."""
    if summary.reused:
        say("The cache was there already; nothing was cut again")
    counts: dict[str, object] = {
        "studies": competition.labels["study_id"].nunique(),
        "series": len(competition.series),
        "points": len(competition.points),
        "crops": summary.crops,
        "rejects": summary.rejects,
    }
    show_table("Prepared", [counts])
    if summary.rejects:
        say(f"The reasons of the rejects are in {cache / 'rejects.csv'}")
    say(
        f"Next: python train.py --cache {cache} --runs runs --task condition "
        "--backbone mnasnet0_75 mnasnet1_0"
    )


if __name__ == "__main__":
    run_script(main)
