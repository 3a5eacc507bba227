"""The plan of a whole run: networks and batches for the machine it finds.

What decides the results is chosen once and kept; how the work is shared out over cores
and GPUs is chosen anew whenever the run is resumed.
"""

import math
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from src.competition.constants import SERIES_DESCRIPTIONS
from src.competition.folds import FOLDS
from src.competition.tables import (
    TEST_SERIES_FILE,
    image_folder,
    list_test_studies,
    read_training,
)
from src.kaggle.step_memory import PAPER, parts_that_fit
from src.machine import Machine
from src.training.config import Hyperparameters
from src.training.presets import read_preset, values_for

PRESETS = Path(__file__).parents[2] / "configs"
CROP_PX, SERIES_PX = 100, 160
# A grader sees all views of a site, and of each three slices as channels of an image;
# two more are cut, for training to shift by.
VIEWS, CROP_SLICES, CHANNELS = len(SERIES_DESCRIPTIONS), 5, 3
GPU_EPOCHS, CPU_EPOCHS = 12, 6
GPU_BATCH, CPU_BATCH = 64, 32  # the presets'; a GPU too small takes them in parts
ON_GPU = {
    "location": ("resnet18",),
    "severity": ("resnet18", "tf_efficientnet_lite0"),
    "condition": ("paper",),
}
ON_CPU = {
    "location": ("resnet10t",),
    "severity": ("resnet10t",),
    "condition": ("mnasnet0_75", "mnasnet1_0"),
}
# All folds of severity: its runs grade the test as an ensemble, calibrated by them.
FOLDS_OF = {"location": "holdout", "severity": "all", "condition": "holdout"}
GB_A_JOB, GB_A_WORKER = 4.0, 1.0
CORES_A_JOB = 4  # fewer threads a run than this gain nothing from a second run
SMALL_MEMORY_GB = 8.0  # taken where the memory is not known


@dataclass(frozen=True)
class Counts:
    """The size of a download; files: of the training studies' series."""

    studies: int
    series: int
    files: int
    points: int
    test_studies: int


# The competition's; of the test studies an upper bound, they are hidden.
COMPETITION = Counts(
    1_975, series=6_294, files=147_218, points=48_692, test_studies=750
)


@dataclass(frozen=True)
class Training:
    """One call of train.py; all but `task` as its flags take them.

    input_px: side to which the images are scaled, 0 for none or a locator's own.
    """

    task: str
    backbones: tuple[str, ...]
    folds: str
    batch_size: int
    epochs: int
    accumulate: int = 1
    input_px: int = 0

    @property
    def px(self) -> int:
        """The side of the images."""
        return self.input_px or (SERIES_PX if self.task == "location" else CROP_PX)

    @property
    def channels(self) -> tuple[int, ...]:
        """The axes of an example before its sides: of a grader's, views and slices."""
        return (VIEWS, CHANNELS) if self.task == "severity" else (CHANNELS,)

    @property
    def images(self) -> int:
        """Count the images of an example that its backbone encodes one by one."""
        return math.prod(self.channels[:-1])

    @property
    def runs_a_backbone(self) -> int:
        """Count the folds."""
        return FOLDS if self.folds == "all" else 1


@dataclass(frozen=True)
class Plan:
    """What is trained, in order; weights: as train.py takes them."""

    weights: str
    trainings: tuple[Training, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the plan as JSON holds it; of weights the name without its folder."""
        trainings = [asdict(training) for training in self.trainings]
        return {"weights": Path(self.weights).name, "trainings": trainings}


@dataclass(frozen=True)
class Sharing:
    """How the work is shared out; it changes no result but for rounding."""

    jobs: int
    workers: int
    loader_workers: int


def count_download(data: Path, limit: int | None) -> Counts:
    """Count what is to be prepared; limit: only the first studies.

    Raises UserError for tables that cannot be read.
    """
    tables = read_training(data)
    studies = sorted(tables.labels["study_id"].unique())[:limit]
    series = tables.series[tables.series["study_id"].isin(studies)]
    points = tables.points[tables.points["study_id"].isin(studies)]
    images = image_folder(data, "train")
    folders = (
        images / str(study) / str(number)
        for study, number in zip(series["study_id"], series["series_id"], strict=True)
    )
    files = sum(len(list(folder.glob("*.dcm"))) for folder in folders)
    tests = len(list_test_studies(data)) if (data / TEST_SERIES_FILE).is_file() else 0
    return Counts(len(studies), len(series), files, len(points), tests)


def choose_plan(machine: Machine, weights: str, epochs: int | None) -> Plan:
    """Choose networks, batches and epochs for a machine; epochs: None for its own."""
    backbones = ON_GPU if machine.gpus else ON_CPU
    trainings = (
        _choose_training(task, names, machine, epochs)
        for task, names in backbones.items()
    )
    return Plan(weights, tuple(trainings))


def preset_of(task: str, weights: str) -> str:
    """Name the preset of a training, a file in configs/."""
    if task == "severity":
        return "severity.toml"
    return "scratch.toml" if weights == "none" else "ours.toml"


def _choose_training(
    task: str, names: tuple[str, ...], machine: Machine, epochs: int | None
) -> Training:
    size = GPU_BATCH if machine.gpus else CPU_BATCH
    most, px = GPU_EPOCHS if machine.gpus else CPU_EPOCHS, 0
    if task == "severity":
        recipe = grading_recipe(names)
        size, px = recipe.batch_size, recipe.input_px
        most = recipe.epochs if machine.gpus else min(most, recipe.epochs)
    whole = Training(task, names, FOLDS_OF[task], size, epochs or most, input_px=px)
    parts = parts_that_fit(task, names, size, machine, whole.images)
    return replace(whole, accumulate=parts)


def grading_recipe(names: tuple[str, ...]) -> Hyperparameters:
    """Read the recipe of severity runs, of the first of the backbones."""
    path = PRESETS / preset_of("severity", "imagenet")
    held = values_for(read_preset(path, {*names, *PAPER}), names[0])
    defaults = vars(Hyperparameters())
    return Hyperparameters(**{name: held.get(name, v) for name, v in defaults.items()})


def share_out(machine: Machine) -> Sharing:
    """Choose how many processes do what, by GPUs, cores and memory."""
    memory = machine.memory_gb or SMALL_MEMORY_GB
    by_memory = max(1, int(memory / GB_A_JOB))
    jobs = min(len(machine.gpus) or machine.cores // CORES_A_JOB, by_memory, FOLDS)
    jobs = max(1, jobs)
    workers = max(1, min(machine.cores, int(memory / GB_A_WORKER)))
    loaders = max(1, min(6, machine.cores // jobs - 1)) if machine.gpus else 0
    return Sharing(jobs, workers, loaders)
