"""The report's section on what training costs, beside what it brings."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean

from src.metrics_schema import Metrics, RunCost
from src.reporting.html_report import HtmlReport
from src.reporting.plots import OURS, panels
from src.reporting.tables import EMPTY, Row, Rows

MEASURES = {
    "condition": "top-1 accuracy, %",
    "severity": "score, lower is better",
    "location": "sites within 5 mm, %",
}


def add_cost(page: HtmlReport, metrics: Metrics, figures: Path) -> None:
    """Add the section to the page and draw its figure; metrics: with its `cost`."""
    costs, results = metrics["cost"], run_results(metrics)
    page.heading("Cost: time and parameters against accuracy")
    page.paragraph(
        "Means of the runs of one kind. Training time is the sum of their epochs, "
        "validation included, on whatever machine they ran on and beside whatever else "
        "it did: compare only runs of one machine. Parameters are the trained ones, "
        "of four bytes each in the file of a run. The memory of a training is not "
        "recorded. The result is of each run on its own test studies."
    )
    for task, rows in cost_tables(costs, results).items():
        page.heading(f"Cost of the {task} runs", level=3)
        page.table(rows)
    points = cost_points(costs, results)
    if points:
        path = figures / "cost.png"
        draw_cost(points, path)
        page.picture(
            path, "Result of each run against its training time; a dot is a run"
        )


def run_results(metrics: Metrics) -> dict[str, float]:
    """Return each run's own result by its name, in the units of MEASURES."""
    found: dict[str, float] = {}
    for entry in metrics.get("condition", {}).values():
        found |= {run["name"]: 100 * run["top1"] for run in entry["runs"]}
    if "severity" in metrics:
        for run in metrics["severity"]["runs"]:
            if run["score"] is not None:
                found[run["name"]] = run["score"]
    for name, share in metrics.get("location_runs", {}).items():
        found[name] = 100 * share
    return found


def cost_tables(
    costs: Mapping[str, RunCost], results: Mapping[str, float]
) -> dict[str, Rows]:
    """Tabulate the mean cost and result of each kind of run, by task."""
    kinds: dict[tuple[str, str], list[str]] = defaultdict(list)
    for name, cost in costs.items():
        kinds[cost["task"], cost["network"]].append(name)
    tables: dict[str, Rows] = defaultdict(list)
    for (task, network), names in kinds.items():
        own = [costs[name] for name in names]
        row: Row = {
            "network": network,
            "runs": len(names),
            "parameters, million": _mean([c["parameters"] for c in own], 1e-6, 2),
            "training, minutes": _mean([c["seconds"] for c in own], 1 / 60, 1),
            "epochs": _mean([c["epochs"] for c in own], 1, 1),
            "seconds an epoch": _mean([c["epoch_seconds"] for c in own], 1, 1),
            "images a second": _mean([c["images_per_second"] for c in own], 1, 0),
            MEASURES[task]: _mean(
                [results.get(name) for name in names], 1, 3 if task == "severity" else 1
            ),
        }
        tables[task].append(row)
    return dict(tables)


def cost_points(
    costs: Mapping[str, RunCost], results: Mapping[str, float]
) -> dict[str, dict[str, list[tuple[float, float]]]]:
    """Return (minutes of training, result) of the runs that have both.

    By task, then by the kind of network.
    """
    points: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for name, cost in costs.items():
        if cost["seconds"] and name in results:
            task = points.setdefault(cost["task"], {})
            minutes = cost["seconds"] / 60
            task.setdefault(cost["network"], []).append((minutes, results[name]))
    return points


def draw_cost(
    points: Mapping[str, Mapping[str, Sequence[tuple[float, float]]]], path: Path
) -> None:
    """Draw a panel a task: a dot a run, a colour a kind of network."""
    with panels(path, len(points), 2, (4.7, 3.4), drawing=True) as axes:
        for panel, (task, networks) in zip(axes, points.items(), strict=True):
            for number, (network, own) in enumerate(networks.items()):
                colour = OURS if number == 0 else f"C{number}"
                panel.scatter(*zip(*own, strict=True), color=colour, label=network)
            panel.set_xlim(left=0)
            panel.set_xlabel("training, minutes a run")
            panel.set_ylabel(MEASURES[task])
            panel.set_title(task, fontsize=10)
            panel.grid(alpha=0.3)
            panel.legend(frameon=False, fontsize=8)
            panel.spines[["top", "right"]].set_visible(False)


def _mean(values: Sequence[float | None], scale: float, digits: int) -> str:
    known = [value for value in values if value is not None]
    return f"{scale * fmean(known):,.{digits}f}" if known else EMPTY
