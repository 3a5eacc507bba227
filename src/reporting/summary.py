"""The report's opening: the result in one sentence and a small table."""

from src.metrics_schema import (
    ConditionEntry,
    LocationMetrics,
    Metrics,
    SeverityEntry,
)
from src.reporting.html_report import HtmlReport, Table
from src.reporting.paper_results import LEADERBOARD, PAPER_RESULTS, WINNERS_SLICES
from src.reporting.tables import EMPTY, Row, Rows, percent

BEST_OF_PAPER = max(PAPER_RESULTS, key=lambda name: PAPER_RESULTS[name].top1)


def open_page(page: HtmlReport, metrics: Metrics) -> None:
    """Set the page's opening; metrics: of the tasks, and whether these are phantoms."""
    rows = result_table(metrics)
    phantom = metrics["phantom"]
    columns = ["question", "measure", "ours", "published", "baseline"]
    table = Table(columns, [[row[name] for name in columns] for row in rows], "Result")
    sentence = result_sentence(metrics, phantom)
    page.open_with(
        "opening.html.jinja", sentence=sentence, phantom=phantom, table=table
    )


def result_sentence(metrics: Metrics, phantom: bool | None) -> str:
    """Say the result of all tasks in one sentence; phantom: None if not known."""
    clauses = []
    if "condition" in metrics:
        clauses.append(_condition_clause(best_entry(metrics)))
    if "severity" in metrics and metrics["severity"]["score"] is not None:
        clauses.append(_severity_clause(metrics["severity"]))
    if "location" in metrics:
        share = percent(within_one_slice(located(metrics)))
        clauses.append(f"{share} % of the marked sites are found within one slice")
    if not clauses:
        return "No task has a result that can be told in a number."
    *first, last = clauses
    text = f"{', '.join(first)} and {last}" if first else last
    whose = "phantom studies" if phantom else "studies"
    return f"In {whose} unseen in training, {text}."


def result_table(metrics: Metrics) -> Rows:
    """Set our result of each task beside a published one and a baseline."""
    rows: Rows = []
    if "condition" in metrics:
        rows.append(_condition_row(best_entry(metrics)))
    if "severity" in metrics:
        rows.append(_severity_row(metrics["severity"]))
    if "location" in metrics:
        rows.append(
            {
                "question": "Where is each site?",
                "measure": "within one slice, % of sites",
                "ours": percent(within_one_slice(located(metrics))),
                "published": f"{percent(WINNERS_SLICES[1])} (the winners)",
                "baseline": EMPTY,
            }
        )
    return rows


def best_entry(metrics: Metrics) -> ConditionEntry:
    """Return the most accurate entry, of those whose split does not leak if any."""
    entries = list(metrics["condition"].values())
    fair = [entry for entry in entries if entry["split"] == "study"]
    return max(fair or entries, key=lambda entry: entry["top1"])


def located(metrics: Metrics) -> LocationMetrics:
    """Return the errors of the ensembles if there are any, else of single runs."""
    return metrics.get("location_together") or metrics["location"]


def within_one_slice(location: LocationMetrics) -> float:
    """Average the share over all marked sites, of whatever series type."""
    sites = sum(errors["sites"] for errors in location.values())
    total = sum(e["slice_within_one"] * e["sites"] for e in location.values())
    return total / sites


def best_score(severity: SeverityEntry) -> float | None:
    """Return the score of the probabilities that predict_submission.py would give."""
    if severity["calibration"]["gain"] > 0:
        return severity["calibrated"]["score"]
    return severity["score"]


def _condition_clause(entry: ConditionEntry) -> str:
    leaks = ", on a split that leaks," if entry["split"] == "row" else ""
    return (
        f"{entry['backbone']}{leaks} names the right one of five conditions in "
        f"{percent(entry['top1'])} % of the crops"
    )


def _severity_clause(severity: SeverityEntry) -> str:
    score, floor = best_score(severity), severity["floor"]
    beside = (
        ""
        if floor is None
        else f" where the best guess without an image scores {floor:.3f}"
    )
    return f"the grades score {score:.3f}{beside} (lower is better)"


def _condition_row(entry: ConditionEntry) -> Row:
    own = entry["backbone"] in PAPER_RESULTS
    name = entry["backbone"] if own else BEST_OF_PAPER
    leaks = "; its split leaks" if entry["split"] == "study" else "; leaks too"
    return {
        "question": "Which of five conditions does a crop show?",
        "measure": "right, % of crops",
        "ours": f"{percent(entry['top1'])} ({entry['backbone']})",
        "published": f"{percent(PAPER_RESULTS[name].top1)} ({name}{leaks})",
        "baseline": f"{percent(entry['baselines']['random_side'])} (side guessed)",
    }


def _severity_row(severity: SeverityEntry) -> Row:
    score, floor = best_score(severity), severity["floor"]
    return {
        "question": "How severe is it?",
        "measure": "competition's score, lower is better",
        "ours": EMPTY if score is None else f"{score:.3f}",
        "published": f"{LEADERBOARD['1st'][0]} (first place)",
        "baseline": EMPTY if floor is None else f"{floor:.3f} (the prior)",
    }
