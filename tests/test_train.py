"""train.py by its functions: which flag, table and run goes where."""

import json
import sys
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from fake_condition_runs import (
    CROP,
    LEVELS,
    description,
    run_config,
    sites,
    write_cache,
    write_run,
)

import train
from src.cache.crop_cache import CropCache, open_cache
from src.classification.calibration import CALIBRATION_FILE, Calibration, Correction
from src.classification.calibration_fit import CalibrationFit
from src.classification.family_sites import PRIOR_COLUMNS
from src.competition.constants import (
    AXIAL_T2,
    CONDITIONS,
    FAMILIES,
    SEVERITIES,
    TARGETS,
)
from src.competition.folds import read_folds
from src.competition.prior import smoothed_prior
from src.errors import UserError
from src.localization.location_metrics import COMPARED_COLUMNS
from src.models.backbones import PAPER_BACKBONES
from src.training.config import Hyperparameters, RunConfig

STUDIES = 40
FLAGS = {"--cache": "c", "--runs": "r", "--task": "condition", "--backbone": "vgg11"}


@pytest.fixture
def flags(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Namespace]:
    """Return what reads a command line: the needed flags and some more."""

    def read(*more: object, **changes: object) -> Namespace:
        needed = FLAGS | {f"--{name}": value for name, value in changes.items()}
        words = [word for pair in needed.items() for word in pair]
        monkeypatch.setattr(sys, "argv", ["train.py", *map(str, (*words, *more))])
        return train.parse()

    return read


def grade(study: int, level: str) -> str:
    """Tell a severity that no two roles or levels share by much."""
    return SEVERITIES[(study * 7 + LEVELS.index(level) * study) % 3]


@pytest.fixture(scope="module")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache whose labels differ by study, and folds by the hundred."""
    folder = tmp_path_factory.mktemp("kit") / "cache"
    write_cache(folder, STUDIES)
    path = folder / "labels.csv"
    labels = pd.read_csv(path)
    pairs = zip(labels["study_id"], labels["level"], strict=True)
    labels["severity"] = [grade(*pair) for pair in pairs]
    labels.to_csv(path, index=False)
    return folder


@pytest.fixture
def cache(kit: Path) -> CropCache:
    cache = open_cache(kit)
    hashes = {"points": "of points", "labels": "of labels", "series": "of series"}
    return replace(cache, fingerprint={**cache.fingerprint, **hashes})


def folds_of(cache: CropCache) -> pd.DataFrame:
    return read_folds(cache.path / "folds.csv")


def configured(args: Namespace, cache: CropCache, fold: str = "holdout") -> RunConfig:
    return train.configure(args, cache, folds_of(cache), "vgg16", fold)


# One run's description


def test_every_flag_lands_in_its_place(flags: Callable, cache: CropCache) -> None:
    args = flags(
        *("--split", "row", "--slices", "repeat", "--limit", 12, "--weights", "w.pth"),
        *("--optimizer", "sgd", "--lr", 0.5, "--weight-decay", 0.25),
        *("--schedule", "constant", "--epochs", 7, "--patience", 3),
        *("--batch-size", 9, "--input-px", 64, "--augment", 0.75),
        *("--bn-stats", "running", "--seed", 11, "--accumulate", 3, "--sync-bn"),
        *("--select", "last", "--ema", 0.875, "--mixup", 0.25, "--soften", 0.5),
    )
    config = configured(args, cache, "2")
    assert config.hyperparameters.to_dict() == {
        **{"optimizer": "sgd", "lr": 0.5, "weight_decay": 0.25, "augment": 0.75},
        **{"schedule": "constant", "epochs": 7, "patience": 3, "batch_size": 9},
        **{"input_px": 64, "bn_stats": "running", "seed": 11, "accumulate": 3},
        **{"sync_bn": True, "select": "last", "ema": 0.875, "mixup": 0.25},
        "soften": 0.5,
    }
    told = (config.task, config.backbone, config.split, config.fold, config.slices)
    assert told == ("condition", "vgg16", "row", "2", "repeat")
    assert (config.weights, config.limit) == ("w.pth", 12)
    assert (config.canal_offsets, config.level_spacing) == (None, None)


def test_a_description_names_the_cache_it_is_of(
    flags: Callable, cache: CropCache
) -> None:
    config = configured(flags(), cache)
    assert config.crop == CROP
    assert config.cache_fingerprint == {
        **{"points": "of points", "labels": "of labels", "series": "of series"}
    }


@pytest.mark.parametrize(
    ("task", "labels"),
    [("condition", CONDITIONS), ("severity", SEVERITIES), ("location", TARGETS)],
)
def test_labels_are_the_tasks(
    task: str, labels: tuple, flags: Callable, cache: CropCache
) -> None:
    assert configured(flags(task=task), cache).labels == list(labels)


def write_location_run(folder: Path, studies: list[int], right: bool) -> Path:
    """Write a locator's run whose sites are 2 mm and one slice off, in axial series."""
    rows = [
        {
            **dict.fromkeys(COMPARED_COLUMNS, 1),
            **{"study_id": study, "condition": CONDITIONS[3], "level": LEVELS[0]},
            **{"series_description": AXIAL_T2, "source": "located", "error_mm": 2.0},
            **{"level_right": right, "side_right": True},
        }
        for study in studies
    ]
    about = description(task="location", labels=list(TARGETS))
    return write_run(folder, about, pd.DataFrame(rows))


def test_jitter_is_read_from_a_location_run(
    flags: Callable, cache: CropCache, tmp_path: Path
) -> None:
    splits = folds_of(cache).set_index("study_id")["split"]
    tested = splits.index[splits == "test"].tolist()
    folder = write_location_run(tmp_path, tested, right=True)
    config = configured(flags("--jitter", folder, task="severity"), cache)
    expected = {"axial": True, "error_mm": [2.0] * 11, "slices_off": [0.0, 1.0]}
    assert config.site_errors == [expected]
    assert configured(flags("--jitter", "none"), cache).site_errors == []
    assert configured(flags(), cache).site_errors is None
    with pytest.raises(UserError, match="location run for the task condition"):
        configured(flags("--jitter", folder), cache)
    lost = write_location_run(tmp_path / "lost", tested, right=False)
    with pytest.raises(UserError, match="found no site at its level"):
        configured(flags("--jitter", lost, task="severity"), cache)


@pytest.mark.parametrize("fold", ["holdout", "1", "4"])
@pytest.mark.parametrize("split", ["study", "row"])
def test_the_prior_is_of_studies_that_the_fold_does_not_test(
    fold: str, split: str, flags: Callable, cache: CropCache
) -> None:
    config = configured(flags(split=split), cache, fold)
    folds = folds_of(cache).set_index("study_id")
    tested = (
        folds["split"] == "test" if fold == "holdout" else folds["fold"] == int(fold)
    )
    seen = cache.labels[~cache.labels["study_id"].map(tested)]
    expected = smoothed_prior(seen)
    assert not np.allclose(
        smoothed_prior(cache.labels)[list(SEVERITIES)], expected[list(SEVERITIES)]
    )
    pd.testing.assert_frame_equal(pd.DataFrame(config.prior), expected)


# One run's recipe


def recipe_for(args: Namespace, backbone: str) -> tuple[Hyperparameters, str]:
    given = train.with_preset(args, backbone)
    return train.recipe_of(given), given.weights


def recipe(args: Namespace) -> dict:
    return recipe_for(args, "vgg11")[0]


@pytest.mark.parametrize("task", ["condition", "severity", "location"])
def test_without_flags_a_recipe_is_the_settings_own(task: str, flags: Callable) -> None:
    own = Hyperparameters(input_px=160 if task == "location" else 0)
    assert recipe_for(flags(task=task), "vgg11") == (own, "none")


@pytest.mark.parametrize(
    ("task", "given", "lr"),
    [
        ("condition", (), 1e-3),
        ("severity", ("--weights", "imagenet"), 1e-4),
        ("condition", ("--weights", "w.pth"), 1e-4),
        ("location", ("--weights", "imagenet"), 1e-3),
        ("severity", ("--weights", "imagenet", "--lr", 1e-3), 1e-3),
    ],
)
def test_pretrained_weights_of_crops_learn_slowly_unless_told(
    task: str, given: tuple, lr: float, flags: Callable
) -> None:
    assert recipe(flags(*given, task=task)).lr == lr


def test_zero_is_a_size_that_can_be_asked_for(flags: Callable) -> None:
    given = recipe(flags("--input-px", 0, task="location"))
    assert given.input_px == 0


def test_an_abbreviated_flag_is_refused(
    flags: Callable, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        flags("--pat", 1)
    assert ended.value.code == 2
    assert "--pat" in capsys.readouterr().err


@pytest.mark.parametrize("task", ["condition", "location"])
def test_a_preset_stands_between_flags_and_defaults(
    task: str, flags: Callable, tmp_path: Path
) -> None:
    path = tmp_path / "preset.toml"
    path.write_text(
        'input-px = 96\nlr = 0.125\naugment = 0.0\nweights = "p.pth"\n'
        "[vgg11]\nepochs = 3\n[vgg16]\nepochs = 4\n"
    )
    args = flags("--config", path, "--lr", 0.5, task=task)
    hyperparameters, weights = recipe_for(args, "vgg11")
    assert hyperparameters == Hyperparameters(
        lr=0.5, input_px=96, augment=0.0, epochs=3
    )
    assert weights == "p.pth"
    assert recipe_for(args, "vgg16")[0].epochs == 4
    again = recipe_for(flags("--config", path, "--input-px=0", task=task), "vgg11")
    assert again[0].input_px == 0


@pytest.mark.parametrize(
    ("given", "folds"),
    [
        ([], ["holdout"]),
        (["all"], ["0", "1", "2", "3", "4"]),
        (["3", "holdout"], ["3", "holdout"]),
    ],
)
def test_all_folds_are_the_five(given: list, folds: list, flags: Callable) -> None:
    more = ("--folds", *given) if given else ()
    assert train.fold_names(flags(*more).folds) == folds


# Many runs


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[tuple]:
    """Keep what main() would train, tune and calibrate, and do none of it."""
    made: list[tuple] = []
    monkeypatch.setattr(
        train,
        "make_task",
        lambda cache, folds, config: SimpleNamespace(config=config, cache=cache),
    )

    def keep(what: str) -> Callable:
        def kept(args: Namespace, task: SimpleNamespace) -> None:
            config = task.config
            made.append((what, str(args.runs), config.backbone, config.fold))

        return kept

    monkeypatch.setattr(train, "train_one", keep("train"))
    monkeypatch.setattr(train, "tune_one", keep("tune"))
    monkeypatch.setattr(
        train, "calibrate", lambda runs: made.append(("calibrate", str(runs)))
    )
    return made


def test_every_backbone_is_trained_on_every_fold(
    flags: Callable, kit: Path, made: list[tuple]
) -> None:
    flags("vgg16", "--folds", "0", "2", "--cache", kit)
    train.main()
    assert made == [
        ("train", "r", backbone, fold)
        for backbone in ("vgg11", "vgg16")
        for fold in ("0", "2")
    ]


def test_the_papers_backbones_are_six_runs(
    flags: Callable, kit: Path, made: list[tuple]
) -> None:
    flags("--cache", kit, backbone="paper")
    train.main()
    assert [backbone for _, _, backbone, _ in made] == list(PAPER_BACKBONES)


def test_all_is_done_while_the_processes_are_joined(
    flags: Callable, kit: Path, made: list[tuple], monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def joined() -> Iterator[None]:
        made.append(("join",))
        yield
        made.append(("leave",))

    monkeypatch.setattr("src.training.distributed.process_group", joined)
    flags("--cache", kit, task="severity")
    train.main()
    assert [what for what, *_ in made] == ["join", "train", "calibrate", "leave"]


def test_severity_runs_are_calibrated_when_all_are_there(
    flags: Callable, kit: Path, made: list[tuple]
) -> None:
    flags("--cache", kit, "--folds", "1", "3", task="severity")
    train.main()
    assert [what for what, *_ in made] == ["train", "train", "calibrate"]
    assert made[-1] == ("calibrate", "r")


def test_only_one_of_the_runs_is_trained_and_nothing_calibrated(
    flags: Callable, kit: Path, made: list[tuple]
) -> None:
    more = ("vgg16", "--folds", "all", "--jobs", 4, "--only", "vgg16", "3")
    flags(*more, "--cache", kit, task="severity")
    train.main()
    assert made == [("train", "r", "vgg16", "3")]


@pytest.mark.parametrize("only", [("vgg13", "0"), ("vgg11", "2"), ("0", "vgg11")])
def test_only_names_a_run_of_the_command(
    only: tuple, flags: Callable, kit: Path, made: list[tuple]
) -> None:
    flags("--cache", kit, "--folds", "0", "1", "--only", *only)
    with pytest.raises(UserError, match=f"--only {' '.join(only)} is no run"):
        train.main()
    assert made == []


@pytest.fixture
def beside(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Keep the commands that would run side by side; fail those that `fails` names."""
    kept = SimpleNamespace(commands={}, fails={}, slots=None)

    class Kept:
        def __init__(self, slots: list, log: object) -> None:
            kept.slots = slots

        def run(self, commands: dict) -> dict[str, str]:
            kept.commands = commands
            return kept.fails

    monkeypatch.setattr("src.training.jobs.SideBySide", Kept)
    monkeypatch.setattr(
        "src.training.jobs.slots", lambda jobs, runs, log: ["slot"] * min(jobs, runs)
    )
    return kept


def test_runs_side_by_side_are_this_command_each_for_one_run(
    flags: Callable, kit: Path, made: list[tuple], beside: SimpleNamespace
) -> None:
    flags("vgg16", "--folds", "1", "3", "--cache", kit, "--jobs", 3, task="severity")
    train.main()
    given = sys.argv[1:]
    assert list(beside.commands.values()) == [
        [sys.executable, train.__file__, *given, "--only", backbone, fold]
        for backbone in ("vgg11", "vgg16")
        for fold in ("1", "3")
    ]
    assert beside.slots == ["slot"] * 3
    assert made == [("calibrate", "r")]  # once, when all have ended


def test_failed_runs_are_named_after_the_others_were_calibrated(
    flags: Callable, kit: Path, made: list[tuple], beside: SimpleNamespace
) -> None:
    flags("--folds", "1", "3", "--cache", kit, "--jobs", 2, task="severity")
    beside.fails = {"vgg11 3": "killed by signal 9"}
    name = "severity-vgg11-neighbours-study-fold3-seed0"
    with pytest.raises(UserError, match=f"1 of 2 runs failed.*: {name}; run the same"):
        train.main()
    assert made == [("calibrate", "r")]
    beside.fails = {"vgg11 1": "no room", "vgg11 3": "no room"}
    with pytest.raises(UserError, match="2 of 2 runs failed"):
        train.main()
    assert len(made) == 1  # there is nothing to calibrate


def test_side_by_side_is_not_for_tuning_nor_for_torchrun(
    flags: Callable, kit: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags("--cache", kit, "--jobs", 2, "--tune", 3)
    with pytest.raises(UserError, match="--jobs 2 is not for --tune"):
        train.main()
    monkeypatch.setenv("WORLD_SIZE", "2")
    flags("--cache", kit, "--jobs", 2)
    with pytest.raises(UserError, match="--jobs is not for torchrun"):
        train.main()


def test_tuning_trains_and_calibrates_nothing(
    flags: Callable, kit: Path, made: list[tuple]
) -> None:
    flags("--cache", kit, "--tune", 3, task="severity")
    train.main()
    assert made == [("tune", "r", "vgg11", "holdout")]


@pytest.mark.parametrize("task", ["condition", "severity", "location"])
def test_a_job_is_its_tasks(
    task: str, monkeypatch: pytest.MonkeyPatch, cache: CropCache, flags: Callable
) -> None:
    called: dict[str, tuple] = {}
    jobs = {"crop": "src.classification.crop_task.make_crop_task"}
    jobs |= {"location": "src.localization.location_task.make_location_task"}
    for name, place in jobs.items():
        monkeypatch.setattr(
            place, lambda *given, name=name: called.setdefault(name, given)
        )
    monkeypatch.setattr("src.cache.overview_cache.open_overviews", lambda path: path)
    folds, config = folds_of(cache), configured(flags(task=task), cache)
    train.make_task(cache, folds, config)
    if task == "location":
        assert list(called) == ["location"]
        given_cache, overviews, *rest = called["location"]
        assert overviews == cache.path
    else:
        assert list(called) == ["crop"]
        given_cache, *rest = called["crop"]
    assert given_cache is cache
    assert rest[0] is folds
    assert rest[1] is config


@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize("there", [True, False])
def test_a_run_is_trained_unless_it_is_there(
    there: bool, rank: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    trained, asked = [], []
    config = run_config()
    task = SimpleNamespace(config=config)

    def finished(runs: Path, config: RunConfig) -> bool:
        asked.append((runs, config))
        return there

    monkeypatch.setattr("src.training.run_folder.is_finished", finished)
    monkeypatch.setattr("src.training.distributed.rank", lambda: rank)

    def fake_train_run(
        task: object, runs: Path, on_epoch: object = None, loader_workers: int = 0
    ) -> None:
        trained.append((task, runs, loader_workers, on_epoch is not None))

    monkeypatch.setattr("src.training.train_run.train_run", fake_train_run)
    args = SimpleNamespace(runs=tmp_path, loader_workers=2)
    train.train_one(args, task)
    assert asked == [(tmp_path, config)]
    printed = rank == 0  # the first process alone prints
    assert trained == ([] if there else [(task, tmp_path, 2, printed)])


# Calibration of what was trained

PROBABILITIES = [f"p_{name}" for name in SEVERITIES]


def severity_predictions(studies: range, seed: int) -> pd.DataFrame:
    """Make predictions of some studies' crops at random."""
    rng = np.random.default_rng(seed)
    table = sites(studies.stop - 1)
    table = table[table["study_id"].isin(studies)]
    where = ["crop", "study_id", "series_id", "instance_number", "condition", "level"]
    told = rng.dirichlet((2.0, 0.7, 0.4), len(table))
    out = table[where].assign(truth=rng.integers(3, size=len(table)))
    columns = dict(zip(PROBABILITIES, told.T, strict=True))
    return out.assign(predicted=told.argmax(axis=1), **columns).reset_index(drop=True)


HONEST = [
    severity_predictions(range(1, 4), 0),
    severity_predictions(range(4, 7), 1),
]


@pytest.fixture
def severity_runs(tmp_path: Path) -> Path:
    """Two honest severity runs, and one of the row split and of another task each."""
    usual = {"task": "severity", "labels": list(SEVERITIES)}
    for fold, predictions in enumerate(HONEST):
        write_run(tmp_path, description(**usual, fold=str(fold)), predictions)
    leaking = severity_predictions(range(1, 7), 2)
    write_run(tmp_path, description(**usual, split="row"), leaking)
    write_run(tmp_path, description(), leaking)
    return tmp_path


def test_calibration_is_fitted_on_runs_split_by_study_alone(
    severity_runs: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    fitted = []
    some = Calibration({name: Correction(prior_weight=0.5) for name in FAMILIES}, 1.25)

    def fit(table: pd.DataFrame) -> CalibrationFit:
        fitted.append(table)
        return CalibrationFit(some, table[list(SEVERITIES)].to_numpy(float))

    monkeypatch.setattr("src.classification.prior_comparison.fit_calibration", fit)
    train.calibrate(severity_runs)
    [table] = fitted
    keys = ["study_id", "condition", "level"]
    expected = pd.concat(HONEST).set_index(keys)[PROBABILITIES]
    told = table.set_index(keys).loc[expected.index, list(SEVERITIES)]
    assert np.allclose(told, expected)
    assert len(table) == len(expected)
    names = [f"severity-vgg11-neighbours-study-{k}-seed0" for k in (0, 1)]
    held = json.loads((severity_runs / CALIBRATION_FILE).read_text())
    rule = {"ensemble": "mean_log_probability"}
    assert held == {**asdict(some), **rule, "runs": names, "version": 2}
    assert (table[PRIOR_COLUMNS] == 1 / 3).all(axis=None)  # the runs' own
    out = capsys.readouterr().out
    # Their grades are at random: worse than thirds.
    assert out.count("Warning: the ") == out.count("no better than the prior's 1.099")
    assert "Warning: the foraminal grades score" in out


def test_another_process_than_the_first_calibrates_nothing(
    severity_runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("src.training.distributed.rank", lambda: 1)
    train.calibrate(severity_runs)
    assert not (severity_runs / CALIBRATION_FILE).exists()


def test_without_a_run_split_by_study_there_is_no_calibration(
    severity_runs: Path,
) -> None:
    for path in severity_runs.glob("severity-*-study-*"):
        (path / "config.json").unlink()
    train.calibrate(severity_runs)
    assert not (severity_runs / CALIBRATION_FILE).exists()


def test_the_tuner_gets_its_trials_storage_and_place(
    flags: Callable, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    given = []
    row = {"optimizer": "sgd", "loss": 0.5}
    monkeypatch.setattr(
        "src.training.tuning.tune", lambda *some: given.append(some) or [row]
    )
    task = SimpleNamespace(config=run_config(backbone="resnet10t"))
    more = ("--storage", "sqlite:///x.db", "--loader-workers", 2)
    args = flags("--tune", 17, *more, runs=tmp_path)
    train.tune_one(args, task)
    [(tuned, trials, storage, best, _, workers)] = given
    assert tuned is task
    assert (trials, storage, workers) == (17, "sqlite:///x.db", 2)
    assert best == tmp_path / f"tuned-{task.config.name}.toml"


def test_tuning_is_not_for_torchrun(
    flags: Callable, kit: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    args = flags("--tune", 3, cache=kit)
    monkeypatch.setattr(train, "parse", lambda: args)
    with pytest.raises(UserError, match="--tune is not for torchrun"):
        train.main()


def test_a_preset_says_what_is_seen_and_flags_win(
    flags: Callable, kit: Path, tmp_path: Path
) -> None:
    cache, folds = open_cache(kit), read_folds(kit / "folds.csv")
    preset = tmp_path / "preset.toml"
    preset.write_text('views = "all"\n[vgg16]\nviews = "own"\nslices = "repeat"\n')

    def seen(*more: object, backbone: str = "vgg11") -> tuple[str, str]:
        args = flags("--config", preset, *more, task="severity")
        config = train.configure(args, cache, folds, backbone, "holdout")
        return config.views, config.slices

    assert seen() == ("all", "neighbours")
    assert seen("--views", "own") == ("own", "neighbours")
    assert seen(backbone="vgg16") == ("own", "repeat")
    assert seen("--slices", "neighbours", backbone="vgg16") == ("own", "neighbours")


def test_all_views_are_seen_with_neighbours_or_attention_over_all_slices(
    flags: Callable, kit: Path
) -> None:
    cache, folds = open_cache(kit), read_folds(kit / "folds.csv")

    def configured(*more: object, task: str = "severity") -> RunConfig:
        args = flags(*more, task=task)
        return train.configure(args, cache, folds, "vgg11", "holdout")

    for seen in ("neighbours", "attention"):
        config = configured("--views", "all", "--slices", seen)
        assert (config.views, config.slices) == ("all", seen)
    assert configured("--views", "all").slices == "neighbours"
    plain = configured()
    assert (plain.views, plain.slices) == ("own", "neighbours")
    with pytest.raises(UserError, match="--slices repeat shows one"):
        configured("--views", "all", "--slices", "repeat")
    for task in ("condition", "location"):
        with pytest.raises(UserError, match=f"--task severity: the task {task}"):
            configured("--views", "all", task=task)


@pytest.mark.parametrize(
    ("task", "more", "says"),
    [
        ("location", (), "--soften 0.5 softens labels of condition and severity"),
        ("severity", ("--tune", 4), "--soften 0.5 is not for --tune"),
    ],
)
def test_labels_are_softened_where_there_are_some(
    task: str, more: tuple, says: str, flags: Callable, cache: CropCache
) -> None:
    with pytest.raises(UserError, match=says):
        configured(flags("--soften", 0.5, *more, task=task), cache)
    plain = configured(flags(*more, task=task), cache)
    assert plain.hyperparameters.soften == 0
