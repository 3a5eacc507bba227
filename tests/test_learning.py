"""Learning from crops: the parts, then a training small enough to watch."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file

from src.competition.vocab import CONDITIONS
from src.errors import InputError
from src.learning.accuracy import check_label_order, study_interval, summarise
from src.learning.augment import Augmenter
from src.learning.backbones import PAPER, build, check_names
from src.learning.dataset import DEVIATION, MEAN, CropSet, as_images
from src.learning.engine import Epoch, Settings, Trainer


def crop_set(count: int = 24, classes: int = 3, slices: str = "neighbours") -> CropSet:
    """Crops whose class is plainly where the bright square is."""
    rng = np.random.default_rng(0)
    labels = np.arange(count) % classes
    crops = rng.integers(0, 60, (count, 3, 32, 32)).astype(np.uint8)
    for crop, label in zip(crops, labels, strict=True):
        crop[:, 4:28, 10 * label : 10 * label + 9] = 230
    return CropSet(crops, np.arange(count), labels.astype(np.int64), slices)


def test_the_paper_is_its_six_backbones() -> None:
    assert check_names(["paper"]) == list(PAPER)
    assert check_names(["vgg11", "paper"])[0] == "vgg11"
    assert len(check_names(["paper", "vgg16"])) == 6


def test_an_unknown_backbone_is_refused_by_name() -> None:
    with pytest.raises(InputError, match="resnet102"):
        check_names(["resnet18", "resnet102"])


@pytest.mark.parametrize("name", ["mnasnet0_5", "resnet18", "resnet10t"])
def test_torchvision_and_timm_names_give_the_asked_classes(name: str) -> None:
    model = build(name, 5).eval()
    with torch.inference_mode():
        assert model(torch.zeros(2, 3, 64, 64)).shape == (2, 5)


def test_mnasnets_running_statistics_move() -> None:
    norms = [
        module
        for module in build("mnasnet0_5", 5).modules()
        if isinstance(module, torch.nn.BatchNorm2d)
    ]
    assert min(norm.momentum for norm in norms) >= 0.1


def test_weights_from_a_file_fill_all_but_another_head(tmp_path: Path) -> None:
    torch.manual_seed(1)
    source = build("resnet18", 1000)
    save_file(source.state_dict(), tmp_path / "w.safetensors")
    loaded = build("resnet18", 5, str(tmp_path / "w.safetensors"))
    assert torch.equal(loaded.layer3[0].conv1.weight, source.layer3[0].conv1.weight)
    assert loaded.fc.weight.shape == (5, 512)


def test_weights_of_another_backbone_are_refused(tmp_path: Path) -> None:
    save_file(build("resnet18", 5).state_dict(), tmp_path / "w.safetensors")
    with pytest.raises(InputError, match="same backbone"):
        build("mnasnet0_5", 5, str(tmp_path / "w.safetensors"))
    with pytest.raises(InputError, match="no file"):
        build("resnet18", 5, str(tmp_path / "absent.safetensors"))


def test_images_are_centred_and_scaled() -> None:
    images = as_images(np.array([[[[0, 255]]]], dtype=np.uint8))
    assert images.ravel().tolist() == pytest.approx(
        [-MEAN / DEVIATION, (1 - MEAN) / DEVIATION]
    )


def test_a_pass_yields_every_crop_once_with_its_class() -> None:
    crops = crop_set(23)
    for shuffle in (None, np.random.default_rng(0)):
        batches = list(crops.batches(5, shuffle))
        counts = torch.cat([classes for _, classes in batches]).bincount()
        assert counts.tolist() == [8, 8, 7]
        for images, classes in batches:
            bright = images[:, 1].mean(dim=1).reshape(len(images), -1)
            assert (bright.argmax(dim=1) // 10).tolist() == classes.tolist()


def test_a_last_batch_of_one_is_not_trained_on() -> None:
    sizes = [len(c) for _, c in crop_set(21).batches(5, np.random.default_rng(0))]
    assert sizes == [5, 5, 5, 5]


def test_repeat_shows_the_labelled_slice_three_times() -> None:
    crops = crop_set()
    [(images, _)] = list(
        CropSet(crops.crops, crops.rows, crops.classes, "repeat").batches(24)
    )
    middle = as_images(crops.crops[:, 1])
    for channel in range(3):
        assert torch.equal(images[:, channel], middle)


def test_augmentation_changes_crops_the_same_way_in_all_slices() -> None:
    one = np.random.default_rng(0).integers(0, 255, (1, 40, 40)).astype(np.uint8)
    crops = np.repeat(one[None], 3, axis=1)
    changed = Augmenter(seed=3)(np.repeat(crops, 8, axis=0))
    assert changed.dtype == np.uint8
    assert (changed[:, 0] == changed[:, 1]).all()
    assert (changed[:, 0] == changed[:, 2]).all()
    assert any((crop[0] != one[0]).any() for crop in changed)


def test_augmentation_never_mirrors() -> None:
    ramp = np.tile(np.arange(0, 240, 4, dtype=np.uint8), (60, 1))
    crops = np.repeat(np.stack([ramp] * 3)[None], 40, axis=0)
    for crop in Augmenter(seed=0)(crops):
        inside = crop[0, 20:40, 15:45].astype(float).mean(axis=0)
        assert inside[-1] > inside[0]


def fit(settings: Settings, train: CropSet, validation: CropSet) -> tuple:
    """Train a small network; return the trainer and its epochs."""
    torch.manual_seed(settings.seed)
    trainer = Trainer(build("resnet10t", 3), settings, torch.device("cpu"))
    epochs: list[Epoch] = []
    trainer.fit(train, validation, epochs.append)
    return trainer, epochs


def test_a_training_learns_and_ends_with_its_best_weights() -> None:
    crops = crop_set(48)
    trainer, epochs = fit(Settings(epochs=6, batch_size=12), crops, crops)
    best = min(epochs, key=lambda epoch: epoch.validation_loss)
    assert best.validation_top1 == 1.0
    loss = torch.nn.functional.cross_entropy(
        trainer.logits(crops), torch.from_numpy(crops.classes)
    )
    assert loss.item() == pytest.approx(best.validation_loss, rel=1e-4)
    assert [e.best for e in epochs][best.epoch - 1]


def test_a_training_stops_when_validation_stops_improving() -> None:
    train = crop_set(24)
    wrong = CropSet(train.crops, train.rows, (train.classes + 1) % 3, "neighbours")
    _, epochs = fit(Settings(epochs=30, patience=2, batch_size=12), train, wrong)
    assert len(epochs) < 30
    assert not any(epoch.best for epoch in epochs[-2:])
    assert epochs[-3].best


def test_the_same_seed_trains_the_same_way() -> None:
    crops = crop_set(24)
    losses = [
        [e.train_loss for e in fit(Settings(epochs=2, batch_size=8), crops, crops)[1]]
        for _ in range(2)
    ]
    assert losses[0] == losses[1]


def predictions(truth: list[int], predicted: list[int]) -> pd.DataFrame:
    table = pd.DataFrame({"truth": truth, "predicted": predicted})
    table["study_id"] = np.arange(len(table)) // 2
    table["condition"] = [CONDITIONS[index] for index in truth]
    for index, name in enumerate(CONDITIONS):
        table[f"p_{name}"] = (table["predicted"] == index).astype(float)
    return table


def test_accuracy_of_a_table_worked_out_by_hand() -> None:
    # 0 left foraminal, 1 left subarticular, 2 right foraminal, 3 right s., 4 canal
    table = predictions([0, 0, 2, 2, 1, 3, 4, 4], [0, 2, 2, 0, 1, 4, 4, 4])
    summary = summarise(table)
    assert summary["top1"] == 5 / 8
    assert summary["foraminal_side"] == 2 / 4
    assert summary["foraminal_merged"] == 7 / 8
    assert summary["confusion"] == [
        [1, 0, 1, 0, 0],
        [0, 1, 0, 0, 0],
        [1, 0, 1, 0, 0],
        [0, 0, 0, 0, 1],
        [0, 0, 0, 0, 2],
    ]
    assert summary["n"] == 8
    assert summary["studies"] == 4


def test_labels_in_another_order_are_refused() -> None:
    table = predictions([0, 1, 2, 3, 4], [0, 1, 2, 3, 4])
    check_label_order(table, list(CONDITIONS))
    with pytest.raises(InputError, match="order"):
        check_label_order(table, sorted(CONDITIONS, reverse=True))
    swapped = table.rename(
        columns={
            f"p_{CONDITIONS[0]}": f"p_{CONDITIONS[1]}",
            f"p_{CONDITIONS[1]}": f"p_{CONDITIONS[0]}",
        }
    )
    with pytest.raises(InputError, match="order"):
        check_label_order(swapped, list(CONDITIONS))


def test_the_interval_is_wider_where_a_studys_crops_err_together() -> None:
    rng = np.random.default_rng(0)
    studies = np.repeat(np.arange(60), 20)
    alone = rng.random(1200) < 0.8
    together = np.repeat(rng.random(60) < 0.8, 20)
    widths = []
    for right in (alone, together):
        low, high = study_interval(studies, right)
        assert low < right.mean() < high
        widths.append(high - low)
    assert widths[0] == pytest.approx(2 * 1.96 * np.sqrt(0.16 / 1200), rel=0.25)
    assert widths[1] == pytest.approx(2 * 1.96 * np.sqrt(0.16 / 60), rel=0.25)
