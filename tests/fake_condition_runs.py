"""A cache and run folders written by hand: no DICOM, no training."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from src.cache.crop_cache import CROP_COLUMNS
from src.cache.fingerprint import CUT_VERSION
from src.competition.constants import CONDITIONS
from src.competition.prior import uniform
from src.files import write_csv, write_json
from src.training.config import Hyperparameters, RunConfig

LEVELS = ("l3_l4", "l4_l5")
# What is marked on a slice of each series: condition, slice and x_mm.
SERIES = {
    "Sagittal T1": [
        ("right_neural_foraminal_narrowing", 2, -15.0),
        ("left_neural_foraminal_narrowing", 8, 15.0),
    ],
    "Sagittal T2/STIR": [("spinal_canal_stenosis", 5, 0.0)],
    "Axial T2": [
        ("right_subarticular_stenosis", 3, -8.0),
        ("left_subarticular_stenosis", 3, 8.0),
    ],
}
CROP = {"crop_px": 16, "field_mm": 50.0, "slices": 3}
KEY = dict.fromkeys(("points", "labels", "series"), "0")
SETTINGS = Hyperparameters(optimizer="adam", lr=0.001, epochs=3, batch_size=8).to_dict()
PRIOR = uniform().to_dict("records")


def sites(studies: int) -> pd.DataFrame:
    """Ten crops a study, in the columns of crops.csv; studies are 1, 2, 3, ..."""
    rows = [
        {
            **{"study_id": study, "series_id": 10 * study + place, "slice": slice_},
            **{"instance_number": 1 + slice_ + 20 * (number if place == 2 else 0)},
            **{"condition": condition, "level": level, "severity": "moderate"},
            **{"series_description": description, "x": 8.0, "y": 8.0, "note": ""},
            **{"x_mm": x_mm, "y_mm": 0.0, "z_mm": 40.0 * number},
        }
        for study in range(1, studies + 1)
        for place, (description, marked) in enumerate(SERIES.items())
        for condition, slice_, x_mm in marked
        for number, level in enumerate(LEVELS)
    ]
    numbers = range(len(rows))
    table = pd.DataFrame(rows).assign(crop=numbers, site=numbers, view="own")
    return table[list(CROP_COLUMNS)]


def write_cache(folder: Path, studies: int) -> pd.DataFrame:
    """Write a cache whose last two studies are test and the one before validation."""
    table = sites(studies)
    split = ["train"] * (studies - 3) + ["validation", "test", "test"]
    ids = pd.Series(range(1, studies + 1), name="study_id")
    fold = ids % 5
    write_json({"cut_version": CUT_VERSION, "crop": CROP, **KEY}, folder / "cache.json")
    np.save(folder / "crops.npy", np.full((len(table), 3, 16, 16), 90, dtype=np.uint8))
    write_csv(table, folder / "crops.csv")
    series = table[["study_id", "series_id", "series_description"]].drop_duplicates()
    write_csv(series, folder / "series.csv")
    labels = table[["study_id", "condition", "level", "severity"]]
    write_csv(labels, folder / "labels.csv")
    folds = pd.DataFrame({"study_id": ids, "split": split, "fold": fold})
    write_csv(folds, folder / "folds.csv")
    return table


def description(**changes: Any) -> dict[str, Any]:
    """The config.json of a run; a setting may be changed by its name."""
    hyperparameters = {k: changes.pop(k) for k in list(changes) if k in SETTINGS}
    usual = {
        **{"task": "condition", "backbone": "vgg11", "split": "study"},
        **{"fold": "holdout", "slices": "neighbours", "labels": list(CONDITIONS)},
        **{"weights": "none", "crop": CROP, "cache_fingerprint": KEY, "limit": None},
        **{"prior": PRIOR, "hyperparameters": SETTINGS | hyperparameters},
    }
    return usual | changes


def run_config(**changes: Any) -> RunConfig:
    """Return the run that `description` describes."""
    told = description(**changes)
    settings = Hyperparameters(**told.pop("hyperparameters"))
    return RunConfig(**told, hyperparameters=settings)


def predicted(
    table: pd.DataFrame, wrong: Mapping[int, str] | None = None
) -> pd.DataFrame:
    """Predictions of crops, all right but `wrong`, a condition by crop."""
    truth = table["condition"].map(CONDITIONS.index)
    named = dict(zip(table["crop"], table["condition"], strict=True)) | (wrong or {})
    answers = table["crop"].map(named).map(CONDITIONS.index)
    where = ["crop", "study_id", "series_id", "instance_number", "condition", "level"]
    out = table[where].assign(truth=truth, predicted=answers)
    for index, name in enumerate(CONDITIONS):
        out[f"p_{name}"] = np.where(answers == index, 0.8, 0.05)
    return out.reset_index(drop=True)


def write_run(runs: Path, config: dict[str, Any], predictions: pd.DataFrame) -> Path:
    """Write a run folder, all but its weights."""
    parts = (config[key] for key in ("task", "backbone", "slices", "split", "fold"))
    folder = runs / "-".join((*parts, f"seed{config['hyperparameters']['seed']}"))
    write_json(config, folder / "config.json")
    write_csv(predictions, folder / "predictions.csv")
    losses = [{"train_loss": 1 / n, "validation_loss": 2 / n} for n in (1, 2, 3)]
    lines = [
        json.dumps({"epoch": n, **row, "best": True}) for n, row in enumerate(losses, 1)
    ]
    (folder / "history.jsonl").write_text("\n".join(lines) + "\n")
    return folder
