"""Whether the doubt in findings.csv points at the findings that are wrong.

    python -m benchmarks.review --data phantom --findings findings.csv

The truth lies beside a phantom's test studies (phantom-truth). Of the findings that
doubt ranks first, which share of all errors and of the whole loss do they hold? In a
random order it is the share itself. And are the studies whose levels are truly off by
one those whose reason doubts the levels?
"""

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score

from benchmarks.measure import BENCHMARKS, Row, write_table
from src.command_line import make_parser, run_script
from src.competition.constants import (
    AXIAL_T2,
    FAMILY_OF,
    LEVELS,
    SERIES_OF,
    SEVERITIES,
    SEVERITY_WEIGHTS,
)
from src.competition.csv_schema import (
    ColumnParser,
    any_text,
    number,
    optional_number,
    read_csv,
    whole_number,
)
from src.competition.tables import SITE, Competition, read_training
from src.console import show_table
from src.errors import UserError
from src.inference.review import expected_losses, mark_for_review
from src.phantom.cohort import VARIANTS_FILE, truth_folder

SHARES = (0.05, 0.10, 0.20)
SECTION = "Review"
COLUMNS: Mapping[str, ColumnParser] = {
    "study_id": whole_number,
    **dict.fromkeys(("condition", "level", "reason"), any_text),
    **dict.fromkeys(("series_id", "x", "y"), optional_number),
    **dict.fromkeys((*SEVERITIES, "wrong_probability"), number),
}
LEVEL_DOUBT = r"levels may be one too high \((\d+)%\) or too low \((\d+)%\)"


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = make_parser(__doc__)
    add = parser.add_argument
    add("--data", type=Path, required=True, help="a phantom, its truth beside it")
    text = "predict_submission.py's findings of its test studies"
    add("--findings", type=Path, required=True, help=text)
    add("--write", action="store_true", help=f"put the tables into {BENCHMARKS}")
    return parser.parse_args()


def judged(findings: pd.DataFrame, labels: pd.DataFrame) -> pd.DataFrame:
    """Join the labelled findings with `wrong` and `loss`.

    wrong: whether the grade, the most probable severity, is not the label; loss: the
    finding's part of the mean of the three families' weighted log losses.
    """
    labelled = labels[labels["severity"].notna()]
    rows = findings.merge(labelled[[*SITE, "severity"]], on=SITE)
    if rows.empty:
        raise UserError(
            "No finding has a label: --findings and --data are of different studies."
        )
    answers = rows[list(SEVERITIES)].to_numpy(float)
    truth = rows["severity"].map(SEVERITIES.index).to_numpy(int)
    weights = pd.Series(np.take(SEVERITY_WEIGHTS, truth))
    of_family = weights.groupby(rows["condition"].map(FAMILY_OF)).transform("sum")
    right = np.take_along_axis(answers, truth[:, None], axis=1)[:, 0]
    losses = -np.log(np.maximum(right, np.finfo(float).eps))
    wrong = answers.argmax(axis=1) != truth
    return rows.assign(wrong=wrong, loss=losses * weights / of_family)


def review_rows(rows: pd.DataFrame) -> list[Row]:
    """Say what the findings hold that each way of ranking puts first.

    The last way knows the loss: more of it cannot be held.
    """
    rankings: dict[str, Callable[[pd.DataFrame], np.ndarray]] = {
        "expected loss (--review)": expected_losses,
        "wrong_probability": lambda table: table["wrong_probability"].to_numpy(float),
        "true loss": lambda table: table["loss"].to_numpy(float),
    }
    return [
        {
            "ranked by": name,
            "share": f"{share:.0%}",
            "findings": int(marked.sum()),
            "errors held": _share_of(rows["wrong"], marked),
            "loss held": _share_of(rows["loss"], marked),
        }
        for name, ranking in rankings.items()
        for share in SHARES
        for marked in [mark_for_review(rows, share, ranking)["review"] == 1]
    ]


def _share_of(values: pd.Series, marked: pd.Series) -> float:
    return float(values[marked].sum() / max(values.sum(), np.finfo(float).tiny))


def calibration_rows(rows: pd.DataFrame) -> list[Row]:
    """Compare wrong_probability with the share of wrong findings, by its thirds."""
    thirds = pd.qcut(rows["wrong_probability"].rank(method="first"), 3, labels=False)
    names = {0: "least doubt", 1: "middle third", 2: "most doubt"}
    groups = [(name, rows[thirds == third]) for third, name in names.items()]
    return [
        {
            "findings": name,
            "n": len(group),
            "mean wrong_probability": float(group["wrong_probability"].mean()),
            "truly wrong": float(group["wrong"].mean()),
        }
        for name, group in [*groups, ("all", rows)]
    ]


def level_offsets(findings: pd.DataFrame, points: pd.DataFrame) -> pd.Series:
    """Return by how many levels all of a study's sites are off: 1 for one too low.

    By the median over the sites of sagittal series: how many levels lie between a
    site's own and that of the nearest true point of its condition, in pixels of the
    same series, whose slices lie behind one another. Studies without any are missing.
    """
    family = findings["condition"].map(FAMILY_OF)
    sagittal = findings[family.map(SERIES_OF) != AXIAL_T2]
    key = ["study_id", "condition", "series_id"]
    pairs = sagittal.merge(points, on=key, suffixes=("", "_true"))
    across, down = (pairs[axis] - pairs[f"{axis}_true"] for axis in ("x", "y"))
    distance = (across**2 + down**2) ** 0.5
    nearest = pairs.loc[distance.groupby([pairs[name] for name in SITE]).idxmin()]
    numbers = {level: number for number, level in enumerate(LEVELS)}
    off = nearest["level_true"].map(numbers) - nearest["level"].map(numbers)
    return off.astype(float).groupby(nearest["study_id"]).median()


def level_doubts(findings: pd.DataFrame) -> pd.Series:
    """Read each study's doubt about its levels out of its reasons; 0 without one."""
    told = findings["reason"].str.extract(LEVEL_DOUBT).astype(float).sum(axis=1)
    return told.groupby(findings["study_id"]).max() / 100


def level_rows(
    findings: pd.DataFrame, points: pd.DataFrame, variants: pd.Series
) -> list[Row]:
    """Compare the doubt of studies whose levels are off with that of the others.

    variants: by study; each has a row of its own beside all.
    """
    offsets = level_offsets(findings, points)
    table = pd.DataFrame(
        {
            "off": offsets.abs() >= 1,
            "doubt": level_doubts(findings).reindex(offsets.index),
            "variant": variants.reindex(offsets.index).fillna("unknown"),
        }
    )
    groups = [*table.groupby("variant"), ("all", table)]
    return [_level_row(str(name), group) for name, group in groups]


def _level_row(name: str, group: pd.DataFrame) -> Row:
    off, doubt = group["off"], group["doubt"]
    both = off.any() and not off.all()
    return {
        "studies": name,
        "n": len(group),
        "levels off": int(off.sum()),
        "mean doubt of those": f"{doubt[off].mean():.2f}" if off.any() else "-",
        "of the others": f"{doubt[~off].mean():.2f}" if not off.all() else "-",
        "doubted, of those": int((doubt[off] > 0).sum()),
        "doubted, others": int((doubt[~off] > 0).sum()),
        "AUC": f"{roc_auc_score(off, doubt):.2f}" if both else "-",
    }


def study_variants(data: Path) -> pd.Series:
    """Read the test studies' variants, by study; none of a phantom without them."""
    path = truth_folder(data) / VARIANTS_FILE
    if not path.is_file():
        return pd.Series(dtype=str)
    table = read_csv(path, {"study_id": whole_number, "variant": any_text})
    return table.set_index("study_id")["variant"]


def read_truth(data: Path) -> Competition:
    """Read the tables beside a phantom."""
    folder = truth_folder(data)
    if not folder.is_dir():
        raise UserError(
            f"{folder} does not exist, and only a phantom has its truth beside it: "
            "name a phantom made by input_prep.py --phantom"
        )
    return read_training(folder)


def main() -> None:
    """Show the tables, and write them where asked."""
    args = parse()
    truth = read_truth(args.data)
    findings = read_csv(args.findings, COLUMNS, key=SITE)
    rows = judged(findings, truth.labels)
    tables = {
        f"{SECTION}: what is marked": review_rows(rows),
        f"{SECTION}: doubt and errors": calibration_rows(rows),
        f"{SECTION}: levels": level_rows(
            findings, truth.points, study_variants(args.data)
        ),
    }
    for title, table in tables.items():
        show_table(title, table)
        if args.write:
            write_table(title, table, note=f"Test studies: {rows.study_id.nunique()}.")


if __name__ == "__main__":
    run_script(main)
