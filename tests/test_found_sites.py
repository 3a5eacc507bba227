"""Found sites in place of marked points: what is refused, and what is listed."""

from pathlib import Path

import pandas as pd
import pytest

from src.cache.found_sites import (
    NOT_FOUND,
    NOT_SOUGHT,
    sites_not_found,
    with_found_sites,
)
from src.competition.constants import SAGITTAL_T1, SAGITTAL_T2, SPINAL
from src.competition.tables import Competition, first_studies
from src.errors import UserError

LEFT = "left_neural_foraminal_narrowing"
LABELS = pd.DataFrame(
    [
        (1, SPINAL, "l4_l5", "severe"),
        (1, LEFT, "l4_l5", "moderate"),
        (1, LEFT, "l5_s1", None),
        (2, SPINAL, "l4_l5", "severe"),
        (3, SPINAL, "l4_l5", "moderate"),
    ],
    columns=["study_id", "condition", "level", "severity"],
)
SERIES = pd.DataFrame(
    [(1, 11, SAGITTAL_T2), (1, 12, SAGITTAL_T1), (2, 21, SAGITTAL_T2)],
    columns=["study_id", "series_id", "series_description"],
)
MARKED = pd.DataFrame({"study_id": [1], "x": [5.0]})
COMPETITION = Competition(Path("data"), LABELS, MARKED, SERIES)
HEADER = "study_id,series_id,instance_number,condition,level,x,y"
FIRST = f"1,11,3,{SPINAL},L4/L5,7.25,8"


def found(folder: Path, *rows: str, header: str = HEADER) -> Competition:
    path = folder / "found_sites.csv"
    path.write_text("\n".join([header, *rows]) + "\n")
    return with_found_sites(COMPETITION, path)


def test_found_sites_take_the_place_of_the_marked_and_labels_stay(
    tmp_path: Path,
) -> None:
    competition = found(tmp_path, FIRST, f"2,21,1,{SPINAL},l4_l5,1,2")
    assert competition.points.to_dict("records") == [
        {
            **{"study_id": study, "series_id": series, "instance_number": number},
            **{"condition": SPINAL, "level": "l4_l5", "x": x, "y": y},
        }
        for study, series, number, x, y in ((1, 11, 3, 7.25, 8.0), (2, 21, 1, 1.0, 2.0))
    ]
    assert competition.labels is LABELS
    assert competition.series is SERIES


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        (
            (FIRST, f"9,11,3,{SPINAL},l4_l5,7,8", f"8,11,3,{SPINAL},l4_l5,7,8"),
            r"study_id 9 of found_sites\.csv \(and 1 more rows\) is not in train\.csv; "
            r"give the sites that evaluate\.py found in this --data\.",
        ),
        (
            (FIRST, f"2,11,3,{SPINAL},l4_l5,7,8"),
            r"study_id 2 series_id 11 of found_sites\.csv is not in "
            r"train_series_descriptions\.csv; give",
        ),
        (
            (FIRST, f"1,12,4,{SPINAL},l4_l5,9,9"),
            r"study_id 1, condition .* on line 3 of found_sites\.csv stands there",
        ),
        ((f"1,11.5,3,{SPINAL},l4_l5,7,8",), "series_id '11.5' on line 2 .* whole num"),
        ((f"1,11,3,{SPINAL},l4_l5,7,inf",), "y 'inf' on line 2 .* a finite number"),
        ((f"1,11,3,{SPINAL},l6_s1,7,8",), "level 'l6_s1' on line 2"),
        ((), "has a header but no rows"),
    ],
)
def test_a_table_that_cannot_be_of_these_studies_is_refused_in_one_sentence(
    tmp_path: Path, rows: tuple[str, ...], sentence: str
) -> None:
    with pytest.raises(UserError, match=sentence) as refused:
        found(tmp_path, *rows)
    assert "\n" not in str(refused.value)


def test_a_table_without_a_column_or_a_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has no column 'y'"):
        found(tmp_path, FIRST, header=HEADER.replace(",y", ",z"))
    with pytest.raises(UserError, match=r"gone\.csv is not in"):
        with_found_sites(COMPETITION, tmp_path / "gone.csv")


def test_every_label_without_a_found_site_is_listed_with_the_reason(
    tmp_path: Path,
) -> None:
    rows = sites_not_found(found(tmp_path, FIRST))
    listed = rows[["study_id", "condition", "level", "reason"]].to_numpy().tolist()
    assert listed == [
        [1, LEFT, "l4_l5", NOT_FOUND],
        [2, SPINAL, "l4_l5", NOT_SOUGHT],
        [3, SPINAL, "l4_l5", NOT_SOUGHT],
    ]
    assert rows[["series_id", "instance_number"]].isna().all(axis=None)


def test_of_the_first_studies_only_theirs_are_listed(tmp_path: Path) -> None:
    competition = found(tmp_path, FIRST, f"2,21,1,{SPINAL},l4_l5,1,2")
    rows = sites_not_found(first_studies(competition, 1))
    assert rows["level"].tolist() == ["l4_l5"]
    assert len(sites_not_found(first_studies(competition, 2))) == 1
