"""What a locator learns from: sites stay on their spots through every change."""

from pathlib import Path

import numpy as np
import pytest
import torch
from made_study import overview, overviews
from safetensors.torch import save_file

from src.competition.vocab import AXIAL_T2, SAGITTAL_T2, TARGETS
from src.learning.engine import Trainer
from src.learning.heatmaps import cross_entropies, log_chances, peaks
from src.learning.locator import Locator, build_locator
from src.learning.settings import Settings
from src.learning.site_augment import MIRRORED_TARGET, SiteAugmenter
from src.learning.site_set import SiteGroup, SiteSet

LEFT = TARGETS.index("left_subarticular_stenosis_l4_l5")
RIGHT = TARGETS.index("right_subarticular_stenosis_l4_l5")
CANAL = TARGETS.index("spinal_canal_stenosis_l2_l3")
DOTS_PX = np.array([[60.0, 90.0], [150.0, 120.0]])


def dotted(slices: int = 2) -> np.ndarray:
    """Slices with a bright dot at each of DOTS_PX in the channels' middle one."""
    images = np.full((slices, 3, 224, 224), 40, np.uint8)
    for x, y in DOTS_PX.astype(int):
        images[:, 1, y - 2 : y + 3, x - 2 : x + 3] = 255
    return images


@pytest.mark.parametrize("axial", [True, False])
def test_dots_and_their_points_move_together(axial: bool) -> None:
    change = SiteAugmenter(0.6, seed=1)
    targets = np.array([LEFT, CANAL])
    mirrored = []
    for epoch in range(12):
        images, points, new = change(dotted(), DOTS_PX, targets, axial, 5, epoch)
        bright = images[0, 1].astype(float)
        for x, y in points:
            row, column = round(y), round(x)
            if 4 <= row < 220 and 4 <= column < 220:
                around = bright[row - 2 : row + 3, column - 2 : column + 3]
                assert around.mean() > np.percentile(bright, 99.5) * 0.7
        mirrored.append(new.tolist() == [RIGHT, CANAL])
        assert new.tolist() in ([LEFT, CANAL], [RIGHT, CANAL])
    assert 2 <= sum(mirrored) <= 10


def test_a_mirrored_target_is_the_other_side_of_the_same_level() -> None:
    assert MIRRORED_TARGET[LEFT] == RIGHT
    assert MIRRORED_TARGET[CANAL] == CANAL
    assert (MIRRORED_TARGET[MIRRORED_TARGET] == np.arange(25)).all()


def test_a_sagittal_mirror_turns_the_slices_and_not_the_picture() -> None:
    images = np.stack([np.full((224, 224), 50 * c, np.uint8) for c in range(3)])[None]
    change = SiteAugmenter(1e-9, seed=0)
    told = [
        change(images, DOTS_PX, np.array([LEFT] * 2), False, 1, e) for e in range(9)
    ]
    for changed, _, targets in told:
        levels = changed[0, :, 112, 112].astype(int)
        assert (levels[0] > levels[2]) == (targets[0] == RIGHT)
    assert {int(targets[0]) for _, _, targets in told} == {LEFT, RIGHT}


def test_the_loss_is_least_where_the_site_is() -> None:
    points, away_mm = torch.tensor([[0.25, 0.75]]), torch.tensor([[9.0, 0.0, 9.0]])
    here = torch.zeros(1, 3, 16, 16)
    here[0, 1, 11:13, 3:5] = 8.0
    elsewhere = here.roll(4, dims=3)
    other_slice = here.roll(1, dims=1)
    losses = [
        cross_entropies(scores, away_mm, points).item()
        for scores in (here, elsewhere, other_slice, torch.zeros(1, 3, 16, 16))
    ]
    assert losses[0] < losses[3] < min(losses[1:3])
    assert losses[3] == pytest.approx(np.log(3 * 16 * 16), abs=1e-4)
    assert log_chances(here).exp().sum().item() == pytest.approx(1)
    found_slice, place = peaks(here)
    assert found_slice.item() == 1
    assert place[0].tolist() == pytest.approx([0.25, 0.75], abs=1 / 16)


def test_a_thin_series_shares_a_site_among_its_slices() -> None:
    scores, points = torch.zeros(1, 3, 8, 8), torch.tensor([[0.5, 0.5]])
    scores[0, 1] = 5.0
    sure = torch.tensor([[4.5, 0.0, 4.5]])
    thin = torch.tensor([[1.0, 0.0, 1.0]])
    losses = [cross_entropies(scores, away, points).item() for away in (sure, thin)]
    # A sure answer for one slice is right for thick slices, and too sure for thin ones.
    assert losses[1] > losses[0] + 1


def groups() -> list[SiteGroup]:
    """A T2 and an axial group with a bright square where each target is."""
    out = []
    for study in range(4):
        for description, target, index in (
            (SAGITTAL_T2, CANAL, 6),
            (AXIAL_T2, LEFT, 9),
        ):
            view = overviews()[description]
            view.images[index, 80:120, 100:140] = 255
            place = np.array([[119.5, 99.5]])
            found = (np.array([target]), np.array([index]), place)
            out.append(SiteGroup(study, description, view, *found))
    return out


def test_every_batch_shows_the_marked_slice_and_says_where_it_is() -> None:
    some = SiteSet(groups())
    nothing = SiteAugmenter(0.0, 0)
    seen = 0
    for images, targets, weight in some.training(12, 1, 0, nothing):
        assert weight == 1
        for one in targets:
            assert one.stop - one.start == 6
            shown = images[one.start : one.stop, 1]
            x, y = (one.points[0] * 224).astype(int)
            assert shown[one.away_mm[0].argmin(), y, x] == 255
            assert sorted(one.away_mm[0])[1] == pytest.approx(4)
            seen += 1
    assert seen == len(some)
    assert some.steps(12) == 4


def test_of_a_thin_slab_fewer_slices_are_shown() -> None:
    def shown(step_mm: float, count: int = 15) -> int:
        view = overview(SAGITTAL_T2, 1, np.arange(count) * step_mm)
        places = (np.array([CANAL]), np.array([7]), np.array([[119.5, 99.5]]))
        group = SiteGroup(1, SAGITTAL_T2, view, *places)
        some = SiteSet([group]).training(6, 1, 0, SiteAugmenter(0.0, 0))
        [(images, [target], _)] = list(some)
        assert 0 in target.away_mm  # the marked slice is among them
        assert len(images) == target.stop == group.shown
        return len(images)

    assert shown(4.5) == 6  # 63 mm
    assert shown(1.25) == 4  # 17.5 mm
    assert shown(1.0) == 3  # 14 mm
    assert shown(0.1) == 3


def test_a_locator_learns_to_find_a_square() -> None:
    torch.manual_seed(0)
    settings = Settings(epochs=6, patience=6, batch_size=24, augment=0.0, input_px=64)
    trainer = Trainer(
        Locator("resnet10t", 25),
        settings,
        torch.device("cpu"),
        augment=SiteAugmenter(0.0, 0),
    )
    some = SiteSet(groups())
    before, _ = some.judge(trainer)
    trainer.fit(some, some)
    loss, found = some.judge(trainer)
    assert loss < 0.8 * before
    assert found > 0.9


def test_a_locator_goes_on_from_another(tmp_path: Path) -> None:
    torch.manual_seed(1)
    first = Locator("resnet10t", 25)
    save_file(first.state_dict(), tmp_path / "weights.safetensors")
    other = build_locator("resnet10t", 25, str(tmp_path / "weights.safetensors"))
    for name, value in first.state_dict().items():
        assert torch.equal(other.state_dict()[name], value), name
