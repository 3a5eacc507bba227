"""The report's section on the severity task."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from src.classification.prior_comparison import prior_warnings
from src.competition.constants import (
    LEVELS,
    level_name,
)
from src.metrics_schema import PartialScore, SeverityEntry, SiteLosses
from src.reporting.html_report import HtmlReport
from src.reporting.paper_results import LEADERBOARD
from src.reporting.plots import OURS, PAPERS, panels
from src.reporting.tables import EMPTY, Rows

Part = Literal["score", "spinal", "foraminal", "subarticular", "any_severe"]
PARTS: tuple[Part, ...] = get_args(Part)
UNCALIBRATED = "#888888"


def is_calibrated(metrics: SeverityEntry) -> bool:
    """Check that these runs' calibration changes any probability."""
    fitted = metrics["calibration"]
    return fitted["any_severe"] != 1 or any(
        one["method"] != "identity" or one["prior_weight"] > 0
        for one in fitted["families"].values()
    )


def score_table(metrics: SeverityEntry) -> Rows:
    """Tabulate the scores: of the runs, calibrated if they are, and of the prior."""
    rows: Rows = [{"probabilities": "of the runs", **_parts(metrics)}]
    if is_calibrated(metrics):
        calibrated = _parts(metrics["calibrated"])
        rows.append({"probabilities": "calibrated, cross-fitted", **calibrated})
    floor = _parts(metrics["floor_terms"])
    return [*rows, {"probabilities": "weighted prior", **floor}]


def runs_table(metrics: SeverityEntry) -> Rows:
    """List each run with the score of its own test studies."""
    return [
        {key: value for key, value in run.items() if key != "name"}
        for run in metrics["runs"]
    ]


def calibration_table(metrics: SeverityEntry) -> Rows:
    """Tabulate each family's correction, and its loss beside the prior's."""
    return [
        {
            "family": name,
            "correction": one["method"],
            "temperature": EMPTY if one["temperature"] is None else one["temperature"],
            "share of the prior": one["prior_weight"],
            "loss": one["loss"],
            "calibrated": one["calibrated_loss"],
            "prior": one["prior_loss"],
            "gain": one["gain"],
            "its standard error": one["standard_error"],
        }
        for name, one in metrics["calibration"]["families"].items()
    ]


def add_severity(page: HtmlReport, metrics: SeverityEntry, figures: Path) -> None:
    """Add the section to the page and draw its figure."""
    page.heading("How severe: the competition's score")
    page.paragraph(
        f"Scored on {metrics['rows']:,} labelled rows of {metrics['studies']} studies "
        "that the runs were not trained on; lower is better. Rows without a marked "
        "site keep the prior. The weighted prior is the best constant prediction for "
        "each condition and level of these studies; on the real data it scores 0.79."
    )
    page.heading("By family: the score and its terms", level=3)
    page.paragraph(
        "A term a family of conditions: the spinal canal, the neural foramina and the "
        "subarticular recesses, each a log loss in which moderate grades count twice "
        "and severe ones four times; `any_severe` is of whether any level of a study's "
        "canal is severe. The score is the mean of the four. The prior's row is the "
        "floor: what is no lower than it has learned nothing from the images."
    )
    page.table(score_table(metrics))
    page.heading("By condition and by level", level=3)
    page.paragraph("The same weighted log loss of each condition's and level's rows:")
    page.table(losses_table(metrics["by_condition"], "condition", metrics))
    page.table(losses_table(metrics["by_level"], "level", metrics))
    page.heading("Calibration", level=3)
    _add_calibration(page, metrics)
    page.heading("The runs, and published scores", level=3)
    page.paragraph("Each run on its own test studies:")
    page.table(runs_table(metrics))
    page.paragraph("Scores on the real hidden test set, as published by the teams:")
    page.table(
        [
            {"team": name, "public": public, "private": private}
            for name, (public, private) in LEADERBOARD.items()
        ]
    )
    page.heading("Reliability and examples", level=3)
    path = figures / "severity_reliability.png"
    draw_reliability(metrics, path)
    page.picture(
        path,
        "Predicted probability of severe against the observed share, with the metric's "
        "weights 1, 2 and 4; larger dots hold more sites",
    )


def losses_table(
    losses: Mapping[str, SiteLosses], kind: str, metrics: SeverityEntry
) -> Rows:
    """Tabulate the losses by condition or level, each beside the prior's."""
    calibrated = is_calibrated(metrics)
    return [
        {
            kind: _in_words(name),
            "rows": f"{one['rows']:,}",
            "of the runs": one["loss"],
            **({"calibrated": one["calibrated"]} if calibrated else {}),
            "weighted prior": one["floor"],
            "lower than the prior": "yes" if _best(one, calibrated) else "no",
        }
        for name, one in losses.items()
    ]


def _best(one: SiteLosses, calibrated: bool) -> bool:
    return (one["calibrated"] if calibrated else one["loss"]) < one["floor"]


def _in_words(name: str) -> str:
    return level_name(name) if name in LEVELS else name.replace("_", " ")


def _add_calibration(page: HtmlReport, metrics: SeverityEntry) -> None:
    fitted = metrics["calibration"]
    if is_calibrated(metrics):
        page.paragraph(
            "A family is calibrated by a temperature or a logistic regression on its "
            "log probabilities and level, and blended with the prior, if that gains "
            "more than the gain's standard error by nested folds. The canal's "
            "probability of severe is then multiplied by "
            f"{fitted['any_severe']:.3g}. The score above is cross-fitted: each fifth "
            "of the studies is corrected by a fit to the other four, a gain of "
            f"{fitted['gain']:.4f}. `predict_submission.py` applies the fit to all:"
        )
    else:
        page.paragraph(
            "No calibration is applied: it brought no gain on studies that it was not "
            "fitted on, or there are too few studies to fit it."
        )
    page.table(calibration_table(metrics))
    for sentence in prior_warnings(fitted["families"]):
        page.paragraph(sentence)


def draw_reliability(metrics: SeverityEntry, path: Path) -> None:
    """Plot the observed share of severe against its predicted probability.

    One curve for the runs; a second one for the calibration if there is one.
    """
    curves = {"uncalibrated": metrics["reliability"]["uncalibrated"]}
    if is_calibrated(metrics):
        curves["calibrated"] = metrics["reliability"]["calibrated"]
    with panels(path, 1, 1, (4.6, 4.2), drawing=True) as (axes,):
        axes.plot([0, 1], [0, 1], color=PAPERS, lw=1)
        for name, bins in curves.items():
            colour = OURS if name == "calibrated" else UNCALIBRATED
            predicted = [one["predicted"] for one in bins]
            observed = [one["observed"] for one in bins]
            axes.plot(predicted, observed, "-", color=colour, lw=1.2, label=name)
            sizes = [12 * np.log10(1 + one["sites"]) for one in bins]
            axes.scatter(predicted, observed, sizes, color=colour)
        axes.set_xlabel("predicted probability of severe")
        axes.set_ylabel("observed weighted share of severe")
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1)
        axes.legend(frameon=False)
        axes.grid(alpha=0.3)


def _parts(metrics: PartialScore) -> dict[str, float | None]:
    return {name: metrics[name] for name in PARTS}
