"""What comes with the kit: a real series, and the locator that finds its levels."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pydicom import dcmread

from src.competition.constants import LEVELS, SAGITTAL_T2, SPINAL
from src.inference.findings import keeps_prior, prior_findings
from src.inference.pipeline import load_pipeline
from src.training.run_folder import read_runs

ROOT = Path(__file__).parents[1]
EXAMPLE, WEIGHTS = ROOT / "examples" / "spider", ROOT / "weights"
SPACING_MM = 0.9375
NEAR_MM = 8.0
# Tags that a file of the example may have: none holds a word of a person.
NAMING = ("PatientName", "PatientBirthDate", "InstitutionName", "StudyDate")


@pytest.fixture(scope="module")
def findings(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """Predict the example as a test study 7 with one series 8."""
    folder = tmp_path_factory.mktemp("example") / "7"
    (folder / "8").mkdir(parents=True)
    for path in sorted((EXAMPLE / "DICOM").rglob("IM*")):
        name = f"{int(path.name[2:])}.dcm"
        (folder / "8" / name).write_bytes(path.read_bytes())
    series = pd.DataFrame({"series_id": [8], "series_description": [SAGITTAL_T2]})
    pipeline = load_pipeline(WEIGHTS, read_runs(WEIGHTS), lambda sentence: None)
    prior = pd.DataFrame(read_runs(WEIGHTS)[0].config.prior)
    before = prior_findings([7], prior, "not read yet")
    return pipeline.predict(folder, series, before).findings


def test_the_locator_finds_the_canal_at_all_five_levels(findings: pd.DataFrame) -> None:
    marked = pd.read_csv(EXAMPLE / "canal_points.csv").set_index("level")
    found = findings[findings["condition"] == SPINAL].set_index("level")
    off = found.loc[list(LEVELS), ["x", "y"]] - marked.loc[list(LEVELS), ["x", "y"]]
    assert (np.linalg.norm(off.to_numpy(float), axis=1) * SPACING_MM).max() < NEAR_MM
    assert (found["source"] == "located").all()


def test_nothing_is_graded_by_it(findings: pd.DataFrame) -> None:
    assert keeps_prior(findings).all()
    assert findings["reason"].str.len().min() > 0


def test_the_example_and_the_weights_are_small_and_attributed() -> None:
    files = [path for path in EXAMPLE.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 2e6
    assert (WEIGHTS / "canal-locator.safetensors").stat().st_size < 20e6
    for card in (EXAMPLE / "README.md", WEIGHTS / "README.md", ROOT / "NOTICE"):
        text = card.read_text()
        assert "CC BY 4.0" in text, card
        assert "van der Graaf" in text, card


def test_no_file_of_the_example_could_name_a_person() -> None:
    paths = sorted((EXAMPLE / "DICOM").rglob("IM*"))
    assert len(paths) == 15
    for path in paths:
        dataset = dcmread(path, stop_before_pixels=True)
        assert not any(dataset.get(name) for name in NAMING)
        assert str(dataset.get("PatientID", "")).isdecimal()
