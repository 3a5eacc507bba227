"""The report's tables: the paper's Table 2 beside ours."""

from typing import Any

from src.reporting.published import PUBLISHED


def table2(condition: dict[str, dict[str, Any]]) -> list[dict[str, object]]:
    """Lay out top-1 accuracy, the paper's and ours; missing figures are None.

    condition: metrics.json's entry of that name. Ours and the paper's differ in data
    and split; what each of ours stands on is in its row.
    """
    return [_row(name, metrics) for name, metrics in condition.items()]


def in_short(rows: list[dict[str, object]]) -> list[dict[str, object]]:
    """Keep table 2's columns that fit a terminal."""
    columns = ("backbone", "paper", "ours", "95 % low", "95 % high", "our side")
    return [{name: row[name] for name in (*columns, "split", "crops")} for row in rows]


def _row(name: str, metrics: dict[str, Any]) -> dict[str, object]:
    paper = PUBLISHED.get(metrics["backbone"])
    return {
        "backbone": name,
        "paper": paper and paper.top1,
        "paper, corrected": paper and paper.corrected,
        "ours": metrics["top1"],
        "95 % low": metrics["top1_low"],
        "95 % high": metrics["top1_high"],
        "paper's side": paper and paper.side,
        "our side": metrics["foraminal_side"],
        "paper, merged": paper and paper.merged,
        "ours, merged": metrics["foraminal_merged"],
        "split": metrics["split"],
        "slices": metrics["slices"],
        "crops": metrics["n"],
        "studies": metrics["studies"],
    }


def score_rows(submission: dict[str, float]) -> list[dict[str, object]]:
    """Lay out a submission's score and its four terms."""
    return [{"": "score", **submission}]
