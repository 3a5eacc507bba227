"""The condition task's part of the report: table 2, its pictures, report.html."""

from pathlib import Path
from typing import Any

import pandas as pd

from src.files import write_csv
from src.imaging.cache import Cache
from src.learning.runs import Run
from src.reporting import figures
from src.reporting.page import Page
from src.reporting.tables import table2


def write_condition_report(
    cache: Cache, runs: list[Run], metrics: dict[str, dict[str, Any]], out: Path
) -> list[dict[str, object]]:
    """Write table2.csv, figures/ and report.html to `out`; return the table's rows."""
    rows = table2(metrics)
    write_csv(pd.DataFrame(rows), out / "table2.csv")
    folder = out / "figures"
    figures.class_counts(cache.table, folder / "class_counts.png")
    figures.crop_samples(cache.crops, cache.table, folder / "crops.png")
    figures.accuracies(metrics, folder / "accuracy.png")
    histories = {run.config.name: run.history() for run in runs}
    figures.histories(histories, folder / "loss.png")
    figures.confusions(metrics, folder / "confusion.png")
    _page(cache, rows, folder).write(out / "report.html")
    return rows


def _page(cache: Cache, rows: list[dict[str, object]], folder: Path) -> Page:
    page = Page("Which condition a crop shows")
    page.paragraph(
        f"{len(cache.table):,} crops ({cache.spec}) of "
        f"{cache.table['study_id'].nunique():,} studies. The paper's figures are of "
        "the real competition under a split by rows, which leaks: studies in its test "
        "set are in its training set too. Ours are of this cache's studies under the "
        "split that each row names; `row` leaks, `study` does not."
    )
    page.table(rows)
    page.picture(folder / "accuracy.png", "Top-1 accuracy, ours beside the paper's")
    page.heading("Confusion on the test crops")
    page.paragraph(f"Rows are the true condition. {figures.SHORT_NOTE}.")
    page.picture(folder / "confusion.png", "A confusion matrix for each backbone")
    page.heading("Training")
    page.picture(folder / "loss.png", "Training and validation loss by epoch")
    page.heading("The crops")
    page.picture(folder / "class_counts.png", "Number of crops of each condition")
    page.picture(folder / "crops.png", "A crop of each condition with its neighbours")
    return page
