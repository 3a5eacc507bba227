"""Batches from a DataLoader: the same bytes for any number of processes."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from synthetic_study import overviews
from tiny_training import CPU, tiny_trainer
from torch.utils._python_dispatch import TorchDispatchMode
from toy_crops import QUIET, ToyTask, crop_set

from src.cache.mapped_array import MappedArray
from src.classification.crop_dataset import CropDataset
from src.competition.constants import AXIAL_T2, SAGITTAL_T2, TARGETS
from src.localization.keypoint_augmentation import KeypointAugmenter
from src.localization.series_dataset import AnnotatedSeries, SeriesDataset
from src.training.augmentation import Augmenter
from src.training.data_loading import Batch, BatchDataset, training_loader
from src.training.optimizers import OPTIMIZERS
from src.training.site_jitter import PUBLISHED, SiteJitter

SEED = 5


def crops(folder: Path) -> CropDataset:
    """Random crops on the disk, augmented, some flipped, with class weights."""
    rng = np.random.default_rng(0)
    path = folder / "crops.npy"
    np.save(path, rng.integers(0, 255, (30, 5, 24, 24), dtype=np.uint8))
    count = 23
    jitter = SiteJitter(PUBLISHED, 1.0, spare=1)
    return CropDataset(
        MappedArray(path),
        *(rng.permutation(30)[:count], rng.integers(0, 3, count)),
        *(rng.random(count) < 0.5, "neighbours", rng.random(count) < 0.5),
        *(rng.random(count) < 0.3, (1.0, 2.0, 4.0)),
        *(Augmenter(0.5, SEED, mirrors=False, jitter=jitter), SEED),
        mixup=0.5,
        class_count=5,
    )


def series(folder: Path) -> SeriesDataset:
    """Overviews on the disk with a site each, augmented."""
    found = []
    for study, description in enumerate((SAGITTAL_T2, AXIAL_T2, SAGITTAL_T2)):
        view = overviews()[description]
        rng = np.random.default_rng(study)
        path = folder / f"{study}.npy"
        np.save(path, rng.integers(0, 255, view.images.shape, dtype=np.uint8))
        site = (np.array([TARGETS.index("spinal_canal_stenosis_l2_l3")]), np.array([4]))
        view = replace(view, images=MappedArray(path))
        point = np.array([[100.0, 90.0]])
        found.append(AnnotatedSeries(study, description, view, *site, point))
    return SeriesDataset(found, KeypointAugmenter(0.5, SEED), SEED)


def tensors(target: Any) -> Iterator[torch.Tensor]:
    """List the tensors of a batch's target."""
    if torch.is_tensor(target):
        yield target
    else:
        for part in target.series:
            yield from (part.targets, part.distance_mm, part.points)


def digests(loader: "torch.utils.data.DataLoader[Batch]", epoch: int) -> list[str]:
    """Hash each batch of an epoch."""
    loader.sampler.set_epoch(epoch)
    found = []
    for images, target, scale, _ in loader:
        digest = hashlib.sha256(repr((images.shape, scale)).encode())
        for values in (images, *tensors(target)):
            digest.update(values.numpy().tobytes())
        found.append(digest.hexdigest())
    return found


@pytest.mark.filterwarnings("ignore:This DataLoader will create 3 worker processes")
@pytest.mark.parametrize("make", [crops, series])
@pytest.mark.parametrize(
    ("workers", "method"),
    [
        *((1, "fork"), (3, "fork"), (1, "spawn")),
        pytest.param(3, "spawn", marks=pytest.mark.slow),
    ],
)
def test_any_number_of_workers_makes_the_same_batches(
    make: Callable[[Path], BatchDataset], workers: int, method: str, tmp_path: Path
) -> None:
    size = 4 if make is crops else 12
    plain = training_loader(make(tmp_path), size, SEED, CPU)
    loader = training_loader(make(tmp_path), size, SEED, CPU, workers, method)
    first, second, third = (digests(plain, epoch) for epoch in (1, 2, 3))
    assert len(first) == len(plain) == (6 if make is crops else 2)
    assert set(first).isdisjoint(second)
    assert digests(loader, 1) == first
    assert digests(loader, 2) == second
    if method == "fork":  # a resumed training begins in the middle
        loader = training_loader(make(tmp_path), size, SEED, CPU, workers, method)
    assert digests(loader, 3) == third


def test_another_seed_deals_out_other_batches(tmp_path: Path) -> None:
    one, other = (training_loader(crops(tmp_path), 4, seed, CPU) for seed in (1, 2))
    assert set(digests(one, 1)).isdisjoint(digests(other, 1))


@pytest.mark.parametrize("workers", [0, 2])
def test_workers_persist_and_memory_is_pinned_for_cuda_alone(
    workers: int, tmp_path: Path
) -> None:
    for device in (CPU, torch.device("cuda", 0)):
        loader = training_loader(crops(tmp_path), 4, SEED, device, workers)
        assert loader.pin_memory == (device.type == "cuda")
        assert loader.persistent_workers == (workers > 0)
        assert loader.num_workers == workers


@pytest.mark.parametrize("make", [crops, series])
def test_the_parts_of_a_batch_are_its_bytes_in_order(
    make: Callable[[Path], BatchDataset], tmp_path: Path
) -> None:
    data, size = make(tmp_path), 8 if make is crops else 24
    if isinstance(data, CropDataset):
        data = replace(data, mixup=0.0)  # which mixes the rows of a part
    whole = training_loader(data, size, SEED, CPU)
    cut = training_loader(data, size, SEED, CPU, accumulate=2)
    images = torch.cat([batch.images for batch in whole])
    assert torch.equal(torch.cat([batch.images for batch in cut]), images)
    assert len(cut) == len(list(cut))
    assert cut.sampler.steps == len(whole) == sum(batch.steps for batch in cut)


def test_a_batch_is_cut_into_even_parts_of_two_rows_or_more(tmp_path: Path) -> None:
    cut = training_loader(crops(tmp_path), 10, SEED, CPU, accumulate=4)
    told = [(len(batch.images), batch.steps) for batch in cut]
    # 23 crops: batches of 10, 10 and 3, of which the last fills but one part.
    ten = [(3, False), (3, False), (2, False), (2, True)]
    assert told == [*ten, *ten, (3, True)]
    assert cut.sampler.steps == 3


class HostReads(TorchDispatchMode):
    """Counts the values that are read from a device, each of which waits for it."""

    count = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Count and pass on an operation."""
        self.count += func is torch.ops.aten._local_scalar_dense.default
        return func(*args, **(kwargs or {}))


def test_a_host_read_is_counted() -> None:
    with HostReads() as reads:
        torch.ones(1).item()
    assert reads.count == 1


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("weights", [None, (1.0, 2.0, 4.0)])
@pytest.mark.parametrize(("ema", "mixup"), [(0.0, 0.0), (0.9, 0.5)])
def test_no_step_reads_a_value_from_the_device(
    optimizer: str, weights: tuple[float, ...] | None, ema: float, mixup: float
) -> None:
    reads = []
    for count in (12, 48):  # one step and four
        mixed = {"mixup": mixup, "class_count": 3}
        train = replace(crop_set(count), weights=weights, **mixed)
        own = replace(QUIET, optimizer=optimizer, schedule="cosine", ema=ema)
        one = tiny_trainer(own)
        task = ToyTask(train, train, one.hyperparameters)
        loader = one.start(task)
        one.train_epoch(task, loader, 1)  # which makes what is made once
        with HostReads() as counted:
            one.train_epoch(task, loader, 2)
        reads.append(counted.count)
    assert reads[0] == reads[1] <= 2  # the epoch's loss and the number of its crops
