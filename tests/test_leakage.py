"""Train/test overlap, counted by hand."""

import pandas as pd
import pytest
from fake_condition_runs import sites

from src.classification.leakage import SITE, leakage


def crops(*rows: tuple[int, int, int, str]) -> pd.DataFrame:
    """Crops by study, series, instance and level, of one condition."""
    table = pd.DataFrame(rows, columns=["study_id", "series_id", *SITE[2:5:2]])
    return table.assign(condition="spinal_canal_stenosis")


def test_the_overlap_is_counted_by_unit() -> None:
    train = crops((1, 10, 3, "l1_l2"), (2, 20, 3, "l1_l2"))
    test = crops(
        (1, 10, 3, "l2_l3"),  # the same image
        (1, 10, 3, "l3_l4"),  # and again
        (1, 10, 4, "l4_l5"),  # another image of the series
        (1, 11, 3, "l1_l2"),  # another series of the study, the same instance number
        (3, 20, 3, "l1_l2"),  # another study that names a series alike
    )
    shared = leakage(train, test)
    counts = {
        unit: (shared[unit]["also_in_train"], shared[unit]["test"]) for unit in shared
    }
    assert counts == {
        "studies": (1, 2),
        "series": (1, 3),
        "images": (1, 4),
        "crops": (0, 5),
    }
    shares = [shared[unit]["share_of_crops"] for unit in shared]
    assert shares == pytest.approx([4 / 5, 3 / 5, 2 / 5, 0])


def test_a_site_marked_twice_can_be_on_both_sides() -> None:
    twice = crops((1, 10, 3, "l1_l2"))
    assert leakage(twice, twice)["crops"]["also_in_train"] == 1


def test_a_study_split_shares_nothing() -> None:
    table = sites(5)
    tested = table["study_id"] == 5
    for counts in leakage(table[~tested], table[tested]).values():
        assert counts["also_in_train"] == counts["share_of_crops"] == 0


def test_a_row_split_shares_its_studies_and_images() -> None:
    table = sites(5)
    tested = table["level"] == "l3_l4"
    shared = leakage(table[~tested], table[tested])
    assert shared["studies"]["also_in_train"] == shared["studies"]["test"] == 5
    # Sagittal slices hold both levels, each axial slice holds one.
    assert shared["images"]["share_of_crops"] == pytest.approx(3 / 5)
