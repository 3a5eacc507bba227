"""Confusion matrices as tables of the page, with counts or shares in their cells."""

from dataclasses import dataclass

from src.competition.constants import CONDITIONS
from src.metrics_schema import ConditionEntry, ConditionMetrics
from src.reporting.paper_results import PAIRS

NAMES = [" ".join(name.replace("_neural_", "_").split("_")[:2]) for name in CONDITIONS]


@dataclass(frozen=True)
class MatrixCell:
    """A cell: crops, in whole numbers if they are, and their percentage of the row."""

    count: str
    percent: str


@dataclass(frozen=True)
class Matrix:
    """An entry's matrix; rows: true conditions, their cells the predicted ones."""

    title: str
    detail: str
    rows: list[list[MatrixCell]]


def matrix_of(entry: ConditionEntry) -> Matrix:
    """Make the table of an entry's confusion matrix."""
    leaks = " (leaks)" if entry["split"] == "row" else ""
    name = ", ".join(filter(None, (entry["backbone"], entry["differs_by"])))
    return Matrix(
        title=f"{name}: {100 * entry['top1']:.1f} % of {entry['n']:,} crops",
        detail=f"{entry['split']} split{leaks}, slices {entry['slices']}",
        rows=[_cells(row) for row in entry["confusion"]],
    )


def matrix_groups(condition: ConditionMetrics) -> list[tuple[str, list[Matrix]]]:
    """Group the matrices as the paper's figures 5 to 7 do, other backbones last."""
    groups = []
    for pair, (name, backbones) in enumerate(PAIRS.items()):
        own = [matrix_of(e) for e in condition.values() if e["backbone"] in backbones]
        groups.append(
            (f"Figure {5 + pair}. {name}: true and predicted conditions", own)
        )
    known = {backbone for pair in PAIRS.values() for backbone in pair}
    others = [matrix_of(e) for e in condition.values() if e["backbone"] not in known]
    groups.append(("Figure 8. Backbones not in the paper", others))
    return [(title, matrices) for title, matrices in groups if matrices]


def _cells(row: list[float]) -> list[MatrixCell]:
    total = sum(row)
    return [
        MatrixCell(
            # A crop that several runs tested may be shared among cells.
            f"{count:,.0f}" if count == round(count) else f"{count:,.1f}",
            f"{100 * count / total:.1f}" if total else "0.0",
        )
        for count in row
    ]
