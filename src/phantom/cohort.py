"""A phantom competition: studies in Kaggle's layout, with the ground truth beside."""

import json
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from src.competition.constants import SEVERITIES, TARGETS
from src.competition.metric import score
from src.competition.submission import label_row_ids, row_ids, write_submission
from src.competition.tables import (
    LABEL_FILE,
    POINT_FILE,
    SAMPLE_FILE,
    SERIES_FILE,
    TEST_SERIES_FILE,
)
from src.errors import UserError
from src.files import write_csv, write_json
from src.phantom.rater import RATER_NOISE, THRESHOLDS, ideal_probabilities
from src.phantom.study import StudyPlan, StudyTruth, write_study
from src.phantom.variants import choose_variants

SEEN_SITES_FILE = "training_sites.csv"  # the training studies', narrowing included
VARIANTS_FILE = "variants.csv"  # of all studies, of a cohort with a share of variants
MARKING_MM = 0.5  # standard deviation of an annotator's clicks
LABELS = {"normal_mild": "Normal/Mild", "moderate": "Moderate", "severe": "Severe"}


MARKER = "phantom.json"  # of a folder that holds a phantom, or part of one


def truth_folder(root: Path) -> Path:
    """Return the folder of the hidden ground truth of a phantom's test studies."""
    return root.with_name(f"{root.name}-truth")


def write_cohort(
    root: Path,
    count: int,
    executor: Executor,
    seed: int = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
    variant_share: float = 0.0,
) -> None:
    """Write `count` training and `count` // 5 test studies, at least one.

    variant_share: the share of both whose levels are doubtful (variants.py).

    Images come first and train.csv last: a folder with train.csv is whole. After an
    interruption it starts over and writes the same files. Raises UserError if the
    folder holds anything else.
    """
    recipe: dict[str, object] = {"studies": count, "seed": seed}
    _claim(root, recipe | ({"variants": variant_share} if variant_share else {}))
    tests = max(1, count // 5)
    plans = _plans(count + tests, seed)
    if variant_share:
        plans = _with_variants(plans, count, variant_share, seed)
    folders = [root / "train_images"] * count + [root / "test_images"] * tests
    studies = []
    for study in executor.map(write_study, plans, folders):
        studies.append(study)
        progress(len(studies), len(plans))
    _write_truth(studies[count:], truth_folder(root))
    if variant_share:
        _write_variants(studies, count, truth_folder(root))
    write_csv(_joined(studies[:count], "sites"), truth_folder(root) / SEEN_SITES_FILE)
    _write_tables(studies[:count], studies[count:], root)


def phantom_recipe(root: Path) -> dict[str, object] | None:
    """Return what a phantom was written with; None if the folder holds none."""
    marker = root / MARKER
    return dict(json.loads(marker.read_text())) if marker.is_file() else None


def _claim(root: Path, recipe: dict[str, object]) -> None:
    """Mark the folder as this phantom's; raises UserError if it holds anything else."""
    marker = root / MARKER
    if root.is_dir() and any(root.iterdir()):
        if not marker.is_file():
            raise UserError(
                f"{root} holds files but no train.csv, so no phantom is written there: "
                "point --data at an empty folder or at a complete competition"
            )
        held = json.loads(marker.read_text())
        if held != recipe:
            raise UserError(
                f"{root} holds an unfinished phantom of {_in_words(held)}, not of "
                f"{_in_words(recipe)}: delete it or ask for the same again"
            )
    write_json(recipe, marker)


def _in_words(recipe: dict[str, object]) -> str:
    share = recipe.get("variants")
    variants = f" and --phantom-variants {share}" if share else ""
    return f"{recipe['studies']} studies with --seed {recipe['seed']}{variants}"


def _plans(total: int, seed: int) -> list[StudyPlan]:
    rng = np.random.default_rng(seed)
    ids = rng.choice(2**22, total, replace=False) * 997 + 1_000_003
    seeds = rng.integers(2**62, size=total)
    return [
        StudyPlan(int(ids[index]), index, int(seeds[index]), MARKING_MM)
        for index in range(total)
    ]


def _with_variants(
    plans: list[StudyPlan], count: int, share: float, seed: int
) -> list[StudyPlan]:
    """Give a share of the first `count` plans a variant, and of the others."""
    rng = np.random.default_rng([seed, 1])  # the plans' own draws stay as they are
    sizes = (count, len(plans) - count)
    variants = [name for size in sizes for name in choose_variants(size, share, rng)]
    pairs = zip(plans, variants, strict=True)
    return [replace(plan, variant=variant) for plan, variant in pairs]


def _write_variants(studies: list[StudyTruth], count: int, folder: Path) -> None:
    """List each study's variant: study_id, split, variant."""
    rows = [
        (study.sites["study_id"].iloc[0], "train" if index < count else "test")
        for index, study in enumerate(studies)
    ]
    table = pd.DataFrame(rows, columns=["study_id", "split"])
    table["variant"] = [study.variant for study in studies]
    write_csv(table, folder / VARIANTS_FILE)


def _write_tables(train: list[StudyTruth], test: list[StudyTruth], root: Path) -> None:
    """Write the competition's five CSVs, train.csv last."""
    test_series = _shuffled(_joined(test, "series"))
    write_csv(test_series, root / TEST_SERIES_FILE)
    studies = sorted(test_series["study_id"].unique())
    sample = pd.DataFrame({"row_id": row_ids(studies)})
    sample[list(SEVERITIES)] = 1 / 3
    write_csv(sample, root / SAMPLE_FILE)
    _write_labelled(train, root)


def _write_labelled(studies: list[StudyTruth], folder: Path) -> None:
    points = _shuffled(_joined(studies, "points"))
    points["condition"] = points["condition"].str.replace("_", " ").str.title()
    points["level"] = points["level"].str.replace("_", "/").str.upper()
    write_csv(points, folder / POINT_FILE)
    series = _shuffled(_joined(studies, "series"))
    write_csv(series, folder / SERIES_FILE)
    sites = _joined(studies, "sites")
    sites["target"] = sites["condition"] + "_" + sites["level"]
    sites["label"] = sites["severity"].map(LABELS)
    wide = sites.pivot(index="study_id", columns="target", values="label")
    write_csv(wide[list(TARGETS)].reset_index(), folder / LABEL_FILE)


def _write_truth(studies: list[StudyTruth], folder: Path) -> None:
    """Write the test studies' CSVs, and the ideal observer's predictions and score."""
    sites = _joined(studies, "sites")
    ideal = pd.DataFrame({"row_id": label_row_ids(sites)})
    ideal[list(SEVERITIES)] = ideal_probabilities(sites["narrowing"].to_numpy())
    write_submission(ideal, folder / "ideal_submission.csv")
    rater = {"thresholds": THRESHOLDS, "reader_noise": RATER_NOISE}
    write_json({"score": score(sites, ideal).to_dict(), **rater}, folder / "ideal.json")
    write_csv(sites, folder / "sites.csv")
    _write_labelled(studies, folder)


def _joined(studies: list[StudyTruth], table: str) -> pd.DataFrame:
    return pd.concat([getattr(study, table) for study in studies], ignore_index=True)


def _shuffled(frame: pd.DataFrame) -> pd.DataFrame:
    """Shuffle rows, since the real CSVs are in no order either."""
    return frame.sample(frac=1, random_state=0).reset_index(drop=True)
