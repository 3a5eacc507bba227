"""The whole real run: a download to a submission, a report and a kit for Kaggle.

    python -m src.kaggle.full_run --data data --folder submission

checks and prepares the download, trains location, severity (all folds) and condition
runs, reports, predicts the test studies and stages the kit. Networks and batches are
chosen for the machine it finds; an estimate comes first. If interrupted, run it again:
it resumes. submission-summary.json and .md hold hardware, versions, times and scores,
and neither patient data nor study ids: paste them into an issue.
"""

import argparse
import math
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from src.command_line import make_parser, positive_int, run_script
from src.competition.tables import image_folder
from src.console import say, show_table
from src.errors import UserError
from src.files import write_json
from src.json_object import read_object
from src.kaggle.run_estimate import (
    TRIED_FILES,
    Estimate,
    Measured,
    disk_gb,
    duration,
    estimate,
    measure,
)
from src.kaggle.run_plan import (
    Counts,
    Plan,
    Sharing,
    Training,
    choose_plan,
    count_download,
    preset_of,
    share_out,
)
from src.kaggle.run_summary import (
    hardware,
    outcome_counts,
    scores,
    versions,
    write_summary,
)
from src.kaggle.step_memory import device_gb, step_gb
from src.machine import Machine, describe_machine
from src.script_calls import call_script

STATE_FILE = "full-run.json"
SUMMARY_FILE = "submission-summary.json"
PUBLIC_WEIGHTS = ("none", "imagenet")  # a file's name could name a person


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = make_parser(__doc__)
    add = parser.add_argument
    add("--data", type=Path, required=True, help="the unpacked competition")
    add("--folder", type=Path, default=Path("submission"), help="output folder")
    text = "imagenet, none, or a state dict's path, as train.py takes it"
    add("--weights", default="imagenet", help=text)
    add("--owner", help="your name on Kaggle: stages the notebooks too")
    text = "only the first N studies, for a trial"
    add("--limit", type=positive_int, metavar="N", help=text)
    text = "maximum epochs, instead of what is chosen for the machine"
    add("--epochs", type=positive_int, metavar="N", help=text)
    return parser.parse_args()


@dataclass(frozen=True)
class Stage:
    """A command, and a file or folder that is there when it has finished."""

    command: list[str]
    result: Path


class Progress:
    """Which stages of a folder are finished, and their seconds over all attempts."""

    def __init__(self, path: Path, request: dict[str, Any], plan: Plan) -> None:
        """Begin, or go on with what the file holds.

        Raises UserError where it holds another request.
        """
        self.path = path
        self.held: dict[str, Any] = {
            "request": request,
            "plan": plan.to_dict(),
            "stages": {},
        }
        if path.is_file():
            self.held = read_object(path, "delete it to begin again")
            if self.held.get("request") != request:
                raise UserError(
                    f"{path.parent} holds a run of other data or flags "
                    f"({self.held.get('request')}, now {request}): choose another "
                    "--folder, or delete it"
                )

    @property
    def plan(self) -> Plan:
        """The plan that was chosen when the run began."""
        held = self.held["plan"]
        trainings = (
            Training(**{**each, "backbones": tuple(each["backbones"])})
            for each in held["trainings"]
        )
        return Plan(held["weights"], tuple(trainings))

    @property
    def begun(self) -> bool:
        """Whether a stage was tried before."""
        return bool(self.held["stages"])

    def measured(self, machine: Machine) -> Measured | None:
        """Return what was timed on this machine before; None if nothing."""
        held = self.held.get("measured", {})
        return Measured(**held["figures"]) if held.get("on") == _key(machine) else None

    def keep_measured(self, measured: Measured, machine: Machine) -> None:
        """Keep what was timed on this machine."""
        self.held["measured"] = {"on": _key(machine), "figures": asdict(measured)}

    def finished(self, name: str) -> bool:
        """Return whether a stage has finished."""
        return bool(self.held["stages"].get(name, {}).get("finished"))

    def seconds(self, name: str) -> float:
        """Return the seconds that a stage has taken so far."""
        return float(self.held["stages"].get(name, {}).get("seconds", 0.0))

    def add(self, name: str, seconds: float, finished: bool) -> None:
        """Keep an attempt at a stage."""
        total = self.seconds(name) + seconds
        self.held["stages"][name] = {"seconds": total, "finished": finished}
        write_json(self.held, self.path)


def _key(machine: Machine) -> list[Any]:
    return [machine.cpu, machine.cores, [gpu.model for gpu in machine.gpus]]


def main() -> None:
    """Estimate, run what is not finished, and summarise."""
    args = parse()
    counts = count_download(args.data, args.limit)
    machine = describe_machine(args.folder)
    progress, measured = start(args, counts, machine)
    if machine.gpus and measured.steps and not measured.gpu:
        say("Warning: torch cannot use this machine's GPU: it trains on the CPU")
        machine = replace(machine, gpus=())
        progress, measured = start(args, counts, machine)
    plan, sharing = progress.plan, share_out(machine)
    rows = estimate(plan, counts, measured, sharing)
    stages = list_stages(args, plan, sharing)
    show_estimate(rows, counts, measured)
    show_memory(plan, machine)
    if not progress.begun:
        require_space(disk_gb(plan, counts, measured, sharing), machine, args.folder)
    try:
        run_stages(stages, progress)
    finally:
        path = args.folder / SUMMARY_FILE
        basis = {"counts": asdict(counts), "sharing": asdict(sharing)}
        times = stage_times(stages, progress, rows)
        about = summarise(args.folder, progress, machine, measured)
        write_summary({"stages": times, **about, **basis}, path)
        say(f"Wrote {path} and .md beside it, to paste into an issue")
    say(f"Open {args.folder / 'report' / 'report.html'}")


def start(
    args: argparse.Namespace, counts: Counts, machine: Machine
) -> tuple[Progress, Measured]:
    """Open the folder's progress, with a plan; time what the estimate needs."""
    request = {
        **{"weights": Path(args.weights).name, "limit": args.limit},
        **{"epochs": args.epochs, "counts": asdict(counts), "views": "all"},
    }
    plan = choose_plan(machine, args.weights, args.epochs)
    progress = Progress(args.folder / STATE_FILE, request, plan)
    if (measured := progress.measured(machine)) is None:
        say(f"Timing {TRIED_FILES} files and some steps of each network")
        measured = measure(image_folder(args.data, "train"), progress.plan)
        progress.keep_measured(measured, machine)
    return progress, measured


def list_stages(
    args: argparse.Namespace, plan: Plan, sharing: Sharing
) -> dict[str, Stage]:
    """List the commands in order, by the name of the stage."""
    folder = args.folder
    data, cache, runs = str(args.data), str(folder / "cache"), str(folder / "runs")
    report, staged = folder / "report", folder / "staged"
    submission = folder / "submission.csv"
    inputs = ["--cache", cache, "--runs", runs]
    prepare = ["input_prep.py", "--data", data, "--cache", cache]
    prepare += ["--workers", str(sharing.workers)]
    views = ["--views", "all"]  # which configs/severity.toml trains on
    limit = ["--limit", str(args.limit)] if args.limit else []
    kit = ["--owner", args.owner] if args.owner else ["--kit-only"]
    training = {
        each.task: Stage(
            training_command(each, inputs, args.weights, sharing), Path(runs)
        )
        for each in plan.trainings
    }
    return {
        "check": Stage([*prepare, "--check"], Path(cache) / "check.csv"),
        "prepare": Stage([*prepare, *views, *limit], Path(cache) / "folds.csv"),
        **training,
        "report": Stage(
            ["evaluate.py", *inputs, "--out", str(report)], report / "metrics.json"
        ),
        "predict": Stage(
            [
                *("predict_submission.py", "--data", data, "--runs", runs),
                *("--out", str(submission)),
            ],
            submission,
        ),
        "bundle": Stage(
            ["-m", "src.kaggle.bundle", "--runs", runs, "--out", str(staged), *kit],
            staged,
        ),
    }


def training_command(
    training: Training, inputs: list[str], weights: str, sharing: Sharing
) -> list[str]:
    """Spell one call of train.py out."""
    flags = {
        "--task": training.task,
        "--config": f"configs/{preset_of(training.task, weights)}",
        "--weights": weights,
        "--folds": training.folds,
        "--epochs": training.epochs,
        "--batch-size": training.batch_size,
        "--accumulate": training.accumulate,
        "--jobs": sharing.jobs,
        "--loader-workers": sharing.loader_workers,
    }
    given = [str(word) for pair in flags.items() for word in pair]
    return ["train.py", *inputs, "--backbone", *training.backbones, *given]


def show_estimate(
    rows: dict[str, Estimate], counts: Counts, measured: Measured
) -> None:
    """Show what the stages may take, and what that is based on."""
    size = (
        f"{counts.studies:,} studies, {counts.files:,} files, {counts.points:,} crops"
    )
    known = [row.seconds for row in rows.values() if row.seconds is not None]
    table = [
        {"stage": name, "estimate": duration(row.seconds), "based on": row.basis}
        for name, row in rows.items()
    ]
    total = {"stage": "total", "estimate": duration(sum(known)), "based on": ""}
    show_table(f"Estimate for {size}", [*table, total])
    say(
        f"An estimate by what was timed here ({TRIED_FILES} files; steps on noise, "
        f"on: {measured.device}), if every epoch is trained; without augmentation, "
        "validation, check, report, prediction and bundle"
    )


def show_memory(plan: Plan, machine: Machine) -> None:
    """Show what a step of each training may need, and which batches come in parts."""
    needs = []
    for each in plan.trainings:
        images = each.images * math.ceil(each.batch_size / each.accumulate)
        gb = step_gb(each.task, each.backbones, images, bool(machine.gpus))
        parts = f" in {each.accumulate} parts" if each.accumulate > 1 else ""
        needs.append(f"{each.task} {gb:.1f} GB (batch {each.batch_size}{parts})")
    say(
        f"Memory of a step, estimated from parameters and image sizes: "
        f"{', '.join(needs)}; of {device_gb(machine):.1f} GB"
    )


def require_space(needed_gb: float, machine: Machine, folder: Path) -> None:
    """Raise UserError where the disk is too small for the run."""
    if needed_gb > machine.free_disk_gb:
        raise UserError(
            f"{folder} needs about {needed_gb:.1f} GB and its disk has "
            f"{machine.free_disk_gb:.1f} GB free: choose a --folder on another disk, "
            "or pass --limit"
        )


def run_stages(stages: dict[str, Stage], progress: Progress) -> None:
    """Run the stages that are not finished; UserError where one fails."""
    for name, stage in stages.items():
        if progress.finished(name) and stage.result.exists():
            say(f"\n{name}: finished before, in {progress.seconds(name):.1f} s")
            continue
        say(f"\n$ python {' '.join(stage.command)}")
        start, finished = time.perf_counter(), False
        try:
            call_script(stage.command)
            finished = True
        finally:
            progress.add(name, time.perf_counter() - start, finished)


def stage_times(
    stages: dict[str, Stage], progress: Progress, rows: dict[str, Estimate]
) -> list[dict[str, Any]]:
    """Return a row a stage: whether it has finished, its seconds and their estimate."""
    guessed = {name: row.seconds for name, row in rows.items()}
    return [
        {
            "stage": name,
            "finished": progress.finished(name),
            "seconds": round(progress.seconds(name), 1),
            "estimated_s": None if (s := guessed.get(name)) is None else round(s, 1),
        }
        for name in stages
    ]


def summarise(
    folder: Path, progress: Progress, machine: Machine, measured: Measured
) -> dict[str, Any]:
    """Describe the machine, the plan and what came of it so far."""
    plan, cache, runs = progress.plan, folder / "cache", folder / "runs"
    return {
        "hardware": hardware(machine, measured.device),
        "versions": versions(),
        "weights": plan.weights if plan.weights in PUBLIC_WEIGHTS else "a file",
        "plan": [asdict(training) for training in plan.trainings],
        "outcome": outcome_counts(cache, runs, folder / "submission.csv"),
        "scores": scores(folder / "report") if progress.finished("report") else {},
    }


if __name__ == "__main__":
    run_script(main)
