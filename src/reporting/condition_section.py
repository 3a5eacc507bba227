"""The report's section on the condition task: Table 2, baselines, leakage, figures."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from src.cache.crop_cache import CropCache
from src.files import replacing, write_csv
from src.metrics_schema import ConditionMetrics, PairedComparison
from src.reporting import plots
from src.reporting.html_report import HtmlReport
from src.reporting.matrix_tables import NAMES, matrix_groups
from src.reporting.plots import Figure, plot_accuracy, plot_confusions, plot_losses
from src.reporting.tables import (
    baselines_table,
    leakage_table,
    missing_experiments,
    precision_recall_table,
    recipes_table,
    runs_table,
    shared_settings,
    table2,
    table2_more,
    table2_paired,
    two_by_two,
)

FIGURES = {
    "class_counts": "How many crops show each condition",
    "crop_pipeline": "From a marked slice to a crop of three slices",
    "accuracy": "Top-1 accuracy with baselines, ours and the paper's",
    "loss": "Loss by epoch, log scale; rings mark the lowest",
}


def add_condition(
    page: HtmlReport,
    cache: CropCache,
    condition: ConditionMetrics,
    paired: PairedComparison,
    histories: Mapping[str, pd.DataFrame],
    out: Path,
) -> None:
    """Add the section to the page; write table2.csv and figures/ to `out`.

    condition, paired: metrics.json's entries, in display order; histories: by run name.
    """
    write_csv(pd.DataFrame(table2(condition)), out / "table2.csv")
    figures = draw_figures(cache, condition, histories, out / "figures")
    write_condition_section(page, cache, condition, paired, figures)


def draw_figures(
    cache: CropCache,
    condition: ConditionMetrics,
    histories: Mapping[str, pd.DataFrame],
    folder: Path,
) -> list[Figure]:
    """Draw the paper's figures 1 to 7, those that have runs."""
    counts, pipeline, accuracy, loss = (
        Figure(number, title, folder / f"figure{number}_{name}.png")
        for number, (name, title) in enumerate(FIGURES.items(), start=1)
    )
    plots.plot_class_counts(cache.sites, counts.path)
    draw_pipeline(cache, pipeline.path)
    plot_accuracy(condition, accuracy.path)
    plot_losses(condition, histories, loss.path)
    return [counts, pipeline, accuracy, loss, *plot_confusions(condition, folder)]


def draw_pipeline(cache: CropCache, path: Path) -> None:
    """Copy input_prep.py's preview, which shows whole slices; else draw crops."""
    preview = cache.path / "preview.png"
    if preview.is_file():
        with replacing(path) as temporary:
            shutil.copyfile(preview, temporary)
    else:
        plots.plot_crop_samples(cache.crops, cache.sites, path)


BASELINES = (
    "Majority class: the most frequent condition of the crop's series type. The series "
    "type gives away the family of conditions, but not the side.",
    "Random side: the family from the series type; the subarticular side is right, "
    "since an axial crop shows it; the foraminal side is a coin toss. A network above "
    "this baseline sees, or has memorized, the side of a sagittal foramen.",
    "Nearest neighbour: as before, but the foraminal side is that of the training crop "
    "on the nearest slice of the same series, and a coin toss if the series has none. "
    "Neighbour side is the share of foraminal sides that this gets right. Its lead "
    "over the random side is leakage: memory suffices, without looking at the image.",
)


def write_condition_section(
    page: HtmlReport,
    cache: CropCache,
    condition: ConditionMetrics,
    paired: PairedComparison,
    figures: Sequence[Figure],
) -> None:
    """Write the section, each figure in its part."""
    page.heading("Which condition a crop shows: the paper's experiment, repeated")
    _add_experiment(page, cache)
    _add_accuracy(page, condition, paired)
    _add_figures(page, figures, 3)
    _add_experiments(page, condition)
    _add_errors(page, condition)
    page.heading("Losses", level=3)
    page.paragraph(
        "Training and validation loss are means over crops, on one scale. In the "
        "paper's figure the evaluation loss of ResNet and MNASNet was divided by the "
        "size of the training set, which makes it 5.3 times too small on the test set."
    )
    _add_figures(page, figures, 4)
    _add_baselines(page, condition)
    _add_leakage(page, condition)
    _add_settings(page, condition)
    page.heading("The crops", level=3)
    _add_figures(page, figures, 1, 2)
    page.heading("All runs", level=3)
    page.table(runs_table(condition))


def _add_figures(page: HtmlReport, figures: Sequence[Figure], *numbers: int) -> None:
    for figure in figures:
        if figure.number in numbers:
            page.picture(figure.path, figure.caption)


def _add_experiment(page: HtmlReport, cache: CropCache) -> None:
    table = cache.sites
    page.paragraph(
        f"The cache holds {len(table):,} crops ({cache.spec}) around the marked points "
        f"of {table['study_id'].nunique():,} studies. A network is given a crop and "
        "predicts which of five conditions was rated there; severity plays no part. "
        "The paper's numbers are of the competition's 1,975 studies. If this cache "
        "holds phantoms or few studies, our numbers are not comparable with the "
        "paper's and say nothing about patients."
    )
    page.paragraph(
        "The `study` split keeps all crops of a study on one side. The `row` split "
        "assigns single crops at random, as the paper's code does although its text "
        "says otherwise, and leaks. `neighbours` is the slice before, the labelled "
        "slice and the slice after; `repeat` is the labelled slice three times, as in "
        "the paper."
    )


def _add_settings(page: HtmlReport, condition: ConditionMetrics) -> None:
    page.heading("Training settings", level=3)
    page.paragraph(shared_settings(condition))
    page.table(recipes_table(condition))


def _add_experiments(page: HtmlReport, condition: ConditionMetrics) -> None:
    page.heading("Two by two: splits and slices", level=3)
    page.paragraph(
        "The split and the slices changed one at a time, top-1 accuracy in %. The "
        "difference between the splits is what leakage is worth; that between the "
        "slices is what the neighbouring slices bring. Runs that differ in anything "
        "else stand one after the other."
    )
    page.table(two_by_two(condition))
    if missing := missing_experiments(condition):
        page.bullets(missing)


def _add_accuracy(
    page: HtmlReport, condition: ConditionMetrics, paired: PairedComparison
) -> None:
    page.heading("Table 2: top-1 accuracy, %", level=3)
    page.paragraph(
        "Top-1 accuracy is the share of crops whose likeliest condition is the rated "
        "one. "
        "Corrected: the paper's accuracy at the checkpoint with the best validation, "
        "from its authors' stored outputs. 95 %: bootstrap interval over studies, "
        "since the errors of a study's crops are correlated; a crop that several folds "
        "or seeds tested counts once. With few test studies, or with no error, it is "
        "too narrow. Behind the best: the paired difference to the best entry that was "
        "tested on the same crops, in percentage points, and its 95 % interval; the "
        "difference is shown where the interval leaves out 0."
    )
    page.table(table2_paired(condition, paired))
    page.paragraph(
        "Side: among foraminal crops predicted as foraminal, the share with the "
        "correct side. Merged: accuracy with both foraminal classes as one. Mean ± sd: "
        "over runs, that is, folds and seeds; sd is the standard deviation."
    )
    page.table(table2_more(condition))
    page.paragraph(
        "The paper's columns are of its row split with the labelled slice repeated. "
        "Compare them with our rows of split `row` and slices `repeat`; rows of split "
        "`study` do not leak."
    )


def _add_baselines(page: HtmlReport, condition: ConditionMetrics) -> None:
    page.heading("Baselines without a network, %", level=3)
    page.bullets(BASELINES)
    page.paragraph(
        "Each baseline is computed on the test crops of the runs, from their training "
        "crops. The last row is of the real crops under the paper's split."
    )
    page.table(baselines_table(condition))


def _add_leakage(page: HtmlReport, condition: ConditionMetrics) -> None:
    page.heading("Leakage: train/test overlap", level=3)
    page.paragraph(
        "How many of the test set's studies, series, images and crops are also in the "
        "training set. Shared image: the share of test crops whose image has training "
        "crops too. Under a study split all counts must be 0."
    )
    page.table(leakage_table(condition))


def _add_errors(page: HtmlReport, condition: ConditionMetrics) -> None:
    page.heading("Confusion matrices", level=3)
    page.paragraph(
        "Rows are the true condition, columns the predicted one, in the same order in "
        "all matrices. In the paper's figures 6 and 7 the labels are in another order "
        "than the rows; its actual confusion is left against right foraminal, in all "
        "its networks."
    )
    page.fragment("matrices.html.jinja", groups=matrix_groups(condition), names=NAMES)
    page.paragraph(
        "Precision is the share of right ones among the crops predicted as a "
        "condition, recall among those rated as it, in %:"
    )
    page.table(precision_recall_table(condition))
