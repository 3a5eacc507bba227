"""A run that sees all views: trained, read back, and used beside a one-view run."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from view_crops import FOLDS, PX, SLICES, strength, view_cache, views_config

from src.cache.crop_cache import CropCache
from src.classification.calibration import out_of_fold_probabilities
from src.classification.crop_task import make_crop_task
from src.classification.predictions import read_predictions
from src.classification.variants import name_variants
from src.errors import UserError
from src.models.view_attention import ViewAttention
from src.training.config import RunConfig
from src.training.run_folder import Run, build_model, check_images, read_runs
from src.training.splits import crop_splits
from src.training.train_run import train_run

VIEWS = views_config(hyperparameters=strength(0.5))
OWN = replace(VIEWS, views="own")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> CropCache:
    return view_cache(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def runs(cache: CropCache, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """Train a run with all views and one with the marked view, an epoch each."""
    folder = tmp_path_factory.mktemp("runs")
    for config in (VIEWS, OWN):
        train_run(make_crop_task(cache, FOLDS, config), folder)
    return {run.config.views: run for run in read_runs(folder, "severity")}


def test_runs_of_all_views_and_of_one_have_names_of_their_own() -> None:
    assert VIEWS.name == "severity-resnet10t-views-attention-study-holdout-seed0"
    assert OWN.name == "severity-resnet10t-attention-study-holdout-seed0"
    names = [name for name, _ in name_variants([OWN, VIEWS])]
    assert names == ["resnet10t", "resnet10t (study, attention, views all)"]


def test_a_run_reads_itself_back(runs: dict[str, Run]) -> None:
    assert runs["all"].config == VIEWS
    model = runs["all"].model()
    assert isinstance(model, ViewAttention)
    assert model.view_marks.shape[0] == 3
    assert len(model.slice_marks) == SLICES
    images = torch.randint(0, 255, (2, 3, SLICES, PX, PX), dtype=torch.uint8)
    assert runs["all"].predictor().outputs(images).shape == (2, 3)


def test_neighbours_of_each_view_train_as_well(
    cache: CropCache, tmp_path: Path
) -> None:
    near = replace(VIEWS, slices="neighbours")
    assert near.name == "severity-resnet10t-views-neighbours-study-holdout-seed0"
    train_run(make_crop_task(cache, FOLDS, near), tmp_path)
    [run] = read_runs(tmp_path, "severity")
    assert run.config == near
    images = torch.randint(0, 255, (2, 3, 3, PX, PX), dtype=torch.uint8)
    assert run.predictor().outputs(images).shape == (2, 3)


def test_predictions_are_those_of_a_one_view_run(
    runs: dict[str, Run], cache: CropCache
) -> None:
    splits = crop_splits(cache.sites, FOLDS, "study", "holdout", 0)
    tables = [
        read_predictions(
            run.folder / "predictions.csv",
            "severity",
            run.config.labels,
            cache.sites,
            splits,
        )
        for run in runs.values()
    ]
    assert list(tables[0]) == list(tables[1])
    keys = ["crop", "study_id", "condition", "level", "truth"]
    assert tables[0][keys].equals(tables[1][keys])
    joint = out_of_fold_probabilities(tables)
    assert len(joint) == len(tables[0]) == int((splits == "test").sum())


def test_weights_begin_the_encoder(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    from src.models.backbones import build

    source = build("resnet10t", 9)
    save_file(source.state_dict(), tmp_path / "w.safetensors")
    model = build_model(VIEWS, str(tmp_path / "w.safetensors"))
    summed = source.conv1[0].weight.sum(dim=1, keepdim=True)
    assert torch.equal(model.encoder.conv1[0].weight, summed)


def test_a_side_too_small_for_the_backbone_is_refused() -> None:
    small = replace(VIEWS, backbone="vgg11")

    def check(config: RunConfig) -> None:
        check_images(config, build_model(config))

    with pytest.raises(UserError, match="--input-px"):
        check(small)
    check(replace(small, hyperparameters=strength(0.0, input_px=32)))


def test_images_are_scaled_view_by_view(runs: dict[str, Run]) -> None:
    images = torch.randint(0, 255, (2, 3, SLICES, PX, PX), dtype=torch.uint8)
    predictor = runs["all"].predictor()
    predictor.input_px = 8
    scaled = predictor._images(images)
    assert scaled.shape == (2, 3, SLICES, 8, 8)
    single = predictor._images(images[1, 2][None])
    assert torch.allclose(scaled[1, 2], single[0], atol=1e-6)
