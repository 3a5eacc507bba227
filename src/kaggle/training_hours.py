"""How long the full run's trainings take on a GPU that is not here.

    python -m src.kaggle.training_hours --gpu T4 --gpus 2

counts the operations of a step of each network, and divides them by a quarter of the
GPU's dense peak in 16 bits, which is common for such networks. Depthwise networks reach
less of it. Nothing is trained or timed.
"""

import argparse
import json
import subprocess
import sys
from dataclasses import replace
from typing import Any

from src.command_line import make_parser, positive_float, positive_int, run_script
from src.console import say, show_table
from src.errors import UserError
from src.kaggle.run_estimate import cache_gb, estimate_training
from src.kaggle.run_plan import COMPETITION, Plan, choose_plan
from src.machine import PEAK, Gpu, Machine, peak_of

PEAK_SHARE = 0.25
SESSION_HOURS = 12.0  # of a notebook on Kaggle
Operations = list[dict[str, dict[str, float]]]  # by training, then by backbone


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = make_parser(__doc__)
    add = parser.add_argument
    add("--gpu", choices=sorted(PEAK), default="T4", help="model of the GPUs")
    add("--gpus", type=positive_int, default=2, metavar="N", help="number of GPUs")
    text = "memory of a GPU in GB, for batches that come in parts"
    add("--memory-gb", type=positive_float, default=16.0, help=text)
    add("--hours", type=positive_float, default=SESSION_HOURS, help="that there are")
    return parser.parse_args()


def main() -> None:
    """Show the hours of every network, and whether they fit."""
    args = parse()
    gpu = Gpu("", args.gpu, args.memory_gb)
    machine = Machine("", "", args.gpus, None, 0.0, (gpu,) * args.gpus)
    plan = choose_plan(machine, "imagenet", None)
    rows = list_hours(plan, count_steps(plan), args.gpu, args.gpus)
    show_table(f"The competition's {COMPETITION.studies:,} studies", rows)
    total = sum(row["hours"] for row in rows)
    room = "fits" if total <= args.hours else "does not fit"
    say(
        f"{total:.1f} hours on {args.gpus} {args.gpu}, by counted operations at "
        f"{PEAK_SHARE:.0%} of {PEAK[args.gpu]} teraflops each, without augmentation, "
        f"validation and preparation: {room} {args.hours:g} hours; the cache is "
        f"{cache_gb(COMPETITION):.1f} GB"
    )


def count_steps(plan: Plan) -> Operations:
    """Count the operations of an example of each training of a plan, in a process.

    Raises UserError where they cannot be counted.
    """
    networks = [
        {
            **{"task": training.task, "backbones": training.backbones},
            **{"channels": training.channels, "px": training.px},
        }
        for training in plan.trainings
    ]
    module = "src.training.step_operations"
    command = [sys.executable, "-m", module, json.dumps(networks)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise UserError(
            f"{module} exited with code {done.returncode} and counted no operations, "
            "for the reason above: run it with the packages of requirements.txt"
        )
    found: Operations = json.loads(done.stdout.splitlines()[-1])["steps"]
    return found


def list_hours(
    plan: Plan, operations: Operations, gpu: str, gpus: int
) -> list[dict[str, Any]]:
    """Return a row a network: its runs, their steps and the hours of them all."""
    peak = peak_of(gpu)
    assert peak is not None, gpu
    rows: list[dict[str, Any]] = []
    for training, counted in zip(plan.trainings, operations, strict=True):
        for name, each in counted.items():
            step_s = training.batch_size * each["flops"] / (PEAK_SHARE * peak)
            timed = {name: {**each, "seconds": step_s}}
            alone = replace(training, backbones=(name,))
            found = estimate_training(alone, COMPETITION, timed, gpus)
            rows.append(
                {
                    "task": training.task,
                    "backbone": name,
                    "GFLOP an example": round(each["flops"] / 1e9, 1),
                    "batch": training.batch_size,
                    "parts": training.accumulate,
                    "based on": found.basis,
                    "hours": round((found.seconds or 0.0) / 3600, 2),
                }
            )
    return rows


if __name__ == "__main__":
    run_script(main)
