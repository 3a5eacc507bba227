"""The condition task's part of the report: Table 2, its figures, report.html."""

import shutil
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from src.files import replacing, write_csv
from src.imaging.cache import Cache
from src.reporting import figures, story
from src.reporting.charts import accuracies
from src.reporting.confusions import draw_confusions
from src.reporting.losses import losses
from src.reporting.page import Page
from src.reporting.tables import Metrics, table2


def add_condition(
    page: Page,
    cache: Cache,
    condition: Metrics,
    histories: Mapping[str, pd.DataFrame],
    out: Path,
) -> None:
    """Add the section; write table2.csv and figures/ to `out`.

    condition: metrics.json's entry, in the order to show; histories: by run's name.
    """
    write_csv(pd.DataFrame(table2(condition)), out / "table2.csv")
    pictures = draw_figures(cache, condition, histories, out / "figures")
    story.tell(page, cache, condition, pictures)


def draw_figures(
    cache: Cache,
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
    figures.class_counts(cache.table, counts)
    draw_pipeline(cache, pipeline)
    accuracies(condition, accuracy)
    losses(condition, histories, loss)
    return {
        "Figure 1. How many crops show each condition": counts,
        "Figure 2. From a marked slice to a crop with its neighbours": pipeline,
        "Figure 3. Accuracy, the paper's, and each test set's own lines": accuracy,
        "Figure 4. Loss by epoch, logarithmic; a ring at the best": loss,
        **draw_confusions(condition, folder),
    }


def draw_pipeline(cache: Cache, path: Path) -> None:
    """Take input_prep.py's preview, which has whole slices; without it draw crops."""
    preview = cache.path / "preview.png"
    if preview.is_file():
        with replacing(path) as temporary:
            shutil.copyfile(preview, temporary)
    else:
        figures.crop_samples(cache.crops, cache.table, path)
