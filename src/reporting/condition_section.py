"""The condition task's part of the report: Table 2, its figures, report.html."""

import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

import pandas as pd

from src.cache.crop_cache import CropCache
from src.files import replacing, write_csv
from src.reporting import condition_section, plots
from src.reporting.html_report import HtmlReport
from src.reporting.plots import plot_accuracy, plot_confusions, plot_losses
from src.reporting.tables import (
    Metrics,
    baselines_table,
    by_class,
    leakage_table,
    recipes_table,
    runs_table,
    table2,
    table2_full,
)


def add_condition(
    page: HtmlReport,
    cache: CropCache,
    condition: Metrics,
    histories: Mapping[str, pd.DataFrame],
    out: Path,
) -> None:
    """Add the section; write table2.csv and figures/ to `out`.

    condition: metrics.json's entry, in the order to show; histories: by run's name.
    """
    write_csv(pd.DataFrame(table2(condition)), out / "table2.csv")
    pictures = draw_figures(cache, condition, histories, out / "figures")
    condition_section.write_condition_section(page, cache, condition, pictures)


def draw_figures(
    cache: CropCache,
    condition: Metrics,
    histories: Mapping[str, pd.DataFrame],
    folder: Path,
) -> dict[str, Path]:
    """Draw the paper's figures 1 to 7, as far as there are runs; by their captions."""
    counts, pipeline, accuracy, loss = (
        folder / f"figure{number}_{name}.png"
        for number, name in enumerate(
            ("class_counts", "crop_pipeline", "accuracy", "loss"), start=1
        )
    )
    plots.plot_class_counts(cache.table, counts)
    draw_pipeline(cache, pipeline)
    plot_accuracy(condition, accuracy)
    plot_losses(condition, histories, loss)
    return {
        "Figure 1. How many crops show each condition": counts,
        "Figure 2. From a marked slice to a crop with its neighbours": pipeline,
        "Figure 3. Accuracy, the paper's, and each test set's own lines": accuracy,
        "Figure 4. Loss by epoch, logarithmic; a ring at the best": loss,
        **plot_confusions(condition, folder),
    }


def draw_pipeline(cache: CropCache, path: Path) -> None:
    """Take input_prep.py's preview, which has whole slices; without it draw crops."""
    preview = cache.path / "preview.png"
    if preview.is_file():
        with replacing(path) as temporary:
            shutil.copyfile(preview, temporary)
    else:
        plots.plot_crop_samples(cache.crops, cache.table, path)


REFERENCES = (
    "series type: the best guess by series type alone. The type gives the family of "
    "conditions away; the side stays a guess.",
    "side by coin: the family by series type, the subarticular side right, because an "
    "axial crop shows it, and a coin for the foraminal side. A network that beats this "
    "line sees, or remembers, the side of a sagittal foramen.",
    "side looked up: the same, but the foraminal side is that of the training crop on "
    "the nearest slice of the same series; where the series has no training crop, the "
    "coin. Sides found is the share of foraminal sides this gets right. What it has "
    "over the coin is leakage: it can be had by memory, without looking.",
)


def write_condition_section(
    page: HtmlReport, cache: CropCache, condition: Metrics, pictures: dict[str, Path]
) -> None:
    """Tell it on the page; pictures: by caption, which begins with its number."""
    page.heading("Which condition a crop shows: the paper's experiment, again")
    _what_was_done(page, cache, condition)
    _add(page, pictures, "12")
    _accuracy(page, condition)
    _add(page, pictures, "3")
    _references(page, condition)
    _leakage(page, condition)
    page.heading("Training")
    page.paragraph(
        "Both losses are means over a set's own crops and share one scale. In the "
        "paper's figure the evaluation loss of ResNet and MNASNet was divided by the "
        "size of the training set: 5.3 times too small on test."
    )
    _add(page, pictures, "4")
    _mistakes(page, condition)
    _add(page, pictures, "5678")
    page.heading("Every run")
    page.table(runs_table(condition))


def _add(page: HtmlReport, pictures: dict[str, Path], numbers: Iterable[str]) -> None:
    for number in numbers:
        for caption, path in pictures.items():
            if caption.startswith(f"Figure {number}."):
                page.picture(path, caption)


def _what_was_done(page: HtmlReport, cache: CropCache, condition: Metrics) -> None:
    table = cache.table
    page.paragraph(
        f"This cache holds {len(table):,} crops ({cache.spec}) around points that "
        f"readers marked in {table['study_id'].nunique():,} studies. A network is "
        "shown a crop and names which of five conditions was looked at there; how "
        "severe it is plays no part. The paper's numbers are of the competition's "
        "1,975 studies. If this cache holds phantoms or few studies, ours and theirs "
        "stand side by side but do not compare, and ours say nothing about patients."
    )
    page.heading("What was trained, on what")
    page.paragraph(
        "Split `study` keeps all crops of a study on one side. Split `row` deals out "
        "single crops, as the paper's code did although its text says otherwise: it "
        "leaks. Slices `neighbours` shows the slice before, the labelled one and the "
        "slice after; `repeat` the labelled slice three times, as in the paper."
    )
    page.table(recipes_table(condition))
    page.heading("The crops")


def _accuracy(page: HtmlReport, condition: Metrics) -> None:
    page.heading("Table 2: top-1 accuracy, %")
    page.paragraph(
        "Corrected is the paper's accuracy at the checkpoint of best validation, from "
        "its authors' stored outputs. The 95 % interval resamples whole studies, since "
        "crops of a study err together; a crop that several folds or seeds tested "
        "counts once. With few test studies, or without an error, it is too narrow. "
        "Side: of the crops rightly called foraminal, how many have the "
        "right side. Merged: accuracy with the two foraminal classes taken as one. "
        "Mean ± sd is over runs, that is folds and seeds."
    )
    page.table(table2_full(condition))
    page.paragraph(
        "The paper's column is of its row-wise split with the labelled slice repeated: "
        "a row of ours with split `row` and slices `repeat` is its like, one with "
        "split `study` is the honest measure."
    )


def _references(page: HtmlReport, condition: Metrics) -> None:
    page.heading("Baselines without a network, %")
    page.points(REFERENCES)
    page.paragraph(
        "Each is worked out on the very test crops of the runs, from their training "
        "crops. The last row is of the real crops under the paper's split."
    )
    page.table(baselines_table(condition))


def _leakage(page: HtmlReport, condition: Metrics) -> None:
    page.heading("Leakage: what of the test set is in training too")
    page.paragraph(
        "Image seen: the share of test crops whose very image gave a crop to training. "
        "Under a study split every count must be 0."
    )
    page.table(leakage_table(condition))


def _mistakes(page: HtmlReport, condition: Metrics) -> None:
    page.heading("Which conditions are mistaken for which")
    page.paragraph(
        "Rows are the true condition, columns the predicted one, in the same order in "
        "all matrices. The paper's figures 6 and 7 have their labels in another order "
        "than their rows: its real error is left against right foraminal, everywhere."
    )
    page.paragraph("Precision and recall of each condition, %:")
    page.table(by_class(condition))
