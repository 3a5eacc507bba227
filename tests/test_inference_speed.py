"""The inference benchmark: linked copies of the test studies."""

from pathlib import Path

import pandas as pd
import pytest

from benchmarks import inference_speed
from benchmarks.inference_speed import link_copies


def test_copies_take_turns_among_the_originals_under_ids_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [(70, 7, "Axial T2"), (80, 8, "Sagittal T1"), (80, 9, "Axial T2")]
    columns = ["study_id", "series_id", "series_description"]
    table = pd.DataFrame(rows, columns=columns)
    for study, series, _ in rows:
        (tmp_path / "test_images" / str(study) / str(series)).mkdir(parents=True)
    monkeypatch.setattr(inference_speed, "read_test_series", lambda data: table)
    monkeypatch.setattr(inference_speed, "list_test_studies", lambda data: [70, 80])
    images = tmp_path / "copies"
    made = link_copies(tmp_path, images, 3)
    assert sorted(path.name for path in images.iterdir()) == ["1", "2", "3"]
    assert made[["study_id", "series_id"]].to_numpy().tolist() == [
        *([1, 7], [2, 8], [2, 9], [3, 7])
    ]
    for study, series in made[["study_id", "series_id"]].itertuples(index=False):
        assert (images / str(study) / str(series)).is_dir()
