"""What a run cost: its time, from the history, and its network's size."""

from math import prod

from safetensors import SafetensorError, safe_open

from src.metrics_schema import RunCost
from src.training.run_folder import Run

# What a batch norm keeps and no optimizer trains.
STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


def run_cost(run: Run) -> RunCost:
    """Measure a finished run; raises UserError if its history is damaged."""
    history, config = run.history(), run.config
    seconds, speed = history.get("seconds"), history.get("images_per_second")
    views = "" if config.views == "own" else ", all views"
    slices = "" if config.slices == "neighbours" else f", {config.slices}"
    return {
        "task": config.task,
        "network": f"{config.backbone}{views}{slices}",
        "parameters": trained_parameters(run),
        "epochs": len(history),
        "seconds": None if seconds is None else float(seconds.sum()),
        "epoch_seconds": None if seconds is None else float(seconds.median()),
        "images_per_second": None if speed is None else float(speed.median()),
    }


def trained_parameters(run: Run) -> int | None:
    """Count the weights in a run's file by its header; None if it cannot be read."""
    try:
        with safe_open(run.weights_path, framework="numpy") as tensors:
            names = set(tensors.keys())
            shapes = [
                tensors.get_slice(name).get_shape()
                for name in names
                if not name.endswith(STATISTICS)
            ]
    except (OSError, SafetensorError):
        return None
    return sum(map(prod, shapes))
