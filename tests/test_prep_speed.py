"""What the prep benchmark holds the cache against."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from dicom_files import SAGITTAL, plane, write_series

from benchmarks import prep_speed
from benchmarks.linked_studies import Prepared
from benchmarks.prep_speed import files_of_crops, floor
from src.competition.tables import Competition

PIXELS = np.arange(30, dtype="u2").reshape(5, 6)


def prepared(folder: Path) -> Prepared:
    """One series of five slices with a point on the second."""
    planes = [plane((4 * n, -20, 30), SAGITTAL, (0.5, 0.75)) for n in range(5)]
    write_series(folder / "7/70", [PIXELS] * 5, planes)
    keys = {"study_id": [7], "series_id": [70]}
    points = pd.DataFrame({**keys, "instance_number": [2], "x": [1.0], "y": [2.0]})
    labels, series = pd.DataFrame({"study_id": [7]}), pd.DataFrame(keys)
    return Prepared(Competition(folder, labels, points, series), folder)


def test_the_floor_decodes_the_marked_slice_and_its_neighbours(tmp_path: Path) -> None:
    files = files_of_crops(prepared(tmp_path))
    shown = {path.name for path, shown in files if shown}
    assert shown == {"1.dcm", "2.dcm", "3.dcm"}
    assert len(files) == 5
    floor(files)


def test_the_benchmark_writes_every_table_and_the_plot(
    phantom: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = {}
    monkeypatch.setattr(
        prep_speed,
        "write_table",
        lambda section, rows, note: written.update({section: (rows, note)}),
    )
    monkeypatch.setattr(prep_speed, "GROWTH_PLOT", tmp_path / "growth.svg")
    flags = ["--data", str(phantom), "--studies", "1", "--turns", "1", "--write"]
    monkeypatch.setattr(sys, "argv", ["prep_speed", *flags])
    grow = prep_speed.grow
    monkeypatch.setattr(prep_speed, "grow", lambda *given: grow(*given, copies=(1, 2)))
    prep_speed.main()
    parts = ["crops", "overviews", "one pass"]
    parts += ["workers", "growth", "whole competition", "check"]
    assert list(written) == [f"Prep: {part}" for part in parts]
    assert "![" in written["Prep: growth"][1]
    assert (tmp_path / "growth.svg").is_file()
    assert "1,975 studies x" in written["Prep: whole competition"][1]
    assert "1 studies; median" in written["Prep: check"][1]
