"""What the prep benchmark holds the cache against."""

from pathlib import Path

import numpy as np
import pandas as pd
from dicom_files import SAGITTAL, plane, write_series

from benchmarks.prep_speed import Prepared, files_of_crops, floor, linked_copies
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


def test_linked_copies_are_studies_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    more = linked_copies(prepared(tmp_path / "one"), 3, tmp_path / "more")
    assert more.tables.points["study_id"].tolist() == [70, 71, 72]
    assert all((folder / "5.dcm").is_file() for folder in more.folders())
