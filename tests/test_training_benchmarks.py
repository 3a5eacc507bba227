"""The benchmarks of training and inference: what they time, and that they run."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tiny_training import CPU, tiny_model, weights_of
from toy_crops import QUIET, crop_set

from benchmarks import fed_training, gpu_table2, training_speed
from benchmarks.fed_training import FedTraining, ResidentBatch, WaitClock
from benchmarks.gpu_table2 import repeated
from benchmarks.plain_loop import PlainLoop, PngCrops, plain_loader
from benchmarks.training_speed import FED, Setting, Trained, summary
from src.cache.build_crops import build_cache
from src.cache.overview_cache import build_overviews
from src.classification.crop_task import CropTraining
from src.competition.folds import make_folds
from src.competition.tables import image_folder, read_training
from src.files import write_csv
from src.imaging.crops import CropSpec
from src.machine import peak_of
from src.training.data_loading import training_loader
from src.training.predictor import normalize
from src.training.trainer import Trainer


def test_a_plain_loader_decodes_the_very_crops_in_any_order(tmp_path: Path) -> None:
    crops = crop_set(6).crops
    found = {}
    for images, classes in plain_loader(PngCrops(crops, tmp_path), 4):
        for image, number in zip(images, classes.tolist(), strict=True):
            found.setdefault(number, []).append(image)
    expected = normalize(torch.from_numpy(crops))
    assert sum(map(len, found.values())) == 6
    for number, images in found.items():
        for image in images:
            away = (expected[number::5] - image).abs().amax(dim=(1, 2, 3))
            assert away.min() < 1e-5
    assert PngCrops(crops, tmp_path, input_px=48)[0][0].shape == (3, 48, 48)


def test_a_plain_epoch_trains_on_every_crop(tmp_path: Path) -> None:
    model = tiny_model()
    model[-1] = torch.nn.Linear(64, 5)
    loop, before, shown = PlainLoop(model, 4, CPU), weights_of(model), []
    model.register_forward_hook(lambda _, given, __: shown.append(len(given[0])))
    loop.train_epoch(PngCrops(crop_set(10).crops, tmp_path))
    assert shown == [4, 4, 2]
    assert not torch.equal(weights_of(model)["1.weight"], before["1.weight"])


def test_a_resident_batch_is_the_loaders_first_as_often_as_it_has_any() -> None:
    loader = training_loader(crop_set(30), 12, 0, CPU)
    resident = ResidentBatch(loader, CPU)
    batches = list(resident)
    assert len(batches) == len(resident) == len(loader) == 3
    first = next(iter(loader)).images
    assert all(torch.equal(batch.images, first) for batch in batches)


def test_the_waiting_share_is_the_loaders_time_of_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = SimpleNamespace(now=0.0)
    stub = SimpleNamespace(perf_counter=lambda: clock.now)
    monkeypatch.setattr(fed_training, "time", stub)

    class Slow:
        sampler = None

        def __iter__(self) -> Iterator[int]:
            for number in range(3):
                clock.now += 2.0
                yield number

    waits = WaitClock(Slow(), CPU)  # type: ignore[arg-type]
    for _ in waits:
        clock.now += 5.0
    assert waits.waited_s == 6.0


def test_both_passes_train_as_many_images() -> None:
    own = QUIET
    shown: list[int] = []
    model = tiny_model()
    model.register_forward_hook(lambda _, given, __: shown.append(len(given[0])))
    trainer = Trainer(model, own, CPU, precision=torch.float32)
    some = crop_set(24)
    fed = FedTraining(trainer, CropTraining(some, some, 12))
    for measure in (fed.fed_rate, fed.resident_rate, fed.waiting_share):
        shown.clear()
        assert measure() > 0
        assert shown == [12, 12]


@pytest.mark.parametrize(
    ("name", "teraflops"),
    [
        ("NVIDIA H100 80GB HBM3", 989),
        ("Tesla T4", 65),
        ("NVIDIA A100-SXM4-40GB", 312),
        ("NVIDIA L40S", 362),
        ("NVIDIA L4", 121),
        ("Tesla P100-PCIE-16GB", 19),
    ],
)
def test_a_cards_peak_is_looked_up_by_its_whole_name(name: str, teraflops: int) -> None:
    assert peak_of(name) == teraflops * 1e12


def test_an_unknown_cards_peak_is_unknown() -> None:
    assert peak_of("NVIDIA GeForce GT 1030") is None


def test_crops_are_repeated_with_their_classes() -> None:
    longer = repeated(crop_set(6), 14)
    assert longer.rows.tolist() == [*range(6), *range(6), 0, 1]
    assert longer.classes.tolist() == (np.array(longer.rows) % 3).tolist()
    assert longer.mirrored is None


@pytest.fixture(scope="module")
def cache(phantom: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Crops, overviews and folds of the small phantom."""
    made = tmp_path_factory.mktemp("bench") / "cache"
    data, images = read_training(phantom), image_folder(phantom, "train")
    build_cache(data.points, data.labels, data.series, images, made, CropSpec(32, 50))
    build_overviews(data.series, images, made)
    write_csv(make_folds(data.labels, 0), made / "folds.csv")
    return made


def test_the_gpu_benchmark_runs_on_a_cpu(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "gpu.json"
    flags = ["--cache", str(cache), "--smoke", "--out", str(out)]
    monkeypatch.setattr(sys, "argv", ["gpu_table2", *flags])
    gpu_table2.main()
    told = json.loads(out.read_text())
    assert told["device"] == "CPU"
    assert told["minutes"] > 0
    tasks = {row["task"]: row for row in told["runs"]}
    assert set(tasks) == {"condition", "severity", "location"}
    for row in tasks.values():
        assert 0 <= row["waits for data"] <= 1
        assert row["share of peak"] == "unknown"
    assert tasks["location"]["of the paper's loop"] is None


def test_the_training_benchmark_writes_its_tables(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = {}
    monkeypatch.setattr(training_speed, "WORKERS", 0)
    monkeypatch.setattr(
        training_speed,
        "write_table",
        lambda section, rows, note: written.update({section: rows}),
    )
    flags = ["--cache", str(cache), "--backbone", "mnasnet0_5", "--batch-size", "4"]
    small = ["--steps", "1", "--turn-seconds", "0.01", "--turns", "1", "--write"]
    monkeypatch.setattr(sys, "argv", ["training_speed", *flags, *small])
    training_speed.main()
    assert set(written) == {"Feeding", "Training"}
    assert len(written["Feeding"]) == 4
    names = ["mnasnet0_5", "median of 1", "least of 1"]
    assert [row["backbone"] for row in written["Training"]] == names
    keys = {tuple(row) for row in written["Training"]}
    assert len(keys) == 1


def trained(plain: float, fed: float, bound: float, **also: float) -> Trained:
    """One turn of a backbone."""
    rates = {"plain": plain, "ours": fed, "workers": fed, "resident": bound, **also}
    return Trained("x", torch.bfloat16, 2, {name: [r] for name, r in rates.items()})


def test_a_backbones_bounds_are_those_of_one_turn() -> None:
    one = trained(5.0, 8.0, 10.0, augmentation=40.0, float32=6.0)
    assert one.over_plain() == [1.6]
    assert one.in_float32() == [1.2]
    assert one.of_bound() == [0.8]
    # 1/8 s an image, of 1/10 s for the step and 1/40 s for the augmentation.
    assert one.of_bound_and_augmentation() == [pytest.approx(1.0)]
    same = trained(5.0, 8.0, 10.0, augmentation=40.0)  # a format that is float32
    assert same.in_float32() == same.over_plain()


def test_the_summary_has_median_and_least_of_the_backbones() -> None:
    some = [trained(1.0, fed, 4.0, augmentation=9.0, float32=1.5) for fed in (2, 3, 1)]
    middle, least = summary(some)
    assert (middle["backbone"], least["backbone"]) == ("median of 3", "least of 3")
    assert (middle["of the plain loop"], least["of the plain loop"]) == ("2.00", "1.00")
    assert (middle["of it in float32"], middle[FED]) == ("1.50", "0.50")
    assert least[FED] == "0.25"
    assert middle["format"] is None
    assert list(middle) == list(some[0].row())


@pytest.mark.parametrize(
    ("rate", "steps"), [(8.0, 4), (1.0, 2), (1000.0, 32)], ids=["fits", "slow", "fast"]
)
def test_a_turn_has_as_many_steps_as_fill_it(rate: float, steps: int) -> None:
    setting = Setting(batch_size=5, steps=2, turns=5, turn_s=2.5)  # 8 x 2.5 / 5
    assert setting.steps_of(lambda: rate) == steps
