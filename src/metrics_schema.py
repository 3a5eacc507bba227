"""The entries of metrics.json, which evaluate.py writes and the report shows.

A share is of 1. A figure that nothing was there to measure from is None.
"""

from typing import Literal, TypedDict

Setting = str | float | None  # of a flag or hyperparameter, as in config.json
ByCondition = dict[str, float | None]
Baseline = Literal["majority_class", "random_side", "nearest_neighbour"]
BaselineFigure = Literal[Baseline, "nearest_neighbour_side"]
Unit = Literal["studies", "series", "images", "crops"]


class Overlap(TypedDict):
    """How many of a test set's units are in the training set too.

    share_of_crops: the share of the test crops that belong to those.
    """

    test: int
    also_in_train: int
    share_of_crops: float


Leakage = dict[Unit, Overlap]


class Baselines(TypedDict):
    """The accuracy of each baseline of classification/baselines.py.

    nearest_neighbour_side: that baseline's accuracy on foraminal crops alone.
    """

    majority_class: float
    random_side: float
    nearest_neighbour: float
    nearest_neighbour_side: float | None


class ConditionRun(TypedDict):
    """A condition run on its test crops."""

    name: str
    fold: str
    seed: int
    top1: float
    n: int
    leakage: Leakage


class PrecisionRecall(TypedDict):
    """Precision and recall by condition."""

    precision: ByCondition
    recall: ByCondition


class Accuracy(PrecisionRecall):
    """A test set's accuracy; `summarise` in classification/accuracy.py defines it.

    confusion: crops by true and predicted class [5, 5], a fraction where several runs
    share a crop; n: distinct crops.
    """

    top1: float
    top1_low: float
    top1_high: float
    foraminal_side: float | None
    foraminal_merged: float
    confusion: list[list[float]]
    n: int
    studies: int


class Variant(TypedDict):
    """How runs were trained, apart from their fold and seed.

    crop: in words; recipe: pretrained weights, limit and hyperparameters, by name;
    differs_by: in words, differences from the backbone's other variants, but split and
    slices.
    """

    backbone: str
    split: str
    slices: str
    crop: str
    recipe: dict[str, Setting]
    differs_by: str


class ConditionEntry(Accuracy, Variant):
    """A variant's runs: their pooled accuracy, its spread over runs, each run.

    top1_std: None for a single run.
    """

    top1_mean: float
    top1_std: float | None
    top1_min: float
    top1_max: float
    baselines: Baselines
    runs: list[ConditionRun]


ConditionMetrics = dict[str, ConditionEntry]  # by the variant's name


class FullScore(TypedDict):
    """The competition's score and its terms."""

    score: float
    spinal: float
    foraminal: float
    subarticular: float
    any_severe: float


class PartialScore(TypedDict):
    """The same for labels that may lack a family: None for what that leaves open."""

    score: float | None
    spinal: float | None
    foraminal: float | None
    subarticular: float | None
    any_severe: float | None


class SubmissionEntry(FullScore):
    """`submission`: a file's score; floor: the weighted prior's."""

    floor: float


class FamilyCalibration(TypedDict):
    """A family's Correction of classification/calibration.py, and its effect.

    temperature: None for a method without one; loss, calibrated_loss, prior_loss: the
    weighted log loss of its graded sites, by the runs' probabilities, by them after a
    fit on other studies, and by the prior of the training studies.
    """

    method: str
    temperature: float | None
    prior_weight: float
    gain: float
    standard_error: float
    loss: float
    calibrated_loss: float
    prior_loss: float


class CalibrationEntry(TypedDict):
    """classification/calibration.py's Calibration, of the families with labels."""

    families: dict[str, FamilyCalibration]
    any_severe: float
    gain: float


class ReliabilityBin(TypedDict):
    """Sites of similar probability of severe: its mean, and the share of severe."""

    predicted: float
    observed: float
    sites: int


class Reliability(TypedDict):
    """The bins of the runs' probabilities, before and after calibration."""

    uncalibrated: list[ReliabilityBin]
    calibrated: list[ReliabilityBin]


class SeverityRun(TypedDict):
    """A severity run on its own test studies."""

    name: str
    backbone: str
    slices: str
    fold: str
    seed: int
    studies: int
    score: float | None


class SiteLosses(TypedDict):
    """The metric's weighted log loss of some labelled rows: a condition's or a level's.

    loss, calibrated: by the runs' probabilities, and these after a fit on other
    studies; floor: by the weighted prior; rows: the labelled ones.
    """

    loss: float
    calibrated: float
    floor: float
    rows: int


class SeverityEntry(PartialScore):
    """`severity`: the runs' ensemble; floor: the weighted prior's score.

    floor_terms: the weighted prior's terms, of the families that have labels;
    by_condition, by_level: of those that have labels.
    """

    floor: float | None
    floor_terms: PartialScore
    calibrated: PartialScore
    calibration: CalibrationEntry
    by_condition: dict[str, SiteLosses]
    by_level: dict[str, SiteLosses]
    studies: int
    rows: int
    reliability: Reliability
    runs: list[SeverityRun]


class PairedDifference(TypedDict):
    """Two entries' figures on the same rows: first less second, and a 95 % interval.

    first: the better one; shown: whether the difference is shown, by the interval.
    """

    first: str
    second: str
    difference: float
    low: float
    high: float
    shown: bool


class PairedGroup(TypedDict):
    """Entries tested on the same rows, best first, with their figures; every pair.

    The intervals hold for all pairs at once, as `paired_differences` in
    classification/paired_bootstrap.py says.
    """

    split: str
    slices: str
    folds: list[str]
    studies: int
    figures: dict[str, float]
    pairs: list[PairedDifference]


class PairedComparison(TypedDict):
    """Groups of entries that could be compared; skipped: entries that could not."""

    groups: list[PairedGroup]
    skipped: list[str]


class LocationShares(TypedDict):
    """Shares of all marked sites of a series type; of its studies, the last.

    `location_metrics` in localization/location_metrics.py defines them.
    """

    within_5mm: float
    slice_exact: float
    slice_within_one: float
    level_right: float
    side_right: float
    missed: float
    projected: float
    studies_level_right: float


class LocationEntry(LocationShares):
    """The errors of a series type's sites; in mm in the marked slice's plane."""

    median_mm: float | None
    p95_mm: float | None
    sites: int
    studies: int


LocationMetrics = dict[str, LocationEntry]  # by series description


class RunCost(TypedDict):
    """What a run cost; seconds: of all its epochs; epoch_seconds: their median.

    network: the backbone and what else it is given; parameters: trained ones. None
    where a file lacks it.
    """

    task: str
    network: str
    parameters: int | None
    epochs: int
    seconds: float | None
    epoch_seconds: float | None
    images_per_second: float | None


class Metrics(TypedDict, total=False):
    """metrics.json; location_together: of each fold's runs as an ensemble.

    condition_paired: differences in top-1; severity_paired: in the competition's score.
    location_runs: the share of sites within 5 mm by run; cost: by run; phantom: whether
    the studies are phantoms, None if the cache does not record it.
    """

    condition: ConditionMetrics
    condition_paired: PairedComparison
    severity: SeverityEntry
    severity_paired: PairedComparison
    location: LocationMetrics
    location_together: LocationMetrics
    location_runs: dict[str, float]
    submission: SubmissionEntry
    cost: dict[str, RunCost]
    phantom: bool | None
    kit_version: str
