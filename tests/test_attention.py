"""Where the severity models look: shares that follow the pooling's own scores."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from fake_classifiers import Fixed, run_of
from torch import nn

from src.competition.constants import AXIAL_T2, SAGITTAL_T1, SAGITTAL_T2
from src.inference.attention import attention_of
from src.inference.grading import CropClassifier
from src.inference.site_views import SiteViews
from src.inference.study import Study
from src.models.slice_attention import SliceAttention
from src.models.view_attention import ViewAttention

RIGHT = ("right_neural_foraminal_narrowing", "l4_l5")
LEFT = ("left_neural_foraminal_narrowing", "l4_l5")


class Looks(Fixed):
    """A predictor that attends as it is told."""

    def __init__(self, shares: Sequence[object]) -> None:
        """Set the shares [views, places] of every site."""
        super().__init__()
        self.shares = torch.tensor(shares)

    def attention(self, images: torch.Tensor) -> torch.Tensor:
        """Return the shares [n, views, places]."""
        return self.shares.repeat(len(images), *(1,) * self.shares.ndim)


class Crops(SiteViews):
    """Views whose crops are blank."""

    def crops(self, spec: object) -> dict[tuple[str, str], np.ndarray]:
        """Return crops [views, slices, px, px]."""
        return {at: np.zeros((3, 3, 16, 16), np.uint8) for at in (LEFT, RIGHT)}


def looking(shares: Sequence[object], slices: str = "attention") -> CropClassifier:
    run = run_of("severity", views="all", slices=slices)
    return CropClassifier(run, Looks(shares))


def test_the_ensembles_shares_are_means_by_view() -> None:
    models = [
        looking([[0.2], [0.5], [0.3]], "neighbours"),
        looking([[0.4], [0.1], [0.5]], "neighbours"),
    ]
    found = attention_of(models, {}, Crops(Study(1), {}))
    assert found[LEFT].views == pytest.approx(
        {SAGITTAL_T1: 0.3, SAGITTAL_T2: 0.3, AXIAL_T2: 0.4}
    )
    assert found[LEFT].slices == {}


def test_a_right_sites_sagittal_slices_are_turned_back() -> None:
    # As it was flipped for the network, its first sagittal slice is the last of the
    # patient; axial slices keep their order.
    shares = [[0.3, 0.1, 0.0], [0.0, 0.1, 0.1], [0.2, 0.15, 0.05]]
    found = attention_of([looking(shares)], {}, Crops(Study(1), {}))
    left, right = found[LEFT].slices, found[RIGHT].slices
    assert left[SAGITTAL_T1, -1] == pytest.approx(0.3)
    assert right[SAGITTAL_T1, 1] == pytest.approx(0.3)
    assert left[AXIAL_T2, -1] == right[AXIAL_T2, -1] == pytest.approx(0.2)
    assert sum(right.values()) == pytest.approx(1)
    assert found[RIGHT].views[SAGITTAL_T1] == pytest.approx(0.4)


def test_without_a_pooling_model_there_is_none() -> None:
    model = CropClassifier(run_of("severity", views="own"), Fixed())
    assert attention_of([model], {}, Crops(Study(1), {})) == {}


def favour(model: nn.Module, seed: int = 0) -> nn.Module:
    """Give a network's pooling scores that differ."""
    torch.manual_seed(seed)
    nn.init.normal_(model.scores.weight, std=5.0)
    return model.eval()


@torch.inference_mode()
def test_a_views_share_is_its_part_of_the_pooled_features() -> None:
    """Pooling is linear in features: the head of the shares' mean is the answer."""
    model = favour(ViewAttention("resnet10t", 3, views=3, slices=2, weights="none"))
    images = torch.rand(2, 3, 2, 32, 32)
    images[1, 2] = 0.5  # blank: a missing view
    shares = model.attention(images)
    assert shares.shape == (2, 3, 2)
    assert shares.flatten(1).sum(dim=1) == pytest.approx([1, 1])
    assert shares[1, 2].tolist() == [0, 0]
    present = torch.tensor([[True] * 3, [True, True, False]])
    seen = model._encoded(images, present) + model.view_marks + model.slice_marks
    pooled = (shares[..., None] * seen).sum(dim=(1, 2))
    assert torch.allclose(model.head(pooled), model(images), atol=1e-4)


@torch.inference_mode()
def test_a_slices_share_is_its_part_of_the_pooled_features() -> None:
    model = favour(SliceAttention("resnet10t", 3, slices=3, weights="none"))
    images = torch.rand(2, 3, 32, 32)
    shares = model.attention(images)
    each = images.flatten(0, 1)[:, None].expand(-1, 3, -1, -1)
    seen = model.encoder(each).view(2, 3, -1) + model.place
    pooled = (shares[..., None] * seen).sum(dim=1)
    assert torch.allclose(model.head(pooled), model(images), atol=1e-4)
    assert shares.std() > 0.003  # equal ones have none
