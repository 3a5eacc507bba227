"""Prepare the competition's download for training: DICOM and CSVs to cached crops.

    python input_prep.py --data data --cache cache

reads and checks the CSVs of --data, cuts a crop around every marked point and writes
crops.npy, crops.csv, rejects.csv and folds.csv to --cache. Points without a crop are
listed in rejects.csv with the reason. With --views all each point is also cropped where
the study's other series types show it. If interrupted, run it again: it resumes.

    python input_prep.py --data data --cache found --sites report/found_sites.csv

cuts at the sites that location runs found in studies unseen in their training, which
evaluate.py lists, in place of the marked points.

    python input_prep.py --data data --check

looks at a download without preparing it, lists what is odd in check.csv, and exits 0
whatever it finds.

    python input_prep.py --import FOLDER --data DIR

writes the MR series of any folder of DICOM files, as a CD or a PACS leaves it, to DIR
as a test set for predict_submission.py: no name, date or text of the source, and only
the series types that the kit knows. import.csv tells where each file went, or why not;
series_types.csv what each series is. Correct series_description there and pass it back
with --series-types. If interrupted, run it again: it resumes.
"""

import argparse
import os
import sys
import textwrap
from concurrent.futures import Executor
from contextlib import AbstractContextManager
from pathlib import Path

import pandas as pd

from src.cache.build_crops import CacheSummary, build_cache
from src.cache.crop_cache import add_rejects, open_cache
from src.cache.data_check import check_download, kinds_not_found, summarise
from src.cache.data_origin import DataOrigin, write_origin
from src.cache.found_sites import sites_not_found, with_found_sites
from src.cache.import_folder import IMPORT_FILE, TYPES_FILE, import_folder
from src.cache.label_checks import (
    DOUBLED,
    MOSTLY,
    ONE_POSITION,
    share_of_swapped_sides,
    suspects,
)
from src.cache.overview_cache import build_overviews, claim_overviews
from src.command_line import (
    bounded_float,
    make_parser,
    positive_int,
    run_script,
    shown_command,
)
from src.competition.folds import make_folds
from src.competition.known_issues import without_known_issues
from src.competition.tables import (
    LABEL_FILE,
    Competition,
    first_studies,
    image_folder,
    read_training,
)
from src.console import WIDTH, progress, say, show_table, timed
from src.files import write_csv
from src.imaging.crops import CropSpec
from src.kaggle.download import fetch_competition
from src.phantom.cohort import phantom_recipe, truth_folder, write_cohort
from src.workers import cluster_workers, worker_pool

MAX_SERIES_SHOWN = 100
# What an import, which takes all and cuts nothing, has no use for.
CROP_FLAGS = (
    *("cache", "limit", "leave_out", "sites", "views", "no_overviews"),
    *("crop_px", "crop_slices", "field_mm", "native_px"),
)


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = make_parser(__doc__)
    add = parser.add_argument
    add("--data", type=Path, required=True, help="the unpacked competition")
    text = "folder of the crops and tables; with --check, of check.csv"
    add("--cache", type=Path, help=text)
    text = "only list what is odd in --data, in check.csv; writes no crops"
    add("--check", action="store_true", help=text)
    add("--pixels", action="store_true", help="with --check: decode all pixels too")
    text = "write the MR series of this folder to --data as a test set; no cache"
    add("--import", type=Path, dest="import_folder", metavar="FOLDER", help=text)
    text = "with --import: a series_types.csv with corrected series descriptions"
    add("--series-types", type=Path, metavar="FILE", help=text)
    text = "leave out what others found to be bad; listed in rejects.csv with sources"
    add("--leave-out", choices=["known"], help=text)
    text = "cut at these found sites, evaluate.py's found_sites.csv, not at the marked"
    add("--sites", type=Path, metavar="FILE", help=text)
    source = parser.add_mutually_exclusive_group()
    text = "download the competition from Kaggle to --data first, or resume"
    source.add_argument("--download", action="store_true", help=text)
    text = "write N phantom studies to --data first, if it holds no competition"
    source.add_argument("--phantom", type=positive_int, metavar="N", help=text)
    text = "share of phantom studies whose levels are doubtful; truth in variants.csv"
    share = bounded_float(0.0, 1.0)
    add("--phantom-variants", type=share, default=0.0, metavar="SHARE", help=text)
    add("--crop-px", type=positive_int, default=100, help="side of a crop in pixels")
    text = "slices of a crop; of 5, --slices neighbours takes the middle three"
    add("--crop-slices", type=int, choices=[3, 5], default=5, help=text)
    text = "crop each site in its own series, or also where the other types show it"
    add("--views", choices=["own", "all"], default="own", help=text)
    field = parser.add_mutually_exclusive_group()
    field.add_argument("--field-mm", type=float, default=50.0, help="side in mm")
    text = "crop the image's own pixels, as the paper does, instead of millimetres"
    field.add_argument("--native-px", action="store_true", help=text)
    text = "skip the overviews that --task location needs, 7 GB for all studies"
    add("--no-overviews", action="store_true", help=text)
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--workers",
        type=positive_int,
        default=os.cpu_count(),
        help="parallel processes",
    )
    text = "use a Dask cluster's workers, which share the kit's folder, --data, --cache"
    where.add_argument("--scheduler", metavar="ADDRESS", help=text)
    add("--limit", type=positive_int, metavar="N", help="only the first N studies")
    add("--seed", type=int, default=0, help="random seed of phantom and folds")
    args = parser.parse_args()
    if args.series_types and not args.import_folder:
        parser.error("--series-types goes with --import")
    if args.import_folder and (args.check or args.phantom or args.download):
        parser.error("--import goes without --check, --phantom and --download")
    if args.import_folder and args.scheduler:
        parser.error("--import reads with this machine's --workers, not --scheduler")
    given = [
        name for name in CROP_FLAGS if getattr(args, name) != parser.get_default(name)
    ]
    if args.import_folder and given:
        flag = given[0].replace("_", "-")
        parser.error(f"--import takes all of its folder and cuts no crops: no --{flag}")
    if not args.check and not args.import_folder and args.cache is None:
        parser.error("the following arguments are required: --cache")
    if args.phantom_variants and not args.phantom:
        parser.error("--phantom-variants goes with --phantom")
    if args.pixels and not args.check:
        parser.error("--pixels goes with --check")
    if args.check and args.sites:
        parser.error("--sites goes with the cutting of crops, not with --check")
    if args.check and (args.limit or args.leave_out):
        parser.error("--check looks at all of --data: no --limit and no --leave-out")
    return args


def main() -> None:
    """Write the phantom if requested, then the cache, and report."""
    args = parse()
    field_mm = None if args.native_px else args.field_mm
    spec = CropSpec(args.crop_px, field_mm, args.crop_slices)
    if args.download:
        fetch_competition(args.data)
    with start_workers(args) as executor:
        if args.phantom:
            make_phantom(args, executor)
        if args.import_folder:
            import_source(args, executor)
            return
        if args.check:
            check(args, executor)
            return
        with timed(f"Read the tables in {args.data}"):
            competition = read_tables(args)
        lacking = sites_not_found(competition) if args.sites else None
        if args.leave_out:
            competition, left_out = without_known_issues(competition)
        summary = cut_crops(competition, args, spec, executor)
        if args.leave_out:
            report_left_out(left_out, args.cache)
        if lacking is not None:
            report_not_found(lacking, args.cache)
        if not args.no_overviews:
            draw_overviews(competition, args, executor)
    write_csv(make_folds(competition.labels, args.seed), args.cache / "folds.csv")
    origin = DataOrigin(phantom_recipe(args.data), shown_command(sys.argv))
    write_origin(origin, args.cache)
    report_label_checks(args.cache)
    preview(args)
    draw_examples(args)
    report(competition, summary, args.cache)


def read_tables(args: argparse.Namespace) -> Competition:
    """Read the training tables, with the sites of --sites for points if it is given."""
    competition = read_training(args.data)
    if args.sites:
        competition = with_found_sites(competition, args.sites)
    return first_studies(competition, args.limit)


def start_workers(args: argparse.Namespace) -> AbstractContextManager[Executor]:
    """Start the processes that read the images, or connect to a cluster's."""
    if not args.scheduler:
        return worker_pool(args.workers)
    writes = [args.cache] if args.cache and not args.check else []
    if args.phantom and not (args.data / LABEL_FILE).is_file():
        # Not --data itself, which has to be empty for a phantom.
        return cluster_workers(args.scheduler, [], [*writes, args.data.parent])
    return cluster_workers(args.scheduler, [args.data], writes)


def import_source(args: argparse.Namespace, executor: Executor) -> None:
    """Write a folder's MR series as a test set, and show what became of its files."""
    with timed(f"Imported into {args.data}"), progress("tasks") as on_progress:
        result = import_folder(
            args.import_folder, args.data, args.series_types, executor, on_progress
        )
    rows = result.series_rows()
    show_table("Series", rows[:MAX_SERIES_SHOWN])
    if len(rows) > MAX_SERIES_SHOWN:
        say(f"All {len(rows):,} series are in {args.data / TYPES_FILE}")
    if reasons := result.reasons():
        show_table("Left out", reasons)
    say(
        f"Where each file went is in {args.data / IMPORT_FILE}, which names your "
        f"files: do not share it. Correct a type in {args.data / TYPES_FILE} and pass "
        "it back with --series-types"
    )
    say(f"Next: python predict_submission.py --data {args.data} --runs runs")


def check(args: argparse.Namespace, executor: Executor) -> None:
    """List what is odd in --data, on the screen and in check.csv."""
    with timed(f"Looked at {args.data}"), progress("series") as on_progress:
        result = check_download(args.data, args.pixels, executor, on_progress)
    path = (args.cache or Path()) / "check.csv"
    write_csv(result.findings, path)
    size = (
        f"{result.studies:,} studies, {result.series:,} series, {result.files:,} files"
    )
    if len(result.findings):
        show_table(f"What is odd in {size}", summarise(result.findings))
    else:
        say(f"Nothing is odd in {size}")
    clean = ", ".join(kinds_not_found(result.findings, args.pixels))
    say(textwrap.fill(f"Looked for and not found: {clean}", WIDTH))
    if not args.pixels:
        say("Only headers were read; --pixels decodes the images too")
    say(f"All {len(result.findings):,} findings are in {path}")


def make_phantom(args: argparse.Namespace, executor: Executor) -> None:
    """Write a cohort with known ground truth to --data, unless it has a competition."""
    if (args.data / LABEL_FILE).is_file():
        say(f"{args.data} holds a competition already: no phantom is written")
        return
    done = f"Wrote {args.phantom} phantom studies to {args.data}"
    with timed(done), progress("phantom studies") as on_progress:
        write_cohort(
            args.data,
            args.phantom,
            executor,
            args.seed,
            on_progress,
            args.phantom_variants,
        )
    say(f"The ground truth of its test studies is in {truth_folder(args.data)}")


def cut_crops(
    competition: Competition,
    args: argparse.Namespace,
    spec: CropSpec,
    executor: Executor,
) -> CacheSummary:
    """Cut the crops into --cache, unless they are there.

    Overviews are drawn from the same reading of the files.
    """
    images = image_folder(args.data, "train")
    beside = (
        []
        if args.no_overviews
        else claim_overviews(competition.series, images, args.cache)
    )
    views = "every view, " if args.views == "all" else ""
    done = f"Cut {views}{spec} into {args.cache}"
    with timed(done), progress("series") as on_progress:
        return build_cache(
            competition.points,
            competition.labels,
            competition.series,
            images,
            args.cache,
            spec,
            executor,
            on_progress,
            args.views,
            beside,
            "found" if args.sites else "marked",
        )


def report_left_out(left_out: pd.DataFrame, cache: Path) -> None:
    """List what --leave-out left out among the rejects, and count it."""
    add_rejects(cache, left_out)
    points = int(left_out["condition"].notna().sum())
    series = len(left_out) - points
    path = cache / "rejects.csv"
    say(f"Left out {points} known bad points and {series} series without: see {path}")


def report_not_found(lacking: pd.DataFrame, cache: Path) -> None:
    """List the labels without a found site among the rejects, and count them."""
    add_rejects(cache, lacking)
    if len(lacking):
        path = cache / "rejects.csv"
        studies = lacking["study_id"].nunique()
        say(f"No site of {len(lacking):,} labels in {studies:,} studies: see {path}")


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
    """List points and series that cannot be right, and warn if most sides are not."""
    cache = open_cache(folder)
    table, found = cache.sites, suspects(cache.sites)
    write_csv(found, folder / "suspects.csv")
    share = share_of_swapped_sides(table)
    if share > MOSTLY and not cache.has_found_sites:  # no coordinates to correct
        say(
            f"WARNING: LEFT AND RIGHT ARE SWAPPED in {100 * share:.0f} % of the marked "
            "pairs: by the images' positions, the left points lie on the patient's "
            "right. Fix the coordinates before training on them"
        )
    reasons = found["reason"]
    what_they_are = "found sites" if cache.has_found_sites else "points"
    unplaced, doubled = (reasons == ONE_POSITION).sum(), (reasons == DOUBLED).sum()
    counts = {
        f"{what_they_are} contradict geometry": len(found) - unplaced - doubled,
        "points share their condition and level with another": doubled,
        "series without usable positions": unplaced,
    }
    for what, count in counts.items():
        if count:
            say(f"{count} {what}: see {folder / 'suspects.csv'}")


def preview(args: argparse.Namespace) -> None:
    """Draw one study's points and crops, to look at before training."""
    from src.reporting.preview import draw_preview

    path = args.cache / "preview.png"
    with timed(f"Drew {path}: look at it"):
        draw_preview(open_cache(args.cache), image_folder(args.data, "train"), path)


def draw_examples(args: argparse.Namespace) -> None:
    """Draw example crops by condition, level and grade, and the suspect points."""
    from src.reporting.contact_sheets import draw_contact_sheets
    from src.reporting.suspect_pictures import draw_suspects

    cache = open_cache(args.cache)
    where = args.cache / "contact_sheet_*.png"
    with timed(f"Drew {where}: crops by condition, level and grade"):
        draw_contact_sheets(cache, args.cache)
    path = args.cache / "suspects.png"
    if shown := draw_suspects(cache, image_folder(args.data, "train"), path):
        say(f"Drew {path}: {shown}")


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
    if summary.views or summary.missing_views:
        counts |= {"views": summary.views, "missing views": summary.missing_views}
    show_table("Prepared", [counts])
    if summary.rejects or summary.missing_views:
        say(f"The reasons of the rejects are in {cache / 'rejects.csv'}")
    task = "severity --backbone mnasnet1_0"
    if not open_cache(cache).has_found_sites:
        task = "condition --backbone mnasnet0_75 mnasnet1_0"
    say(f"Next: python train.py --cache {cache} --runs runs --task {task}")


if __name__ == "__main__":
    run_script(main)
