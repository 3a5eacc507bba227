"""Make weights/canal-locator.safetensors, and its figures on patients it has not seen.

    python -m weights.make_canal_locator --data DATA --folder build --weights FILE

DATA: SPIDER's T2-SPACE series in the competition's layout, a canal marked on each. The
patient of examples/spider is tested and never learned from. --folds all also trains the
recipe on each four fifths of the patients and tests it on the rest, for the card in
weights/README.md. If interrupted, run it again: it resumes.
"""

from pathlib import Path

import pandas as pd

from src.command_line import make_parser, positive_int, run_script
from src.competition.constants import SAGITTAL_T2
from src.console import say, show_table, timed
from src.files import replacing, write_csv
from src.localization.location_metrics import location_metrics
from src.script_calls import call_script
from src.workers import worker_pool
from weights.mixed_cohort import Person, mixture_folds, write_mixture

UNSEEN = 57513050  # SPIDER patient 166, in examples/spider
BACKBONE = "tf_efficientnet_lite0"
RECIPE = (
    *("--epochs", "12", "--patience", "0", "--batch-size", "48"),
    *("--augment", "0.6", "--input-px", "224", "--seed", "0"),
)
KINDS = {0: "phantoms", 1: "real, 1 mm", 3: "averaged to 3 mm", 4: "averaged to 4 mm"}
HERE = Path(__file__).parent


def main() -> None:
    """Write the mixture, prepare it, train, and put the weights beside this file."""
    parser = make_parser(__doc__)
    add = parser.add_argument
    add("--data", type=Path, required=True, help="the real series, marked")
    add("--folder", type=Path, default=Path("canal-locator"), help="for what is made")
    add("--weights", default="imagenet", help="to start from, as train.py takes them")
    add("--phantoms", type=positive_int, default=30, help="phantoms to mix in")
    text = "holdout makes the weights alone; all also tests the recipe out of fold"
    add("--folds", choices=["holdout", "all"], default="holdout", help=text)
    args = parser.parse_args()
    data, cache, runs = (args.folder / name for name in ("data", "cache", "runs"))
    with timed(f"Wrote the mixture to {data}"), worker_pool(2) as executor:
        people = write_mixture(args.data, args.phantoms, data, executor)
    prepare(data, cache, people)
    for fold in ["holdout", *(["all"] if args.folds == "all" else [])]:
        train(cache, runs, fold, args.weights)
    publish(runs / run_name("holdout"), HERE / "canal-locator")
    if args.folds == "all":
        table = out_of_fold(runs, people)
        write_csv(pd.DataFrame(table), args.folder / "out_of_fold.csv")
        show_table("Canals of patients that a run had not seen", table)


def prepare(data: Path, cache: Path, people: list[Person]) -> None:
    """Cut and draw the mixture, and deal out its folds by patient."""
    flags = ["--data", str(data), "--cache", str(cache), "--crop-px", "64"]
    call_script(["input_prep.py", *flags])
    write_csv(mixture_folds(people, UNSEEN), cache / "folds.csv")


def train(cache: Path, runs: Path, folds: str, weights: str) -> None:
    """Train the recipe on the holdout, or on all folds."""
    inputs = ["--cache", str(cache), "--runs", str(runs), "--task", "location"]
    start = ["--backbone", BACKBONE, "--weights", weights, "--folds", folds]
    call_script(["train.py", *inputs, *start, *RECIPE])


def run_name(fold: str) -> str:
    """Return the name that train.py gives a run of the recipe."""
    return f"location-{BACKBONE}-neighbours-study-{fold}-seed0"


def publish(run: Path, stem: Path) -> None:
    """Copy a run's weights and config to STEM.safetensors and STEM.json."""
    for name in ("weights.safetensors", "config.json"):
        target = stem.with_suffix(Path(name).suffix)
        with replacing(target) as temporary:
            temporary.write_bytes((run / name).read_bytes())
        say(f"Wrote {target}: {target.stat().st_size / 1e6:.1f} MB")


def out_of_fold(runs: Path, people: list[Person]) -> list[dict[str, object]]:
    """Tabulate the errors by kind of series, of studies unseen in training."""
    paths = [runs / run_name(f"fold{fold}") / "predictions.csv" for fold in range(5)]
    sites = pd.concat([pd.read_csv(path) for path in paths], ignore_index=True)
    kinds = sites["study_id"].map({p.study_id: KINDS[p.thickness] for p in people})
    rows: list[dict[str, object]] = []
    for kind, some in sites.groupby(kinds, sort=False):
        found = location_metrics(some.assign(run="out of fold"))[SAGITTAL_T2]
        rows.append(
            {
                "series": kind,
                "studies": found["studies"],
                "sites": found["sites"],
                "median, mm": found["median_mm"],
                "within 5 mm, %": 100 * found["within_5mm"],
                "correct level, %": 100 * found["level_right"],
                "studies with all": round(
                    found["studies_level_right"] * found["studies"]
                ),
            }
        )
    return rows


if __name__ == "__main__":
    run_script(main)
