"""What the inference notebook shows: the right study, slice, site and probability."""

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from cache_cohort import write_images
from kept_figures import image, points, texts
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from pydicom import dcmread

from src.competition.constants import CONDITIONS, LEVELS, SEVERITIES
from src.competition.prior import uniform
from src.inference.findings import prior_findings
from src.kaggle import notebook_display
from src.kaggle.notebook_display import COLOURS, UNREAD, by_study, cost, draw_study
from src.kaggle.run_inference import InferenceResult

LEFT, SPINAL = CONDITIONS[0], CONDITIONS[4]
# Two T1 series of study 1 and a T2 one of study 2; those that are not in the patient's
# order have the files 9, 3, 5 (series 11) and 1, 7, 4 (series 12).
SERIES = """study_id,series_id,series_description
1,11,Sagittal T1
1,12,Sagittal T1
2,21,Sagittal T2/STIR
"""
# Condition, level, series, instance, x, y and the three probabilities.
READ = [
    (LEFT, "l1_l2", 12, 7, 5, 20, 0.7, 0.2, 0.1),
    (LEFT, "l2_l3", 12, 7, 6, 28, 0.1, 0.6, 0.3),
    (LEFT, "l3_l4", 12, 4, 7, 11, 0.2, 0.1, 0.7),
    (SPINAL, "l4_l5", 11, 7, 30, 9, 0.05, 0.1, 0.85),
    (SPINAL, "l5_s1", 11, 3, 29, 8, 0.5, 0.3, 0.2),
]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A test of the two studies of cache_cohort."""
    root = tmp_path_factory.mktemp("test")
    write_images(root / "test_images")
    (root / "test_series_descriptions.csv").write_text(SERIES)
    return root


def shows(axes: Axes, path: Path) -> bool:
    """Say whether some axes show a file's pixels, however they are windowed."""
    shown, stored = image(axes).astype(float), dcmread(path).pixel_array
    return np.corrcoef(shown.ravel(), stored.ravel())[0, 1] > 0.98


def findings() -> pd.DataFrame:
    """Study 1 with five sites that were read; of study 2 one, the surest severe."""
    table = prior_findings([1, 2], uniform(), "no readable series")
    table["severe"] = 0.9  # the prior's, which is no finding
    table = table.set_index(["study_id", "condition", "level"])
    columns = ["series_id", "instance_number", "x", "y", *SEVERITIES]
    for condition, level, *found in READ:
        table.loc[(1, condition, level), columns] = found
        table.loc[(1, condition, level), ["source", "reason"]] = ("located", "")
    table.loc[(1, SPINAL, "l5_s1"), "source"] = "projected"
    table.loc[(2, LEFT, "l5_s1"), columns] = (21, 5, 3, 4, 0.0, 0.01, 0.99)
    table.loc[(2, LEFT, "l5_s1"), "source"] = "located"
    return table.reset_index()


@pytest.fixture(scope="module")
def picture(data: Path) -> Figure:
    return draw_study(data, 1, findings())


def test_a_picture_shows_the_series_and_slice_with_most_sites(
    picture: Figure, data: Path
) -> None:
    first, second, third, _ = picture.axes
    assert shows(first, data / "test_images/1/12/7.dcm")
    assert first.get_title() == "Sagittal T1"
    for axes in (second, third):
        assert [*texts(axes).values()] == ["no such series in this study"]
    title = picture.get_suptitle()
    assert title == "Study 1: 20 prior, 4 located, 1 projected"


def test_a_picture_marks_what_was_found_on_its_slice_alone(picture: Figure) -> None:
    first = picture.axes[0]
    assert points(first, "o") == [(5, 20), (6, 28)]
    assert texts(first) == {(5, 20): "L1/L2", (6, 28): "L2/L3"}
    colours = [to_hex(line.get_color()) for line in first.lines]
    assert colours == [COLOURS["normal_mild"], COLOURS["moderate"]]


def test_another_study_has_a_picture_of_its_own(data: Path) -> None:
    figure = draw_study(data, 2, findings())
    assert points(figure.axes[1], "o") == [(3, 4)]
    assert shows(figure.axes[1], data / "test_images/2/21/5.dcm")


def test_a_series_without_a_site_shows_its_middle_slice(data: Path) -> None:
    figure = draw_study(data, 2, findings().assign(series_id=None))
    assert shows(figure.axes[1], data / "test_images/2/21/6.dcm")
    assert points(figure.axes[1], "o") == []


def test_an_unreadable_series_is_replaced_by_the_next(
    data: Path, tmp_path: Path
) -> None:
    shutil.copytree(data, tmp_path / "test")
    for path in (tmp_path / "test" / "test_images" / "1" / "12").iterdir():
        path.write_bytes(b"no DICOM")
    table = findings()
    table.loc[table["series_id"] == 11, "instance_number"] = 3
    first = draw_study(tmp_path / "test", 1, table).axes[0]
    assert shows(first, data / "test_images/1/11/3.dcm")
    assert points(first, "o") == [(30, 9), (29, 8)]


def test_the_grid_has_each_prediction_in_its_cell(picture: Figure) -> None:
    grid = picture.axes[-1]
    words, colours = texts(grid), image(grid)
    assert len(words) == 25
    for (condition, level, *_, normal, moderate, severe), letter in zip(
        READ, "NMSSN", strict=True
    ):
        row, column = CONDITIONS.index(condition), LEVELS.index(level)
        most = max(normal, moderate, severe)
        assert words[column, row] == f"{letter} {most:.2f}"
        name = dict(zip("NMS", SEVERITIES, strict=True))[letter]
        full = np.array(to_rgb(COLOURS[name]))
        assert colours[row, column] == pytest.approx(1 - most * (1 - full))
    assert words[3, 1] == "S 0.90\nprior"
    assert colours[1, 3] == pytest.approx(np.array(to_rgb(UNREAD)))
    levels = [label.get_text() for label in grid.get_xticklabels()]
    assert levels == ["L1/L2", "L2/L3", "L3/L4", "L4/L5", "L5/S1"]
    sides = [label.get_text().split()[0] for label in grid.get_yticklabels()]
    assert sides == ["left", "left", "right", "right", "spinal"]


def test_the_likeliest_severe_site_is_a_graded_one() -> None:
    first, second = by_study(findings()).to_dict("records")
    assert first == {
        **{"study": 1, "located": 4, "projected": 1, "prior": 20},
        **{"likeliest severe": "L4/L5 spinal canal stenosis", "probability": 0.85},
    }
    assert second["likeliest severe"] == "L5/S1 left neural foraminal narrowing"
    assert second["probability"] == 0.99


def test_the_cost_of_two_studies_is_scaled_to_750(tmp_path: Path) -> None:
    [row] = cost(
        InferenceResult(tmp_path, "k", tmp_path, [1, 2], seconds=24.0, peak_mb=811.6)
    ).to_dict("records")
    assert row == {
        **{"studies": 2, "seconds": 24.0, "seconds a study": 12.0},
        **{"hours for 750": 2.5, "peak memory, MB": 812},
    }


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the notebook displays: tables by their titles, studies as they are drawn."""
    seen: list[Any] = []
    monkeypatch.delenv("KAGGLE_IS_COMPETITION_RERUN", raising=False)

    def display(thing: Any) -> None:
        drawn = isinstance(thing, SimpleNamespace)
        seen.append(thing.call if drawn else (thing.caption, thing.data))

    def draw(data: Path, study: int, table: pd.DataFrame) -> SimpleNamespace:
        return SimpleNamespace(call=(data, study, len(table)))

    monkeypatch.setattr(notebook_display, "display", display)
    monkeypatch.setattr(notebook_display, "draw_study", draw)
    monkeypatch.setattr(notebook_display.plt, "close", lambda _: None)
    return seen


def answer(**changes: Any) -> InferenceResult:
    given = {"findings": findings(), "seconds": 24.0} | changes
    return InferenceResult(Path("data"), "kit", Path("out"), [1, 2, 3, 4], **given)


def test_the_notebook_shows_its_tables_and_the_first_studies(shown: list[Any]) -> None:
    notebook_display.show_result(answer(), pictures=2)
    *tables, first, second = shown
    assert [first, second] == [(Path("data"), 1, 50), (Path("data"), 2, 50)]
    shown_tables = dict(tables)
    assert [*shown_tables] == [
        *("Time and memory", "Sources of the predictions"),
        *("Fallback reasons", "Studies"),
    ]
    took, sources, reasons, studies = shown_tables.values()
    assert took["seconds a study"].tolist() == [6.0]
    assert sources.set_index("family").loc["all", "located"] == 5
    assert reasons.to_dict("records") == [
        {"reason": "no readable series", "sites": 44, "studies": 2}
    ]
    assert studies["study"].tolist() == [1, 2]


def test_the_notebook_shows_nothing_in_the_rerun(
    shown: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAGGLE_IS_COMPETITION_RERUN", "1")
    notebook_display.show_result(answer())
    assert shown == []


def test_missing_findings_are_reported(
    shown: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    notebook_display.show_result(answer(findings=None))
    assert [title for title, _ in shown] == ["Time and memory"]
    assert "every prediction is the prior" in capsys.readouterr().out
