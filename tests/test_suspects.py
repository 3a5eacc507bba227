"""Points that contradict geometry, on a cohort that has none of them at first."""

import pandas as pd
from condition_runs import sites

from src.competition.vocab import mirrored
from src.imaging.suspects import (
    ONE_SLICE,
    WRONG_ORDER,
    WRONG_SIDE,
    share_of_wrong_sides,
    suspects,
)


def cohort() -> pd.DataFrame:
    """Studies whose left is left and whose l4/l5 lies below l3/l4."""
    table = sites(3)
    low = (table["level"] == "l4_l5").astype(float)
    return table.assign(z_mm=-30 * low, instance_number=table["slice"] + 1)


def test_a_sound_cohort_has_no_suspects() -> None:
    assert suspects(cohort()).empty
    assert share_of_wrong_sides(cohort()) == 0


def test_one_exchanged_pair_is_named() -> None:
    table = cohort()
    here = (table["study_id"] == 2) & (table["level"] == "l3_l4")
    here &= table["series_description"] == "Axial T2"
    table.loc[here, "condition"] = table.loc[here, "condition"].map(mirrored)
    found = suspects(table)
    assert set(found["reason"]) == {WRONG_SIDE}
    assert len(found) == 2
    assert set(found["study_id"]) == {2}
    assert 0 < share_of_wrong_sides(table) < 0.2


def test_a_cohort_with_all_sides_exchanged_stands_out() -> None:
    table = cohort()
    assert share_of_wrong_sides(table.assign(x_mm=-table["x_mm"])) == 1


def test_both_foramina_on_one_slice_and_levels_out_of_order_are_named() -> None:
    table = cohort()
    foramina = (table["study_id"] == 1) & (table["series_description"] == "Sagittal T1")
    table.loc[foramina, "instance_number"] = 5
    canal = (table["study_id"] == 3) & (table["condition"] == "spinal_canal_stenosis")
    table.loc[canal, "z_mm"] *= -1
    counts = suspects(table)["reason"].value_counts().to_dict()
    assert counts == {ONE_SLICE: 4, WRONG_ORDER: 1}
