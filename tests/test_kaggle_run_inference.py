"""The notebook's answer: complete in the rerun whatever happens, loud outside it."""

import shutil
from collections.abc import Callable
from pathlib import Path

import kaggle_kit
import pandas as pd
import pytest
from kaggle_kit import make_kit

from src.competition import submission
from src.competition.prior import uniform
from src.errors import UserError
from src.inference.findings import fallback_reasons, prior_findings, sources
from src.kaggle import run_inference
from src.kaggle.names import COMPETITION
from src.kaggle.notebook_display import by_study, cost, draw_study
from src.kaggle.rehearse import estimate, hidden_test
from src.kaggle.run_inference import InferenceResult, predict_test_set, read_run_info

Hidden = Callable[[int], Path]


@pytest.fixture
def hidden(
    phantom: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[int], Path]:
    """Mount a hidden test of N studies, numbered from 101; return its folder."""
    monkeypatch.setenv("KAGGLE_INPUT", str(tmp_path / "input"))
    monkeypatch.delenv("KAGGLE_IS_COMPETITION_RERUN", raising=False)

    def mount(studies: int) -> Path:
        root = tmp_path / "input" / "competitions" / COMPETITION
        hidden_test(phantom, root, studies)
        return root

    return mount


def answered(tmp_path: Path, script: str = kaggle_kit.LOCATES) -> InferenceResult:
    return predict_test_set(make_kit(tmp_path, script), tmp_path)


def sources_of(result: InferenceResult) -> dict[int, str]:
    """The one source that all of a study's answers have."""
    grouped = result.findings.groupby("study_id")["source"]
    return {study: "".join(set(kinds)) for study, kinds in grouped}


def test_many_studies_are_predicted(hidden: Hidden, tmp_path: Path) -> None:
    hidden(25)
    result = answered(tmp_path)
    assert result.problems == []
    result.verify()
    frame = submission.read_submission(result.submission)
    assert len(frame) == 25 * 25
    assert set(sources_of(result).values()) == {"located"}
    note = read_run_info(tmp_path)
    assert note["rows"] == {"located": 625}
    assert note["kit"] == result.kit
    assert note["peak_mb"] > 20


def test_studies_that_cannot_be_read_keep_the_prior(
    hidden: Hidden, tmp_path: Path
) -> None:
    data = hidden(5)
    images = data / "test_images"
    for path in (images / "102").rglob("*.dcm"):
        path.unlink()
        path.write_bytes(b"not a DICOM file")
    shutil.rmtree(images / "103")
    (images / "103").mkdir()
    shutil.rmtree(images / "104")
    first_series = sorted((images / "105").iterdir())[0]
    shutil.rmtree(first_series)
    result = answered(tmp_path)
    result.verify()
    counts = sources_of(result)
    assert counts == {
        **{101: "located", 102: "prior", 103: "prior", 104: "prior", 105: "located"}
    }
    [row] = fallback_reasons(result.findings)
    assert (row["sites"], row["studies"]) == (75, 3)
    for study in counts:
        figure = draw_study(data, study, result.findings)
        assert len(figure.axes) == 4


@pytest.mark.parametrize(
    ("script", "sentence"),
    [
        ("FAILS", "predict_submission.py failed: it exited with 1"),
        ("DIES", "predict_submission.py failed: it exited with -9"),
        ("HANGS", "predict_submission.py failed: it was stopped after 0 minutes"),
        ("DIES_HALFWAY", "predict_submission.py failed: it exited with 3"),
        ("WRITES_NONSENSE", "its findings are unusable: "),
    ],
)
def test_a_broken_script_leaves_the_prior_and_is_refused_outside_the_rerun(
    hidden: Hidden,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    script: str,
    sentence: str,
) -> None:
    hidden(2)
    monkeypatch.setattr(run_inference, "GRACE_MINUTES", 0.02)
    monkeypatch.setenv("KIT_LIMIT_MINUTES", "0.05")
    result = answered(tmp_path, getattr(kaggle_kit, script))
    assert result.problems[0].startswith(sentence)
    submission.check_submission(
        submission.read_submission(result.submission), [101, 102]
    )
    with pytest.raises(UserError, match="NOT FIT TO SUBMIT"):
        result.verify()
    monkeypatch.setenv("KAGGLE_IS_COMPETITION_RERUN", "1")
    result.verify()


@pytest.mark.parametrize(
    ("lose", "sentence"),
    [
        ("runs/condition-tiny/weights.safetensors", "missing from the kit"),
        ("manifest.json", r"manifest\.json is missing"),
        ("predict_submission.py", "missing from the kit"),
    ],
)
def test_an_incomplete_kit_is_refused_outside_the_rerun(
    hidden: Hidden,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    lose: str,
    sentence: str,
) -> None:
    hidden(1)
    kit = make_kit(tmp_path)
    (kit / lose).unlink()
    result = predict_test_set(kit, tmp_path)
    with pytest.raises(UserError, match=sentence):
        result.verify()
    monkeypatch.setenv("KAGGLE_IS_COMPETITION_RERUN", "1")
    result.verify()
    submission.check_submission(submission.read_submission(result.submission), [101])


def test_a_kit_without_any_run_is_refused_outside_the_rerun(
    hidden: Hidden, tmp_path: Path
) -> None:
    hidden(1)
    kit = make_kit(tmp_path)
    shutil.rmtree(kit / "runs")
    with pytest.raises(UserError, match="the kit has no weights"):
        predict_test_set(kit, tmp_path).verify()


def test_a_submission_of_priors_alone_is_refused_outside_the_rerun(
    hidden: Hidden, tmp_path: Path
) -> None:
    data = hidden(1)
    shutil.rmtree(data / "test_images")
    with pytest.raises(UserError, match="every prediction is the prior"):
        answered(tmp_path).verify()


def test_the_prior_is_of_the_training_labels_where_they_are_mounted(
    hidden: Hidden, phantom: Path, tmp_path: Path
) -> None:
    data = hidden(1)
    shutil.copy(phantom / "train.csv", data)
    result = answered(tmp_path, kaggle_kit.FAILS)
    frame = submission.read_submission(result.submission)
    assert frame["normal_mild"].nunique() > 3


@pytest.mark.parametrize(
    ("flag", "rerun"), [(None, False), ("", False), ("0", False), ("1", True)]
)
def test_the_rerun_is_known_by_its_flag(
    monkeypatch: pytest.MonkeyPatch, flag: str | None, rerun: bool
) -> None:
    name = "KAGGLE_IS_COMPETITION_RERUN"
    monkeypatch.delenv(name, raising=False)
    if flag is not None:
        monkeypatch.setenv(name, flag)
    assert run_inference.in_rerun() is rerun


@pytest.fixture
def findings() -> pd.DataFrame:
    """Two studies: the first is located but for three sites of two reasons."""
    table = prior_findings([1, 2], uniform(), "no readable series")
    first = table["study_id"] == 1
    table.loc[first, ["source", "reason"]] = ("located", None)
    canal = first & (table["condition"] == "spinal_canal_stenosis")
    table.loc[canal & (table["level"] == "l1_l2"), "source"] = "prior"
    table.loc[canal & (table["level"] == "l4_l5"), "severe"] = 0.9
    return table


def test_tables_count_what_was_found(findings: pd.DataFrame) -> None:
    counts = {row["family"]: row for row in sources(findings)}
    assert counts["all"]["all"] == 50
    assert counts["all"]["located"] == 24
    assert counts["spinal"]["prior"] == 6
    reasons = {row["reason"]: row["sites"] for row in fallback_reasons(findings)}
    assert reasons == {"no readable series": 25, "no reason given": 1}
    first, second = by_study(findings).to_dict("records")
    assert first["likeliest severe"] == "L4/L5 spinal canal stenosis"
    assert first["probability"] == 0.9
    assert second["likeliest severe"] == "no site was graded"
    assert (first["located"], first["prior"], second["prior"]) == (24, 1, 25)
    assert len(by_study(findings, count=1)) == 1


def test_cost_is_scaled_to_the_hidden_test(tmp_path: Path) -> None:
    result = InferenceResult(tmp_path, "kit", tmp_path, list(range(10)), seconds=48.0)
    [row] = cost(result).to_dict("records")
    # 4.8 s a study, 750 studies: exactly one hour.
    assert row["hours for 750"] == 1.0
    assert row["seconds a study"] == 4.8


def test_a_study_without_files_is_still_drawn(
    hidden: Hidden, findings: pd.DataFrame
) -> None:
    data = hidden(1)
    shutil.rmtree(data / "test_images")
    figure = draw_study(data, 101, findings.assign(study_id=101))
    texts = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert sum("cannot be read" in text for text in texts) == 3
    figure = draw_study(data, 1, findings)
    texts = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert texts.count("no such series in this study") == 3


def test_the_hidden_test_is_estimated_from_two_rehearsals() -> None:
    few = {"studies": 1, "script s": 10.0, "peak MB": 1000}
    many = {"studies": 26, "script s": 60.0, "peak MB": 1100}
    # Two seconds a study, after eight to start: 1,508 s.
    assert estimate([many, few]).startswith("750 studies would take 0.42 hours (2.00 s")
    with pytest.raises(UserError, match="Memory grows"):
        estimate([few, {**many, "peak MB": 1300}])
