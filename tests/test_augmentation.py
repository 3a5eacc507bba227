"""Random changes: how large, how often, in which plane, and whether labels follow."""

import numpy as np
import pytest

from src.competition.constants import CONDITIONS
from src.localization.keypoint_augmentation import KeypointAugmenter
from src.training.augmentation import Augmenter
from src.training.mirror import mirror, mirror_where
from src.training.site_jitter import SiteJitter

HARDLY = 1e-9  # a strength whose turns, shifts and lights do not show
SIDE_PX = 64


def changes_of_place(strength: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw changes; return their turns in degrees, scales, and shifts in image sides.

    Where three points come to lie tells an affine change exactly.
    """
    change = KeypointAugmenter(strength, seed=3)
    middle = (SIDE_PX - 1) / 2
    corners = middle + np.array([[0.0, 0.0], [10, 0], [0, 10]])
    image = np.zeros((1, 3, SIDE_PX, SIDE_PX), np.uint8)
    turns, scales, shifts = [], [], []
    for epoch in range(250):
        _, points, _ = change(image, corners, np.array([0, 1, 2]), False, 7, epoch)
        matrix = np.stack([points[1] - points[0], points[2] - points[0]], axis=1) / 10
        left, sizes, right = np.linalg.svd(matrix)
        turn = left @ right
        turns.append(np.degrees(np.arctan2(turn[1, 0], turn[0, 0])))
        scales.append(sizes)
        shifts.append((points[0] - middle) / SIDE_PX)
    return np.array(turns), np.array(scales), np.array(shifts)


@pytest.mark.parametrize("strength", [0.4, 1.0])
def test_changes_of_place_are_as_large_as_they_say(strength: float) -> None:
    turns, scales, shifts = changes_of_place(strength)
    # Even draws come close to both of their bounds, and never pass one.
    for seen, bound in ((turns, 25), (scales - 1, 0.2), (shifts, 0.12)):
        rounding = 1 / SIDE_PX if seen is shifts else 1e-3
        assert -bound * strength - rounding <= seen.min() < -0.8 * bound * strength
        assert 0.8 * bound * strength < seen.max() <= bound * strength + rounding
    assert np.abs(turns).mean() == pytest.approx(0.9 * 12.5 * strength, rel=0.2)


@pytest.mark.parametrize("strength", [0.2, 1.0])
def test_changes_of_light_are_as_large_as_they_say(strength: float) -> None:
    grey = np.full((200, 3, 40, 40), 120, np.uint8)
    given = (np.zeros(200, np.int64), np.ones(200, bool), np.arange(200), 1)
    seen = Augmenter(strength, 0, mirrors=False)(grey, *given)[0]
    middles = seen[:, :, 16:24, 16:24].astype(float)
    # Brightness by .4 of white, contrast by .4; noise of a deviation of .06 of white.
    shifts = np.median(middles, axis=(1, 2, 3)) - 120
    most = (0.4 * 255 + 0.4 * 120) * strength
    assert 0.5 * most < np.abs(shifts).max() <= most + 3
    assert shifts.min() < 0 < shifts.max()
    noise = middles[np.abs(shifts) < 60].std(axis=(1, 2, 3))
    assert 0.6 < noise.max() / (0.06 * 255 * strength) < 1.2
    assert 0.2 < (noise > 0.3).mean() < 0.4


def test_changes_follow_from_the_seed() -> None:
    crops = np.random.default_rng(0).integers(0, 255, (6, 3, 24, 24)).astype(np.uint8)
    given = (crops, np.zeros(6, np.int64), np.ones(6, bool), np.arange(6), 1)
    first, again, other = (Augmenter(0.5, s, False)(*given)[0] for s in (1, 1, 2))
    assert (first == again).all()
    assert (first != other).any(axis=(1, 2, 3)).all()


def crops_with_a_side(count: int, slices: int = 3) -> np.ndarray:
    """Crops that are bright on the image's left, and brighter slice by slice."""
    crops = np.zeros((count, slices, 16, 16), np.uint8)
    crops[..., :8] = 100
    return crops + 20 * np.arange(slices, dtype=np.uint8)[:, None, None]


def test_every_crop_is_mirrored_in_its_own_plane_and_its_class_with_it() -> None:
    crops = crops_with_a_side(120)
    axial = np.arange(120) % 2 == 0
    classes = np.arange(120) // 2 % 5
    rows = np.arange(120)
    seen, told = Augmenter(HARDLY, 0, mirrors=True)(crops, classes, axial, rows, 1)
    columns = seen[:, 1, 8, 4] < seen[:, 1, 8, 12]
    slices = seen[:, 0, 8, 4] > seen[:, 2, 8, 4]
    assert not columns[~axial].any()
    assert not slices[axial].any()
    other_side = {"left": "right", "right": "left", "spinal": "spinal"}
    for turned, before, after in zip(columns | slices, classes, told, strict=True):
        side, rest = CONDITIONS[before].split("_", 1)
        side = other_side[side] if turned else side
        assert CONDITIONS[after] == f"{side}_{rest}"
    for plane in (columns[axial], slices[~axial]):
        assert 20 <= plane.sum() <= 40


def test_a_crop_and_some_of_a_batch_in_the_mirror_by_hand() -> None:
    crops = np.arange(2 * 3 * 2 * 4, dtype=np.uint8).reshape(2, 3, 2, 4)
    before = crops.copy()
    turned = mirror(crops, np.array([True, False]))
    assert (turned[0] == np.flip(crops[0], axis=2)).all()
    assert (turned[1] == np.flip(crops[1], axis=0)).all()
    axial = np.array([False, True])
    some = mirror_where(crops, np.array([False, True]), axial)
    assert (some[0] == crops[0]).all()
    assert (some[1] == np.flip(crops[1], axis=2)).all()
    assert (crops == before).all()


def jittered(share: float, strength: float = HARDLY) -> np.ndarray:
    """Which of a crop's five slices are seen [300, 5] where some are jittered."""
    crops = np.zeros((300, 5, 8, 8), np.uint8)
    crops += 40 * np.arange(5, dtype=np.uint8)[:, None, None]
    row = {"error_mm": [0.0, 0.0], "slices_off": [1 - share, share]}
    errors = [{"axial": False, **row}]
    jitter = SiteJitter(errors, 1.0, spare=1) if share else None
    augment = Augmenter(strength, 1, mirrors=False, jitter=jitter)
    given = (np.zeros(300, np.int64), np.zeros(300, bool), np.arange(300), 2)
    seen, _ = augment(crops, *given)
    return np.rint(seen[:, :, 4, 4] / 40).astype(int)


def test_a_jittered_crop_is_taken_one_slice_before_or_after_its_own() -> None:
    orders, counts = np.unique(jittered(0.25), axis=0, return_counts=True)
    before, own, after = [0, 0, 1, 2, 3], [0, 1, 2, 3, 4], [1, 2, 3, 4, 4]
    assert orders.tolist() == [before, own, after]
    assert counts[1] / 300 == pytest.approx(0.75, abs=0.07)
    assert counts[0] / 300 == pytest.approx(counts[2] / 300, abs=0.07)


@pytest.mark.parametrize(("share", "strength"), [(0.0, HARDLY), (0.25, 0.0)])
def test_without_a_share_or_a_strength_no_slice_is_jittered(
    share: float, strength: float
) -> None:
    assert (jittered(share, strength) == np.arange(5)).all()
