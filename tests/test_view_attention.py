"""Attention over all views, against its formula written out view by view."""

import math

import pytest
import torch
from torch import nn

from src.errors import UserError
from src.models import backbones
from src.models.backbones import build, build_grey
from src.models.gated_attention import FEATURES
from src.models.view_attention import ViewAttention, present_views, stand_in
from src.training.predictor import normalize

VIEWS, SLICES, CLASSES, PX = 3, 4, 5, 6


@pytest.fixture
def model() -> ViewAttention:
    """Make the network around an encoder of one layer, with marks that differ."""
    torch.manual_seed(0)
    made = ViewAttention("resnet10t", CLASSES, VIEWS, SLICES, "none")
    made.encoder = nn.Sequential(nn.Flatten(), nn.Linear(PX * PX, FEATURES))
    for marks in (made.view_marks, made.slice_marks, made.scores.weight):
        nn.init.normal_(marks)
    return made.eval()


def sites(*missing: tuple[int, int]) -> torch.Tensor:
    """Four random sites as a network sees them; missing: pairs of site and view."""
    rng = torch.Generator().manual_seed(1)
    crops = torch.randint(0, 255, (4, VIEWS, SLICES, PX, PX), generator=rng)
    for site, view in missing:
        crops[site, view] = 0
    return normalize(crops.to(torch.uint8))


MISSING = [(0, 1), (2, 0), (2, 2)]


@torch.no_grad()
def pooled_by_hand(
    model: ViewAttention, site: torch.Tensor, views: list[int]
) -> torch.Tensor:
    """Pool some views of a site [views, slices, px, px] slice by slice."""
    seen, scores = [], []
    for view in views:
        for place in range(SLICES):
            features = model.encoder(site[view, place][None])[0]
            features = features + model.view_marks[view, 0] + model.slice_marks[place]
            value = torch.tanh(model.values.weight @ features + model.values.bias)
            gate = model.gates.weight @ features + model.gates.bias
            gated = value / (1 + torch.exp(-gate))
            scores.append((model.scores.weight @ gated + model.scores.bias).item())
            seen.append(features)
    total = sum(math.exp(score) for score in scores)
    return sum(math.exp(s) / total * f for s, f in zip(scores, seen, strict=True))


def test_a_site_is_graded_by_the_slices_of_its_present_views(
    model: ViewAttention,
) -> None:
    some = sites(*MISSING)
    with torch.no_grad():
        graded = model(some)
    assert graded.shape == (4, CLASSES)
    for number, (site, outputs) in enumerate(zip(some, graded, strict=True)):
        views = [view for view in range(VIEWS) if (number, view) not in MISSING]
        pooled = pooled_by_hand(model, site, views)
        expected = model.head.weight @ pooled + model.head.bias
        assert torch.allclose(outputs, expected, atol=1e-4)


@torch.no_grad()
def test_three_slices_may_be_the_channels_of_one_image() -> None:
    torch.manual_seed(0)
    model = ViewAttention("resnet10t", CLASSES, VIEWS, 3, "none", channels=3)
    model.encoder = nn.Sequential(nn.Flatten(), nn.Linear(3 * PX * PX, FEATURES))
    for marks in (model.view_marks, model.slice_marks, model.scores.weight):
        nn.init.normal_(marks)
    some = sites(*MISSING)[:, :, :3]
    graded = model.eval()(some)
    for number, (site, outputs) in enumerate(zip(some, graded, strict=True)):
        seen, scores = [], []
        for view in (view for view in range(VIEWS) if (number, view) not in MISSING):
            features = model.encoder(site[view][None])[0]
            features = features + model.view_marks[view, 0] + model.slice_marks[0]
            gated = torch.tanh(model.values(features)) * torch.sigmoid(
                model.gates(features)
            )
            scores.append(model.scores(gated).exp())
            seen.append(features)
        pooled = sum(
            score / sum(scores) * f for score, f in zip(scores, seen, strict=True)
        )
        assert torch.allclose(outputs, model.head(pooled), atol=1e-4)


def test_training_also_grades_each_view_by_its_own_slices(model: ViewAttention) -> None:
    some = sites(*MISSING)
    with torch.no_grad():
        graded = model.train()(some)
        alone = model.eval()(some)
    assert graded.shape == (4, 1 + VIEWS, CLASSES)
    assert torch.equal(graded[:, 0], alone)
    for number, site in enumerate(some):
        for view, head in enumerate(model.view_heads):
            outputs = graded[number, 1 + view]
            if (number, view) in MISSING:
                assert not outputs.any()
                continue
            pooled = pooled_by_hand(model, site, [view])
            expected = head.weight @ pooled + head.bias
            assert torch.allclose(outputs, expected, atol=1e-4)


@pytest.mark.parametrize("training", [False, True])
def test_the_grey_of_a_missing_view_changes_nothing(training: bool) -> None:
    torch.manual_seed(0)
    model = ViewAttention("resnet10t", CLASSES, VIEWS, SLICES, "none").train(training)
    black = normalize(torch.randint(0, 255, (3, VIEWS, SLICES, 32, 32)).byte())
    white = black.clone()
    black[0, 1], white[0, 1] = normalize(torch.tensor([0, 255]).byte())
    with torch.no_grad():
        assert torch.equal(model(black), model(white))


def test_batch_norm_sees_no_missing_view() -> None:
    torch.manual_seed(0)
    model = ViewAttention("resnet10t", CLASSES, VIEWS, SLICES, "none").train()
    some = normalize(torch.randint(0, 255, (3, VIEWS, SLICES, 32, 32)).byte())
    seen = []
    model.encoder.conv1[0].register_forward_pre_hook(
        lambda stem, given: seen.append(given[0].clone())
    )
    some[0, 1] = some[2, 2] = normalize(torch.tensor(0).byte())
    with torch.no_grad():
        model(some)
    kept = torch.cat([some[0, [0, 2]], some[1], some[2, :2]])
    assert torch.equal(seen[0], kept.flatten(0, 1)[:, None])


def test_a_fixed_shape_gives_the_same_grades(model: ViewAttention) -> None:
    some = sites(*MISSING)
    whole = stand_in(some, present_views(some))
    assert torch.equal(whole[0], some[0, [0, 0, 2]])
    assert torch.equal(whole[1], some[1])
    assert torch.equal(whole[2], some[2, [1, 1, 1]])
    with torch.no_grad():
        expected = model(some)
        model._encoded = lambda images, present: model._features(  # as on a GPU
            stand_in(images, present)
        )
        assert torch.allclose(model(some), expected, atol=1e-5)


def test_a_site_without_any_view_has_finite_grades(model: ViewAttention) -> None:
    some = sites(*((1, view) for view in range(VIEWS)))
    with torch.no_grad():
        assert model(some).isfinite().all()
        assert present_views(some).tolist()[1] == [True] * VIEWS


def test_one_grey_level_is_not_blank() -> None:
    crops = torch.full((1, 2, SLICES, PX, PX), 40, dtype=torch.uint8)
    crops[0, 1, 2, 3, 3] = 41
    assert present_views(normalize(crops)).tolist() == [[False, True]]


@pytest.mark.parametrize(
    "name", ["resnet18", "mnasnet0_75", "resnet10t", "tf_mobilenetv3_small_minimal_100"]
)
def test_a_grey_backbone_sees_what_three_equal_colours_show(name: str) -> None:
    grey = torch.randn(2, 1, 64, 64)
    torch.manual_seed(0)
    colours = build(name, 7).eval()
    torch.manual_seed(0)
    one = build_grey(name, 7).eval()
    with torch.no_grad():
        expected = colours(grey.expand(-1, 3, -1, -1))
        assert torch.allclose(one(grey), expected, rtol=1e-4, atol=1e-4)


def test_a_backbone_without_a_stem_of_colours_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    odd = nn.Sequential(nn.Conv2d(12, 4, 3))
    monkeypatch.setattr(backbones, "build", lambda *given: odd)
    with pytest.raises(UserError, match=r"odd_net.*--views all.*vgg11"):
        build_grey("odd_net", 5)
