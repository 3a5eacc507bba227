"""The severity task's part of the report."""

from pathlib import Path
from typing import Any

import numpy as np

from src.reporting.html_report import HtmlReport
from src.reporting.paper_results import LEADERBOARD
from src.reporting.plots import OURS, PAPERS, panels
from src.reporting.tables import EMPTY, Rows

PARTS = ("score", "spinal", "foraminal", "subarticular", "any_severe")


def score_table(metrics: dict[str, Any]) -> Rows:
    """Lay the scores out: as they are, calibrated, and the floor."""
    rows = [
        {"probabilities": "as the runs give them", **_parts(metrics)},
        {"probabilities": "calibrated, nested", **_parts(metrics["calibrated"])},
    ]
    nothing = dict.fromkeys(PARTS[1:], EMPTY)
    floor = {"probabilities": "the weighted prior", "score": metrics["floor"]}
    return [*rows, {**floor, **nothing}]


def runs_table(metrics: dict[str, Any]) -> Rows:
    """List every run with its own studies' score."""
    names = ("backbone", "slices", "fold", "seed", "studies", "score")
    return [{name: run[name] for name in names} for run in metrics["runs"]]


def calibration_table(metrics: dict[str, Any]) -> Rows:
    """Lay out what is left for predict_submission.py to apply."""
    held = metrics["calibration"]
    temperature = {
        f"{name}, temperature": t for name, t in held["temperatures"].items()
    }
    factor = {"severe canal, times": held["any_severe"]}
    return [{**temperature, **factor, "gain, nested": held["gain"]}]


def add_severity(page: HtmlReport, metrics: dict[str, Any], figures: Path) -> None:
    """Add the section, and draw its figure."""
    page.heading("How severe: the competition's score")
    page.paragraph(
        f"Of {metrics['studies']} studies that the runs were not trained on, "
        f"{metrics['rows']:,} labelled rows; lower is better. A row without a marked "
        "site keeps the prior. Calibrated means a temperature for each family and a "
        "factor for the severe canal, each fifth of the studies corrected by what the "
        "other four say, so that the gain is not made on what it was fitted to. The "
        "weighted prior is the best constant by condition and level of these very "
        "studies, .79 on the real data."
    )
    page.table(score_table(metrics))
    page.paragraph(
        "What the calibration left for predict_submission.py does; all ones where "
        "nested folds show no gain:"
    )
    page.table(calibration_table(metrics))
    path = figures / "severity_reliability.png"
    draw_reliability(metrics, path)
    caption = (
        "Probability of severe as it is said, and as it is, weighted 1, 2, 4; larger "
    )
    page.picture(path, caption + "dots stand for more sites")
    page.paragraph("Every run on its own test studies:")
    page.table(runs_table(metrics))
    page.paragraph("Scores on the real hidden test that their teams have told:")
    page.table(
        [
            {"team": name, "public": public, "private": private}
            for name, (public, private) in LEADERBOARD.items()
        ]
    )


def draw_reliability(metrics: dict[str, Any], path: Path) -> None:
    """Draw what was said against what was so, before and after calibration."""
    with panels(path, 1, 1, (4.6, 4.2)) as (axes,):
        axes.plot([0, 1], [0, 1], color=PAPERS, lw=1)
        for (name, bins), colour in zip(
            metrics["reliability"].items(), ("#888888", OURS), strict=True
        ):
            said, so = ([one[key] for one in bins] for key in ("said", "so"))
            axes.plot(said, so, "-", color=colour, lw=1.2, label=name)
            sizes = [12 * np.log10(1 + one["sites"]) for one in bins]
            axes.scatter(said, so, sizes, color=colour)
        axes.set_xlabel("predicted probability of severe")
        axes.set_ylabel("observed weighted share of severe")
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1)
        axes.legend(frameon=False)
        axes.grid(alpha=0.3)


def _parts(metrics: dict[str, Any]) -> dict[str, float]:
    return {name: metrics[name] for name in PARTS}
