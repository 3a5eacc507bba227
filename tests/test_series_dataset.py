"""What a locator learns from: sites stay on their spots through every change."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from dataset_batches import plain_images, series_batches, steps
from safetensors.torch import save_file
from synthetic_study import overview, overviews

from src.competition.constants import AXIAL_T2, SAGITTAL_T2, TARGETS
from src.imaging.overview import joined
from src.localization.heatmaps import cross_entropies, log_probabilities, peaks
from src.localization.keypoint_augmentation import SWAPPED_TARGET, KeypointAugmenter
from src.localization.location_task import LocationTask
from src.localization.series_dataset import (
    AnnotatedSeries,
    HeatmapTarget,
    HeatmapTargets,
    SeriesDataset,
)
from src.models.heatmap_fpn import HeatmapFPN, build_heatmap_fpn
from src.training.config import Hyperparameters
from src.training.trainer import Trainer, Validation

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
    change = KeypointAugmenter(0.6, seed=1)
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
    assert SWAPPED_TARGET[LEFT] == RIGHT
    assert SWAPPED_TARGET[CANAL] == CANAL
    assert (SWAPPED_TARGET[SWAPPED_TARGET] == np.arange(25)).all()


def test_a_sagittal_mirror_turns_the_slices_and_not_the_picture() -> None:
    images = np.stack([np.full((224, 224), 50 * c, np.uint8) for c in range(3)])[None]
    change = KeypointAugmenter(1e-9, seed=0)
    told = [
        change(images, DOTS_PX, np.array([LEFT] * 2), False, 1, e) for e in range(9)
    ]
    for changed, _, targets in told:
        levels = changed[0, :, 112, 112].astype(int)
        assert (levels[0] > levels[2]) == (targets[0] == RIGHT)
    assert {int(targets[0]) for _, _, targets in told} == {LEFT, RIGHT}


def test_the_loss_is_least_where_the_site_is() -> None:
    points, distance_mm = torch.tensor([[0.25, 0.75]]), torch.tensor([[9.0, 0.0, 9.0]])
    here = torch.zeros(1, 3, 16, 16)
    here[0, 1, 11:13, 3:5] = 8.0
    elsewhere = here.roll(4, dims=3)
    other_slice = here.roll(1, dims=1)
    losses = [
        cross_entropies(scores, distance_mm, points).item()
        for scores in (here, elsewhere, other_slice, torch.zeros(1, 3, 16, 16))
    ]
    assert losses[0] < losses[3] < min(losses[1:3])
    assert losses[3] == pytest.approx(np.log(3 * 16 * 16), abs=1e-4)
    assert log_probabilities(here).exp().sum().item() == pytest.approx(1)
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


def groups() -> list[AnnotatedSeries]:
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
            out.append(AnnotatedSeries(study, description, view, *found))
    return out


def test_every_batch_shows_the_marked_slice_and_says_where_it_is() -> None:
    some = SeriesDataset(groups())
    nothing = KeypointAugmenter(0.0, 0)
    seen = 0
    for images, targets, weight in series_batches(some, 12, 1, 0, nothing):
        assert weight == 1
        for one in targets:
            assert one.stop - one.start == 6
            shown = images[one.start : one.stop, 1]
            x, y = (one.points[0] * 224).int()
            assert shown[one.distance_mm[0].argmin(), y, x] == 255
            assert sorted(one.distance_mm[0])[1] == pytest.approx(4)
            seen += 1
    assert seen == len(some)
    assert steps(some, 12) == 4


def test_of_a_thin_slab_fewer_slices_are_shown() -> None:
    def shown(step_mm: float, count: int = 15) -> int:
        view = overview(SAGITTAL_T2, 1, np.arange(count) * step_mm)
        places = (np.array([CANAL]), np.array([7]), np.array([[119.5, 99.5]]))
        group = AnnotatedSeries(1, SAGITTAL_T2, view, *places)
        some = series_batches(
            SeriesDataset([group]), 6, 1, 0, KeypointAugmenter(0.0, 0)
        )
        [(images, [target], _)] = list(some)
        assert 0 in target.distance_mm  # the marked slice is among them
        assert len(images) == target.stop == group.max_slices
        return len(images)

    assert shown(4.5) == 6  # 63 mm
    assert shown(1.25) == 4  # 17.5 mm
    assert shown(1.0) == 3  # 14 mm
    assert shown(0.1) == 3


NOTHING = KeypointAugmenter(0.0, 0)


def task(series: SeriesDataset) -> LocationTask:
    """Make a task that trains and validates on the same series."""
    return LocationTask(None, None, series, series, pd.DataFrame())


def validate(series: SeriesDataset, model: Any) -> Validation:
    """Validate a model on some series."""
    return task(series).validate(model)


class Recorder:
    """Changes nothing, and keeps what it was asked to change."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.asked: list[dict[str, Any]] = []

    def __call__(
        self,
        images: np.ndarray,
        points: np.ndarray,
        targets: np.ndarray,
        axial: bool,
        number: int,
        epoch: int,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Give back what came."""
        told = {"targets": targets.tolist(), "axial": axial}
        self.asked.append({**told, "number": int(number), "epoch": epoch})
        return images, points, targets


def canals(heights_mm: Iterable[float], slices: list[int]) -> AnnotatedSeries:
    """A sagittal group, a canal marked on some slices; each slice has its own grey."""
    view = overview(SAGITTAL_T2, 1, heights_mm)
    view.images[:] = 10 * np.arange(len(view), dtype=np.uint8)[:, None, None]
    targets = TARGETS.index("spinal_canal_stenosis_l1_l2") + np.arange(len(slices))
    points = 50.0 + 20 * np.arange(len(slices))[:, None] * (1, 0.5)
    return AnnotatedSeries(1, SAGITTAL_T2, view, targets, np.array(slices), points)


def greys(images: torch.Tensor) -> np.ndarray:
    """Which slices [n, 3] are shown."""
    return images[:, :, 0, 0].numpy().astype(int) // 10


def test_over_the_epochs_every_slice_is_shown_with_its_own_sites() -> None:
    marks = [2, 4, 6, 9, 11]
    some = SeriesDataset([canals(4.0 * np.arange(14), marks)])
    [group] = some.series
    seen: dict[tuple[int, int], list[int]] = {}
    for seed in (0, 1):
        for epoch in range(20):
            [(images, [target], _)] = series_batches(some, 6, epoch, seed, NOTHING)
            before, shown, after = greys(images).T
            assert len(set(shown)) == 6
            assert (before == np.maximum(shown - 1, 0)).all()
            assert (after == np.minimum(shown + 1, 13)).all()
            asked = [n for n, index in enumerate(marks) if index in shown]
            assert target.targets.tolist() == group.targets[asked].tolist()
            distance_mm = [
                [4 * abs(marks[n] - index) for index in shown] for n in asked
            ]
            assert target.distance_mm.tolist() == pytest.approx(np.array(distance_mm))
            assert target.points * 224 - 0.5 == pytest.approx(group.points[asked])
            seen[seed, epoch] = shown.tolist()
    assert {index for shown in seen.values() for index in shown} == set(range(14))
    counts = [sum(index in shown for shown in seen.values()) for index in marks]
    assert min(counts) > 15  # three of five are chosen each time
    assert len({tuple(shown) for shown in seen.values()}) > 20
    assert any(seen[0, epoch] != seen[1, epoch] for epoch in range(20))


def test_beside_a_marked_slice_stands_the_one_before_or_after() -> None:
    some = SeriesDataset([canals(np.arange(15.0), [7])])
    beside = []
    for epoch in range(30):
        [(images, _, _)] = series_batches(some, 6, epoch, 0, NOTHING)
        shown = set(greys(images)[:, 1].tolist())
        assert len(shown) == 3
        assert 7 in shown
        beside.append((6 in shown, 8 in shown))
    assert {(True, False), (False, True)} <= set(beside)
    assert (False, False) not in beside


def test_changes_are_asked_for_by_plane_series_and_epoch() -> None:
    some, record = SeriesDataset(groups()), Recorder()
    orders = []
    for seed, epoch in ((0, 3), (0, 4), (1, 3)):
        record.asked.clear()
        list(series_batches(some, 12, epoch, seed, record))
        numbers = [one["number"] for one in record.asked]
        assert sorted(numbers) == list(range(8))
        for one in record.asked:
            group = some.series[one["number"]]
            assert one["targets"] == group.targets.tolist()
            assert one["axial"] == (group.description == AXIAL_T2)
            assert one["epoch"] == epoch
        orders.append(numbers)
    assert orders[0] != orders[1]
    assert orders[0] != orders[2]


def test_a_site_is_as_far_from_angled_slices_as_along_their_normals() -> None:
    flat, tilted = overview(AXIAL_T2, 3, [40, 36]), overview(AXIAL_T2, 4, [-20, -24])
    angle = np.radians(20)
    down = np.array([0, np.cos(angle), np.sin(angle)])
    middles_mm = np.array([[0.0, 20, height] for height in (-20, -24)])
    tilted.slices[["down_x", "down_y", "down_z"]] = down
    corners_mm = middles_mm - 100 * (np.array([1, 0, 0]) + down)
    tilted.slices[["at_x", "at_y", "at_z"]] = corners_mm
    points = np.array([[111.5, 171.5], [80.0, 91.5]])  # both on the first flat slice
    targets = np.array([LEFT, RIGHT])
    both = joined([flat, tilted])
    group = AnnotatedSeries(1, AXIAL_T2, both, targets, np.array([0, 0]), points)
    behind_mm = np.array([60, -20]) * 180 / 224  # of the middle, on flat slices
    normal = np.array([0, -np.sin(angle), np.cos(angle)])
    for site, y_mm in zip(group.distance_mm, behind_mm, strict=True):
        place = np.array([0, 20 + y_mm, 40])
        expected = [0, 4, *np.abs((place - middles_mm) @ normal)]
        assert site == pytest.approx(expected)


def test_a_batchs_loss_is_the_mean_over_its_sites_on_their_own_slices() -> None:
    outputs = torch.randn(9, 25, 6, 6, generator=torch.Generator().manual_seed(0))
    rng = np.random.default_rng(0)
    asked = [(0, 4, [LEFT, CANAL, RIGHT]), (4, 9, [CANAL])]
    batch = [
        HeatmapTarget(
            *(start, stop, torch.tensor(targets)),
            torch.from_numpy(rng.uniform(0, 9, (len(targets), stop - start))),
            torch.from_numpy(rng.uniform(0, 1, (len(targets), 2))),
        )
        for start, stop, targets in asked
    ]
    each = [
        cross_entropies(
            outputs[one.start : one.stop, target][None],
            *(given[[n]] for given in (one.distance_mm, one.points)),
        ).item()
        for one in batch
        for n, target in enumerate(one.targets)
    ]
    loss = task(SeriesDataset([])).loss(outputs, HeatmapTargets(tuple(batch))).item()
    assert loss == pytest.approx(np.mean(each), rel=1e-5)


class Pointer:
    """A locator that points at cell (12, 10) of 28, for a target and a grey slice."""

    device = torch.device("cpu")

    def __init__(self, grey: int, target: int, height: float = 9.0) -> None:
        """Point as strongly as height says."""
        self.grey, self.target, self.height = grey, target, height

    def outputs(self, images: torch.Tensor) -> torch.Tensor:
        """Score [n, 25, 28, 28]."""
        assert len(images) <= 32
        out = torch.zeros(len(images), 25, 28, 28)
        out[images[:, 1, 0, 0] == self.grey, self.target, 10, 12] = self.height
        return out


@pytest.mark.parametrize(
    ("description", "off_px", "pointed", "found"),
    [
        (SAGITTAL_T2, 3.5, 5, 1),  # 4.4 mm
        (SAGITTAL_T2, 4.5, 5, 0),  # 5.6 mm
        (AXIAL_T2, 5.5, 5, 1),  # 4.4 mm
        (AXIAL_T2, 6.5, 5, 0),  # 5.2 mm
        (AXIAL_T2, 0.0, 35, 1),  # past the slices that are shown at once
        (SAGITTAL_T2, 0.0, 6, 0),
    ],
)
def test_found_is_what_lies_on_its_slice_and_within_5_mm(
    description: str, off_px: float, pointed: int, found: int
) -> None:
    view = overviews()[description]
    view.images[pointed] = 77
    places = np.array([[99.5 + off_px, 83.5], [20.0, 20.0]])  # of the cell's middle
    marks = np.array([5 if pointed < 7 else pointed, 5])
    group = AnnotatedSeries(1, description, view, np.array([13, 3]), marks, places)
    assert validate(SeriesDataset([group]), Pointer(77, 13))[1] == found / 2


def test_processes_judge_each_its_own_series(monkeypatch: pytest.MonkeyPatch) -> None:
    some = SeriesDataset([canals(4.0 * np.arange(n), [5]) for n in (7, 9, 11)])
    alone = validate(some, Pointer(0, 0))
    monkeypatch.setattr("src.training.distributed.world_size", lambda: 2)
    told = []

    def keep(totals: torch.Tensor) -> torch.Tensor:
        told.append(totals)
        return totals

    monkeypatch.setattr("src.training.distributed.all_reduce_sum", keep)
    for rank in (0, 1):
        monkeypatch.setattr("src.training.distributed.rank", lambda rank=rank: rank)
        validate(some, Pointer(0, 0))
    assert [counts[2].item() for counts in told] == [2, 1]
    loss, found, count = sum(told).tolist()
    assert (loss / count, found / count) == pytest.approx(alone)


def test_no_process_is_without_a_series(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("src.training.distributed.world_size", lambda: 2)
    assert steps(SeriesDataset(groups()), 6) == 4  # one series a batch were too few
    assert steps(SeriesDataset(groups()[:7]), 12) == 3


def test_validation_is_a_mean_over_sites() -> None:
    short, long = (canals(4.0 * np.arange(n), [5, 3][:m]) for n, m in ((7, 2), (20, 1)))
    loss, _ = validate(SeriesDataset([short, long]), Pointer(0, 0, height=0.0))
    cells = 28 * 28
    expected = (2 * np.log(7 * cells) + np.log(20 * cells)) / 3
    assert loss == pytest.approx(expected, rel=1e-5)


def test_normalisation_is_measured_from_the_first_slice_to_the_last() -> None:
    some = SeriesDataset([canals(4.0 * np.arange(n), [5]) for n in (7, 21)])
    [images] = plain_images(some, 12, np.array([1]))
    assert greys(images)[:, 1].tolist() == [0, 4, 8, 12, 16, 20]


def test_a_larger_share_of_a_batch_weighs_more(monkeypatch: pytest.MonkeyPatch) -> None:
    some = SeriesDataset(groups()[:3])
    monkeypatch.setattr("src.training.distributed.world_size", lambda: 2)
    weights = []
    for rank in (0, 1):
        monkeypatch.setattr("src.training.distributed.rank", lambda rank=rank: rank)
        [(_, targets, weight)] = series_batches(some, 18, 1, 0, NOTHING)
        assert len(targets) == 2 - rank
        weights.append(weight)
    # Of three series with a site each, one process has two and one has one.
    assert weights == pytest.approx([4 / 3, 2 / 3])


def test_a_locators_parts_of_a_batch_weigh_as_many_sites_as_they_have() -> None:
    sites = ([3], [3, 5, 7], [5], [2, 9])
    some = SeriesDataset([canals(4.0 * np.arange(14), found) for found in sites])
    [whole] = series_batches(some, 24, 1, 0, NOTHING)
    parts = list(series_batches(some, 24, 1, 0, NOTHING, accumulate=2))
    counts = [[len(target.targets) for target in part[1]] for part in parts]
    total = sum(map(sum, counts))
    assert total == sum(len(target.targets) for target in whole[1])
    assert len(set(map(sum, counts))) == 2
    assert [scale for *_, scale in parts] == [sum(part) / total for part in counts]


def test_a_mirrored_axial_site_stays_on_its_very_pixel() -> None:
    images = np.zeros((2, 3, 224, 224), np.uint8)
    images[:, 1, 90, 60] = 255
    change, point = KeypointAugmenter(1e-9, seed=0), np.array([[60.0, 90.0]])
    columns = set()
    for epoch in range(9):
        out, [[x, y]], _ = change(images, point, np.array([LEFT]), True, 1, epoch)
        row, column = np.unravel_index(out[0, 1].argmax(), (224, 224))
        assert (x, y) == pytest.approx((column, row), abs=0.01)
        assert out[1, 1, row, column] == 255
        columns.add(int(column))
    assert columns == {60, 163}


def test_sites_that_leave_the_picture_are_kept() -> None:
    change = KeypointAugmenter(1.0, seed=0)
    points = np.array([[1.0, 1.0], [222, 3], [112, 222], [112, 112]])
    targets = np.array([LEFT, RIGHT, CANAL, CANAL + 1])
    outside = 0
    for epoch in range(9):
        _, moved, told = change(dotted(1), points, targets, True, 1, epoch)
        assert len(moved) == len(told) == 4
        outside += ((moved < 0) | (moved > 223)).any()
    assert outside > 3


def test_a_seed_changes_series_in_its_own_way() -> None:
    given = (dotted(1), DOTS_PX, np.array([LEFT, CANAL]), True, 1, 1)
    one, again, other = (KeypointAugmenter(0.6, seed)(*given)[1] for seed in (1, 1, 2))
    assert (one == again).all()
    assert np.abs(one - other).max() > 1


def test_series_of_an_epoch_are_changed_each_in_its_own_way() -> None:
    some = SeriesDataset([canals(4.0 * np.arange(14), [7])] * 6)
    change = KeypointAugmenter(0.6, seed=1)
    batches = series_batches(some, 36, 1, 0, change)
    targets = [target for _, of_batch, _ in batches for target in of_batch]
    places = {target.points.numpy().tobytes() for target in targets}
    assert len(places) == 6


def test_a_locator_learns_to_find_a_square() -> None:
    torch.manual_seed(0)
    hyperparameters = Hyperparameters(
        epochs=6, patience=6, batch_size=24, augment=0.0, input_px=64
    )
    trainer = Trainer(HeatmapFPN("resnet10t", 25), hyperparameters, torch.device("cpu"))
    some = SeriesDataset(groups())
    before, _ = validate(some, trainer)
    trainer.fit(task(some))
    loss, found = validate(some, trainer)
    assert loss < 0.8 * before
    assert found > 0.9


def test_a_locator_goes_on_from_another(tmp_path: Path) -> None:
    torch.manual_seed(1)
    first = HeatmapFPN("resnet10t", 25)
    save_file(first.state_dict(), tmp_path / "weights.safetensors")
    other = build_heatmap_fpn("resnet10t", 25, str(tmp_path / "weights.safetensors"))
    for name, value in first.state_dict().items():
        assert torch.equal(other.state_dict()[name], value), name
