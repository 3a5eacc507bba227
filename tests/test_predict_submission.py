"""predict_submission.py: what it passes to the pipeline, and what it writes."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fake_condition_runs import description, write_run

import predict_submission
from src.competition import submission
from src.competition.constants import SPINAL, TARGETS
from src.competition.prior import uniform
from src.errors import UserError
from src.inference import pipeline, predict_studies
from src.inference.findings import merge_into_findings
from src.inference.predicted_study import PredictedStudy
from src.inference.study import Study
from src.localization.locate import LocatedSite
from src.training.run_folder import Run

STUDIES = [7, 12, 130]
SITE = (SPINAL, "l4_l5")
PRIOR = uniform().assign(normal_mild=0.2, moderate=0.3, severe=0.5).to_dict("records")


class FakePipeline:
    """Grades one site of each study in 20 s of its own clock."""

    def __init__(self, out: Path) -> None:
        """Read the submission at `out` as it is before any study is read."""
        self.before = submission.read_submission(out)
        self.now = 0.0
        self.calls: list[tuple[Path, list[int]]] = []

    def monotonic(self) -> float:
        """Return the clock's time."""
        return self.now

    def predict(
        self, folder: Path, listed: pd.DataFrame, findings: pd.DataFrame
    ) -> PredictedStudy:
        """Grade one site."""
        self.now += 20
        self.calls.append((folder, listed["series_id"].tolist()))
        site = LocatedSite(5, 6, 7.5, 8.5, np.zeros(3), 0.8, "located")
        rows = merge_into_findings(
            findings, {SITE: site}, {SITE: np.array([0.1, 0.2, 0.7])}, {}
        )
        return PredictedStudy(Study(int(folder.name)), rows)


@pytest.fixture
def kit(tmp_path: Path) -> Path:
    """Three test studies without an image, labels that are all severe, and a run."""
    data = tmp_path / "data"
    for study in STUDIES:
        (data / "test_images" / str(study)).mkdir(parents=True)
    rows = [(7, 70, "Axial T2"), (130, 131, "Sagittal T1"), (130, 132, "Axial T2")]
    columns = ["study_id", "series_id", "series_description"]
    table = pd.DataFrame(rows, columns=columns)
    table.to_csv(data / "test_series_descriptions.csv", index=False)
    labels = pd.DataFrame([[1, *["Severe"] * 25]], columns=["study_id", *TARGETS])
    labels.to_csv(data / "train.csv", index=False)
    write_run(tmp_path / "runs", description(prior=PRIOR), pd.DataFrame())
    return tmp_path


def predict(
    kit: Path, monkeypatch: pytest.MonkeyPatch, *flags: object, lacking: str = ""
) -> FakePipeline | None:
    """Run the script; `lacking`: why the runs cannot read a study."""
    made: list[FakePipeline] = []

    def load(folder: Path, runs: list[Run], log: object) -> FakePipeline:
        assert folder == kit / "runs"
        assert [run.config.backbone for run in runs] == ["vgg11"]
        if lacking:
            raise UserError(lacking)
        made.append(FakePipeline(kit / "out" / "submission.csv"))
        monkeypatch.setattr(predict_studies, "time", made[0])
        return made[0]

    monkeypatch.setattr(pipeline, "load_pipeline", load)
    words = ["--data", kit / "data", "--runs", kit / "runs"]
    words += ["--out", kit / "out" / "submission.csv", *flags]
    monkeypatch.setattr("sys.argv", ["predict_submission.py", *map(str, words)])
    predict_submission.main()
    return made[0] if made else None


def findings(kit: Path) -> pd.DataFrame:
    return pd.read_csv(kit / "out" / "findings.csv")


def test_each_test_study_is_read_from_its_own_images_and_series(
    kit: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    used = predict(kit, monkeypatch)
    images = kit / "data" / "test_images"
    assert used.calls == [
        (images / "7", [70]),
        (images / "12", []),
        (images / "130", [131, 132]),
    ]
    assert (findings(kit)["source"] == "located").sum() == 3
    assert "ALL ROWS ARE THE PRIOR" not in capsys.readouterr().out


def test_a_submission_of_the_runs_prior_is_written_before_a_study_is_read(
    kit: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    used = predict(kit, monkeypatch)
    submission.check_submission(used.before, STUDIES)
    assert set(used.before["severe"]) == {0.5}
    after = submission.read_submission(kit / "out" / "submission.csv").set_index(
        "row_id"
    )
    submission.check_submission(after.reset_index(), STUDIES)
    assert after["severe"].value_counts().to_dict() == {0.5: 72, 0.7: 3}
    assert after.loc["12_spinal_canal_stenosis_l4_l5", "severe"] == 0.7


@pytest.mark.parametrize(("minutes", "read"), [("0.5", 1), ("0.7", 2), ("1", 3)])
def test_the_time_limit_is_in_minutes(
    kit: Path, monkeypatch: pytest.MonkeyPatch, minutes: str, read: int
) -> None:
    used = predict(kit, monkeypatch, "--limit-minutes", minutes)
    assert len(used.calls) == read
    late = findings(kit).loc[lambda rows: rows["study_id"].isin(STUDIES[read:])]
    assert late["reason"].astype(str).str.contains(f"limit of {minutes} minutes").all()


def test_without_a_pipeline_every_row_is_the_prior_with_the_reason(
    kit: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    assert predict(kit, monkeypatch, lacking="no usable location run") is None
    rows = findings(kit)
    assert set(rows["source"]) == {"prior"}
    assert set(rows["reason"]) == {"no usable location run"}
    assert set(rows["severe"]) == {0.5}
    assert "ALL ROWS ARE THE PRIOR" in capsys.readouterr().out


def test_findings_go_to_the_path_that_is_given(
    kit: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    predict(kit, monkeypatch, "--findings", kit / "elsewhere.csv")
    assert len(pd.read_csv(kit / "elsewhere.csv")) == 75
    assert not (kit / "out" / "findings.csv").exists()
    one = ("--findings", kit / "out" / "submission.csv")
    with pytest.raises(UserError, match="one file"):
        predict(kit, monkeypatch, *one)


def test_a_share_of_all_findings_is_marked_for_review(
    kit: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    predict(kit, monkeypatch)
    assert findings(kit)["review"].tolist() == [0] * 75
    assert "for review" not in capsys.readouterr().out
    predict(kit, monkeypatch, "--review", "0.1")
    rows = findings(kit)
    assert rows["review"].sum() == 8  # 7.5 rounded up
    # Doubtful alike, a canal's row weighs twice a recess's: its term has half as many.
    marked = rows[rows["review"] == 1]
    assert set(marked["condition"]) == {SPINAL}
    assert "Marked 8 of 75 findings for review, in 2 studies" in capsys.readouterr().out
    submission.check_submission(
        submission.read_submission(kit / "out" / "submission.csv"), STUDIES
    )


@pytest.mark.parametrize("share", ["0", "-0.1", "1.01", "nan", "some"])
def test_a_share_outside_0_to_1_is_refused(
    kit: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
    share: str,
) -> None:
    with pytest.raises(SystemExit) as end:
        predict(kit, monkeypatch, f"--review={share}")
    assert end.value.code == 2
    assert "argument --review" in capsys.readouterr().err
    assert not (kit / "out" / "findings.csv").exists()


def test_a_folder_without_runs_costs_no_submission(
    kit: Path, capsys: pytest.CaptureFixture
) -> None:
    assert predict_submission.usable_runs(kit / "none") == []
    assert "not a folder" in capsys.readouterr().out
    [run] = predict_submission.usable_runs(kit / "runs")
    assert run.config.prior == PRIOR


def test_without_a_usable_run_each_study_has_a_page_that_says_why(
    kit: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pages = kit / "pages"
    predict(kit, monkeypatch, "--report", pages, lacking="no usable location run")
    names = {path.name for path in pages.iterdir()}
    assert names == {"index.html", *(f"{study}.html" for study in STUDIES)}
    assert "no usable location run" in (pages / f"{STUDIES[0]}.html").read_text()
    assert f"Wrote {len(STUDIES)} pages: open {pages}" in capsys.readouterr().out


def test_attention_without_pages_is_a_mistake_of_usage(
    kit: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        predict(kit, monkeypatch, "--report-attention")
    assert ended.value.code == 2
    assert "--report-attention needs --report DIR" in capsys.readouterr().err
