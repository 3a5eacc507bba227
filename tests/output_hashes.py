"""Hash what the four scripts make of one small phantom cohort.

    python tests/output_hashes.py --write before.json       at one commit
    python tests/output_hashes.py --against before.json     at another, same machine

A change that only moves or renames code must leave every hash as it was. The scripts
run as a user runs them, on one thread, since sums over threads may round differently.
"""

import argparse
import csv
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
TASKS = {
    "condition": ["--backbone", "mnasnet0_5", "--epochs", "3", "--augment", "0.5"],
    "severity": ["--backbone", "resnet10t", "--epochs", "2", "--augment", "0.5"],
    "location": ["--backbone", "resnet10t", "--epochs", "6", "--patience", "6"],
}


def make(folder: Path) -> None:
    """Run prep, three trainings, the evaluation and the prediction in `folder`."""
    data, cache, runs = (str(folder / name) for name in ("data", "cache", "runs"))
    prep = ["--data", data, "--cache", cache, "--phantom", "10", "--crop-px", "48"]
    run("input_prep.py", *prep, "--crop-slices", "5")
    for task, flags in TASKS.items():
        run("train.py", "--cache", cache, "--runs", runs, "--task", task, *flags)
    run("evaluate.py", "--cache", cache, "--runs", runs, "--out", str(folder / "out"))
    answer = ["--runs", runs, "--out", str(folder / "submission.csv")]
    run("predict_submission.py", "--data", data, *answer)


def run(*command: str) -> None:
    """Run one script on one thread."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        env=environment,
        check=True,
        stdout=subprocess.DEVNULL,
    )


def hashes(folder: Path) -> dict[str, str]:
    """Hash the outputs that a change of names must not change, by a stable name."""
    found = {
        name: digest((folder / name).read_bytes())
        for name in (
            *("cache/crops.npy", "cache/crops.csv", "cache/folds.csv"),
            *("cache/overviews.npy", "cache/rejects.csv", "submission.csv"),
        )
    }
    for run_folder in sorted((folder / "runs").glob("*/weights.safetensors")):
        task = run_folder.parent.name.partition("-")[0]
        found[f"{task}/history"] = digest(history(run_folder.parent))
        found[f"{task}/predictions"] = digest(predictions(run_folder.parent))
    return found


def history(folder: Path) -> bytes:
    """Read a run's history without what a clock says."""
    rows = [json.loads(x) for x in (folder / "history.jsonl").read_text().splitlines()]
    kept = ("epoch", "train_loss", "validation_loss", "validation_top1", "lr", "best")
    return json.dumps([{name: row[name] for name in kept} for row in rows]).encode()


def predictions(folder: Path) -> bytes:
    """Read a run's predictions, whatever their columns are called."""
    with (folder / "predictions.csv").open(newline="") as file:
        return json.dumps(list(csv.reader(file))[1:]).encode()


def digest(data: bytes) -> str:
    """Return the SHA-256 of some bytes."""
    return hashlib.sha256(data).hexdigest()


def main() -> None:
    """Make the outputs, then write their hashes or compare them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    chosen = parser.add_mutually_exclusive_group(required=True)
    chosen.add_argument("--write", type=Path, metavar="JSON")
    chosen.add_argument("--against", type=Path, metavar="JSON")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        make(Path(scratch))
        found = hashes(Path(scratch))
    if args.write:
        args.write.write_text(json.dumps(found, indent=2) + "\n")
        return
    before = json.loads(args.against.read_text())
    changed = sorted(
        name for name in before | found if before.get(name) != found.get(name)
    )
    for name in sorted(before | found):
        print(f"{'CHANGED' if name in changed else 'same':8} {name}")
    sys.exit(1 if changed else 0)


if __name__ == "__main__":
    main()
