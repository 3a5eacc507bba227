"""Training labels softened by networks that were not trained on them.

The training studies are parted into two halves. A teacher is trained on each, by the
run's own recipe, and answers the other half's crops, so that a wrong label does not
confirm itself. The labels then move towards the answers. The test studies teach nobody,
and what validates and tests keeps its labels.
"""

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from safetensors import safe_open

from src.classification.crop_dataset import CropDataset
from src.console import say
from src.errors import UserError
from src.training import distributed
from src.training.checkpoint import CheckpointError, restoring, write_tensors
from src.training.config import EpochMetrics, RunConfig
from src.training.run_folder import ANSWERS_FILE
from src.training.train_run import TrainingTask, fit_task


class Lesson(NamedTuple):
    """What a teacher is trained on, and the crops that it then answers."""

    task: TrainingTask
    unseen: CropDataset


def second_half(studies: np.ndarray, seed: int) -> np.ndarray:
    """Part studies into two halves at random, and mark [n] the rows of the second.

    studies: [n] the study of each row. Raises UserError for a single study.
    """
    names, number = np.unique(studies, return_inverse=True)
    if len(names) < 2:
        raise UserError(
            f"--soften trains a teacher on each half of the training studies, and "
            f"there is {len(names)}: prepare more studies, or leave --soften out"
        )
    halves = np.random.default_rng(seed).permutation(len(names)) % 2
    return halves[number] == 1


def without_weights(
    answers: np.ndarray, weights: tuple[float, ...] | None
) -> np.ndarray:
    """Take class weights out of the answers of networks that were trained with them.

    answers: probabilities [n, classes]; weights: [classes], or None for equal ones.
    Where labels have probabilities p, a network trained with weights w answers
    w p / sum(w p), so p is answers / w over its sum.
    """
    unweighted = answers / np.array(weights or (1.0,))
    return np.asarray(unweighted / unweighted.sum(axis=1, keepdims=True))


def soft_labels(classes: np.ndarray, answers: np.ndarray, share: float) -> np.ndarray:
    """Mix labels with answers: probabilities [n, classes], float32.

    classes: [n]; answers: probabilities [n, classes], without class weights, since the
    loss of the soft labels has them; share: of the answers. Formula: Reed et al.,
    Training Deep Neural Networks on Noisy Labels with Bootstrapping, 2015, soft
    bootstrapping; here with the answers of other networks than the one in training.
    """
    one_hot = np.eye(answers.shape[1])[classes]
    return ((1 - share) * one_hot + share * answers).astype(np.float32)


def teachers_answers(
    lessons: Sequence[Lesson],
    rows: np.ndarray,
    config: RunConfig,
    folder: Path,
    loader_workers: int = 0,
) -> np.ndarray:
    """Train the teachers, and return their answers [n, classes] for crops `rows` [n].

    Answers that an interrupted training of this very run left in its folder are read
    instead. rows: numbers of crops, each unseen in one lesson.
    """
    path = folder / ANSWERS_FILE
    answers = _kept_answers(path, rows, config)
    if answers is None:
        answers = np.zeros((len(rows), len(config.labels)), np.float32)
        for number, lesson in enumerate(lessons, start=1):
            title = f"Teacher {number} of {len(lessons)}"
            teacher = _teacher_folder(folder, number)
            unseen = np.isin(rows, lesson.unseen.rows)
            answers[unseen] = _answers(lesson, teacher, title, loader_workers)
    if distributed.rank() == 0:
        tensors = {"rows": torch.tensor(rows), "answers": torch.tensor(answers)}
        write_tensors(tensors, path, {"config": json.dumps(asdict(config))})
        for number in range(1, len(lessons) + 1):
            shutil.rmtree(_teacher_folder(folder, number), ignore_errors=True)
    return answers


def _teacher_folder(folder: Path, number: int) -> Path:
    return folder / f"teacher{number}"


def _answers(lesson: Lesson, folder: Path, title: str, workers: int) -> np.ndarray:
    """Train one teacher; return its answers to the crops that it has not seen."""

    def tell(epoch: EpochMetrics) -> None:
        if distributed.rank() == 0:
            say(
                f"{title}, epoch {epoch.epoch}: train loss {epoch.train_loss:.4f}, "
                f"validation loss {epoch.validation_loss:.4f}"
            )

    trainer = fit_task(lesson.task, folder, tell, workers)
    size = lesson.task.config.hyperparameters.part_size
    logits = trainer.logits(lesson.unseen, size)
    return torch.softmax(logits, dim=1).numpy()


def _kept_answers(path: Path, rows: np.ndarray, config: RunConfig) -> np.ndarray | None:
    """Read the answers of an interrupted training; None for another's or damaged."""
    if not path.is_file():
        return None
    try:
        with restoring(), safe_open(path, framework="numpy") as kept:
            held = json.loads(kept.metadata()["config"])
            of_this = held == json.loads(json.dumps(asdict(config)))
            if of_this and np.array_equal(kept.get_tensor("rows"), rows):
                answers: np.ndarray = kept.get_tensor("answers")
                return answers
    except CheckpointError as error:
        if distributed.rank() == 0:
            say(f"{path} cannot be read ({error}): training the teachers again")
    return None
