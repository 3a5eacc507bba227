"""The contents of the report's figures: values, positions, colours, labels."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from cache_cohort import SERIES, write_images
from fake_condition_runs import write_cache
from kept_figures import bars, columns, image, keep_figures, points, texts
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from pydicom import dcmread
from report_entries import CONFUSION, entry, run_row

from src.cache.crop_cache import CropCache, open_cache
from src.competition.constants import AXIAL_T2, CONDITIONS, SAGITTAL_T2
from src.imaging.crops import CropSpec
from src.reporting.condition_section import draw_figures
from src.reporting.plots import (
    LEAKY,
    OURS,
    PAPERS,
    plot_accuracy,
    plot_class_counts,
    plot_confusions,
    plot_crop_samples,
    plot_losses,
)
from src.reporting.preview import draw_preview

ROW = "row split (leaks), slices repeat"
STUDY = "study split, slices neighbours"
OTHER_BASELINES = {
    "majority_class": 0.5,
    "random_side": 0.7,
    "nearest_neighbour": 0.9,
    "nearest_neighbour_side": 1,
}
ENTRIES = {
    "mnasnet1_0 (row, repeat)": entry(
        split="row", slices="repeat", top1=0.9, top1_high=0.95
    ),
    "mnasnet1_0": entry(),
    "convnext": entry(backbone="convnext", top1=0.822, baselines=OTHER_BASELINES),
}


@pytest.fixture
def accuracy_panels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Axes, Axes]:
    """Figure 3's panels: one row split entry, and two study split entries."""
    kept, path = keep_figures(monkeypatch), tmp_path / "accuracy.png"
    plot_accuracy(ENTRIES, path)
    by_study, by_row = kept(path).axes
    return by_row, by_study


def test_figure_3_shows_the_study_split_first(
    accuracy_panels: tuple[Axes, Axes],
) -> None:
    by_row, by_study = accuracy_panels
    assert (by_study.get_title(), by_row.get_title()) == (STUDY, ROW)
    labels = [label.get_text() for label in by_study.get_xticklabels()]
    assert (list(by_study.get_xticks()), labels) == ([0, 1], ["mnasnet1_0", "convnext"])


def test_figure_3_has_our_bar_beside_the_papers(
    accuracy_panels: tuple[Axes, Axes],
) -> None:
    by_row, by_study = accuracy_panels
    assert bars(by_study) == [
        (pytest.approx(-0.2), pytest.approx(81.1), OURS),
        (pytest.approx(0.2), pytest.approx(88.2), PAPERS),
        (pytest.approx(0.8), pytest.approx(82.2), OURS),  # not in the paper
    ]
    assert [colour for *_, colour in bars(by_row)] == [LEAKY, PAPERS]
    assert points(by_study, "D")[0] == pytest.approx((0.2, 83.13))
    assert [text.get_text() for text in by_study.texts] == ["81.1", "88.2", "82.2"]
    assert by_study.get_ylim()[0] == 0


def test_figure_3_has_the_interval_around_its_bar(
    accuracy_panels: tuple[Axes, Axes],
) -> None:
    _, by_study = accuracy_panels
    [reach] = by_study.containers[0].lines[2][0].get_segments()
    assert reach == pytest.approx(np.array([[-0.2, 75.2], [-0.2, 88.3]]))


def test_figure_3_has_each_test_sets_own_baselines(
    accuracy_panels: tuple[Axes, Axes],
) -> None:
    _, by_study = accuracy_panels
    legend = by_study.figure.legends[0]
    colours = {
        text.get_text(): to_hex(handle.get_color())
        for text, handle in zip(legend.get_texts(), legend.legend_handles, strict=True)
        if hasattr(handle, "get_color")
    }
    drawn: dict[str, list] = {}
    for lines in by_study.collections:
        for (left, height), (right, same) in lines.get_segments():
            if height == same:
                colour = to_hex(lines.get_color()[0])
                drawn.setdefault(colour, []).append((left, right, height))
    for label, ours, others in (
        ("baseline: majority class", 59.7, 50),
        ("baseline: random foraminal side", 79.6, 70),
        ("baseline: nearest train slice", 87.1, 90),
    ):
        first, second = drawn[colours[label]]
        assert first == pytest.approx((-0.45, 0.45, ours))
        assert second == pytest.approx((0.55, 1.45, others))


def test_figure_3s_legend_has_each_bars_colour(
    accuracy_panels: tuple[Axes, Axes],
) -> None:
    legend = accuracy_panels[1].figure.legends[0]
    handles = {
        text.get_text().split(" (")[0].removesuffix(": leaks"): handle
        for text, handle in zip(legend.get_texts(), legend.legend_handles, strict=True)
    }
    for words, colour in (
        ("ours, with 95 % interval", OURS),
        ("ours, row split", LEAKY),
        ("the paper's Table 2", PAPERS),
    ):
        assert to_hex(handles[words].get_facecolor()) == colour


@pytest.fixture
def confusions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, list[Axes]]:
    """The panels of every confusion figure, by the beginning of its caption."""
    kept = keep_figures(monkeypatch)
    entries = {
        "mnasnet0_75": entry(backbone="mnasnet0_75"),
        **{name: ENTRIES[name] for name in ("mnasnet1_0", "mnasnet1_0 (row, repeat)")},
        "resnet152": entry(backbone="resnet152"),
        "convnext": ENTRIES["convnext"],
    }
    drawn = plot_confusions(entries, tmp_path)
    assert all(figure.path.parent == tmp_path for figure in drawn)
    return {
        f"{figure.caption.split(':')[0]}, {figure.path.name}": kept(figure.path).axes
        for figure in drawn
    }


def test_confusions_are_numbered_as_in_the_paper(
    confusions: dict[str, list[Axes]],
) -> None:
    assert [*confusions] == [
        "Figure 6. MNASNet, figure6_confusion_mnasnet.png",
        "Figure 7. ResNet, figure7_confusion_resnet.png",
        "Figure 8. Backbones not in the paper, figure8_confusion_others.png",
    ]
    pair, alone, other = ([*axes][:-1] for axes in confusions.values())
    assert [axes.get_title().split(":")[0] for axes in pair] == [
        *("mnasnet0_75", "mnasnet1_0", "", "mnasnet1_0")
    ]
    assert not pair[2].axison
    assert [columns(axes) for axes in (pair[0], alone[0], other[0])] == [2, 1, 1]
    assert pair[3].get_title() == f"mnasnet1_0: 90.0 % of 1,234\n{ROW}"
    assert pair[1].get_title() == f"mnasnet1_0: 81.1 % of 1,234\n{STUDY}"
    assert [axes.get_title().split(":")[0] for axes in alone] == ["resnet152"]
    assert [axes.get_title().split(":")[0] for axes in other] == ["convnext"]


def test_a_confusions_colours_are_its_counts_over_their_true_condition(
    confusions: dict[str, list[Axes]],
) -> None:
    panel = next(iter(confusions.values()))[0]
    counts = np.array(CONFUSION)
    by_hand = [[count / sum(row) for count in row] for row in CONFUSION]
    assert image(panel) == pytest.approx(np.array(by_hand))
    assert panel.images[0].get_clim() == (0, 1)  # as in every other matrix
    words = texts(panel)
    for (row, column), count in np.ndenumerate(counts):
        assert words[column, row] == ("12.5" if count == 12.5 else f"{count:.0f}")
    white = {t.get_position() for t in panel.texts if t.get_color() == "white"}
    assert white == {(0, 0), (1, 1), (2, 2), (4, 3)}  # more than half of their row


def test_a_confusions_rows_are_true_and_its_columns_predicted(
    confusions: dict[str, list[Axes]],
) -> None:
    panel = next(iter(confusions.values()))[0]
    assert (panel.get_xlabel(), panel.get_ylabel()) == ("predicted", "true")
    sides = [tuple(name.split("_")[:1]) for name in CONDITIONS]
    for labels in (panel.get_xticklabels(), panel.get_yticklabels()):
        shown = [label.get_text() for label in labels]
        assert [tuple(name.split("\n")[:1]) for name in shown] == sides
        assert [name.split("\n")[1] for name in shown] == [
            *("foraminal", "subarticular", "foraminal", "subarticular", "canal")
        ]


HISTORIES = {
    # The lowest training loss is at epoch 4, the lowest validation loss at epoch 2.
    "a": pd.DataFrame(
        {
            "epoch": [1.0, 2.0, 3.0, 4.0],
            "train_loss": [1.1, 0.6, 0.3, 0.1],
            "validation_loss": [1.3, 0.7, 0.8, 0.9],
        }
    ),
    "b": pd.DataFrame(
        {
            "epoch": [1.0, 2.0, 3.0],
            "train_loss": [1.2, 0.5, 0.0],
            "validation_loss": [1.5, 1.0, 0.75],
        }
    ),
}


@pytest.fixture
def loss_panels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Axes]:
    """Figure 4's panels: a row split entry of run b, study splits of runs a and b."""
    kept, path = keep_figures(monkeypatch), tmp_path / "loss.png"
    entries = {
        "by row": entry(split="row", slices="repeat", runs=[run_row(name="b")]),
        "by study": entry(),
        "quick": entry(runs=[run_row(name="a")], differs_by="lr 0.1"),
    }
    plot_losses(entries, HISTORIES, path)
    return kept(path).axes


def curves(axes: Axes) -> list[tuple[list[float], list[float], str]]:
    """Epochs, losses and colour of each line with an epoch."""
    return [
        (list(line.get_xdata()), list(line.get_ydata()), to_hex(line.get_color()))
        for line in axes.lines
        if line.get_marker() == "." and len(line.get_xdata())
    ]


def test_figure_4_has_training_on_the_left_and_validation_on_the_right(
    loss_panels: list[Axes],
) -> None:
    assert [panel.get_title() for panel in loss_panels] == [
        f"{part}: {title}"
        for title in (STUDY, ROW)
        for part in ("training", "validation")
    ]
    for panel, part in zip(loss_panels, ("train", "validation"), strict=False):
        drawn = curves(panel)
        assert len(drawn) == 3
        for (epochs, loss, _), name in zip(drawn, "aba", strict=True):
            history = HISTORIES[name]
            assert epochs == history["epoch"].tolist()
            assert loss == pytest.approx(history[f"{part}_loss"], abs=1e-6)
    assert [len(curves(panel)) for panel in loss_panels] == [3, 3, 1, 1]
    assert columns(loss_panels[0]) == 2


def test_figure_4s_ring_is_at_the_lowest_validation_loss(
    loss_panels: list[Axes],
) -> None:
    rings = [points(panel, "o") for panel in loss_panels]
    assert rings == [[], [(2, 0.7), (3, 0.75), (2, 0.7)], [], [(3, 0.75)]]


def test_figure_4s_colours_are_those_of_its_legend(loss_panels: list[Axes]) -> None:
    legend = loss_panels[0].figure.legends[0]
    by_label = {
        text.get_text(): to_hex(handle.get_color())
        for text, handle in zip(legend.get_texts(), legend.legend_handles, strict=True)
    }
    assert len(set(by_label.values())) == 2
    plain, other = by_label["mnasnet1_0"], by_label["mnasnet1_0\nlr 0.1"]
    assert [colour for *_, colour in curves(loss_panels[1])] == [plain, plain, other]


def test_figure_4s_panels_share_one_logarithmic_scale(loss_panels: list[Axes]) -> None:
    assert {panel.get_yscale() for panel in loss_panels} == {"log"}
    assert len({panel.get_ylim() for panel in loss_panels}) == 1
    assert len({panel.get_xlim() for panel in loss_panels}) == 1
    assert loss_panels[0].get_ylim()[0] > 0


def test_figure_1s_bars_are_each_conditions_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, path = keep_figures(monkeypatch), tmp_path / "counts.png"
    counts = dict(zip(CONDITIONS, (2, 7, 0, 1, 4), strict=True))
    shown = [name for name, count in counts.items() for _ in range(count)]
    plot_class_counts(pd.DataFrame({"condition": shown}), path)
    [axes] = kept(path).axes
    for name, count in counts.items():
        y = axes.yaxis.convert_units(name.replace("_", " "))
        [bar] = [b for b in axes.patches if b.get_y() < y < b.get_y() + b.get_height()]
        assert bar.get_width() == count
    assert [text.get_text() for text in axes.texts] == [*map(str, counts.values())]
    assert axes.get_title().startswith("14 crops")


@pytest.mark.parametrize("slices", [1, 3, 5])
def test_figure_2_has_a_crop_of_each_condition_with_its_neighbours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, slices: int
) -> None:
    kept, path = keep_figures(monkeypatch), tmp_path / "crops.png"
    # Crop n is in another row of the table; all pixels of its slice s are 10 n + s.
    numbers = [4, 0, 3, 1, 2]
    table = pd.DataFrame(
        {"crop": numbers, "condition": CONDITIONS, "level": "l4_l5"},
        index=[9, 8, 7, 6, 5],
    )
    values = 10 * np.arange(5)[:, None] + np.arange(slices)
    plot_crop_samples(
        np.broadcast_to(values[..., None, None], (5, slices, 4, 4)), table, path
    )
    panels = kept(path).axes
    rows = {1: ["labelled slice"]}.get(
        slices, ["slice before", "labelled slice", "slice after"]
    )
    middle, reach = slices // 2, len(rows) // 2
    assert [panel.get_ylabel() for panel in panels[::5]] == rows
    assert columns(panels[0]) == 5
    for column, number in enumerate(numbers):
        shown = [image(panel)[0, 0] for panel in panels[column::5]]
        first = 10 * number + middle - reach
        assert shown == [*range(first, first + len(rows))]
        assert panels[column].images[0].get_clim() == (0, 255)
        side, _ = panels[column].get_title().split(" ", 1)
        assert CONDITIONS[column].startswith(side)
        assert panels[column].get_title().endswith("\nL4/L5")


def test_each_caption_belongs_to_its_figure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = keep_figures(monkeypatch)
    write_cache(tmp_path / "cache", 12)
    cache = open_cache(tmp_path / "cache")
    drawn = draw_figures(cache, ENTRIES, HISTORIES, tmp_path / "figures")
    by_number = {figure.number: figure.path for figure in drawn}
    assert [*by_number] == [1, 2, 3, 4, 6, 8]
    assert [figure.caption.split()[2] for figure in drawn] == [
        *("How", "From", "Top-1", "Loss", "MNASNet:", "Backbones")
    ]
    for number, path in by_number.items():
        assert path.name.startswith(f"figure{number}_")
    axes = {number: kept(path).axes[0] for number, path in by_number.items()}
    assert axes[1].get_xlabel() == "crops"
    assert axes[2].get_ylabel() == "slice before"
    assert axes[3].get_ylabel().startswith("top-1 accuracy")
    assert axes[4].get_ylabel() == "mean cross entropy"
    assert axes[6].get_title().startswith("mnasnet1_0")
    assert axes[8].get_title().startswith("convnext")


def test_the_caches_preview_is_figure_2_where_there_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_figures(monkeypatch)
    write_cache(tmp_path / "cache", 12)
    (tmp_path / "cache" / "preview.png").write_bytes(b"whole slices")
    cache = open_cache(tmp_path / "cache")
    drawn = draw_figures(cache, ENTRIES, HISTORIES, tmp_path / "figures")
    [second] = (figure for figure in drawn if figure.number == 2)
    assert second.path.read_bytes() == b"whole slices"


# The points of two studies of cache_cohort: crop, study, series, instance, level, x, y.
MARKED = [
    (5, 1, 11, 3, "l1_l2", 20, 19),
    (9, 2, 22, 8, "l5_s1", 15, 25),
    (3, 2, 21, 6, "l5_s1", 4, 28),
    (7, 2, 21, 5, "l1_l2", 12, 3),
    (0, 2, 21, 5, "l2_l3", 11, 14),
    (6, 2, 21, 5, "l3_l4", 10, 22),
]


@pytest.fixture
def preview(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The preview of two studies: its panels, its crops, and the images' folder."""
    names = ["crop", "study_id", "series_id", "instance_number", "level", "x", "y"]
    table = pd.DataFrame(MARKED, columns=names).merge(SERIES).assign(view="own")
    crops = np.random.default_rng(0).integers(0, 255, (10, 5, 16, 16), np.uint8)
    spec, empty = CropSpec(16, 12, 5), pd.DataFrame()
    cache = CropCache(tmp_path, crops, table, empty, empty, spec, {})
    images = write_images(tmp_path / "images")
    kept, path = keep_figures(monkeypatch), tmp_path / "preview.png"
    draw_preview(cache, images, path)
    return SimpleNamespace(panels=kept(path).axes, crops=crops, images=images)


def test_the_preview_is_of_the_slices_with_most_points(
    preview: SimpleNamespace,
) -> None:
    slices = [preview.panels[0], preview.panels[4]]
    assert [axes.get_title() for axes in slices] == [SAGITTAL_T2, AXIAL_T2]
    for axes, file in zip(slices, ("2/21/5.dcm", "2/22/8.dcm"), strict=True):
        stored = dcmread(preview.images / file).pixel_array
        shown = image(axes).astype(float)
        assert np.corrcoef(shown.ravel(), stored.ravel())[0, 1] > 0.98
    sagittal, axial = slices
    assert points(sagittal, "+") == [(12, 3), (11, 14), (10, 22)]
    assert points(sagittal, "o") == [(11, 14)]
    assert (points(axial, "+"), points(axial, "o")) == ([(15, 25)], [(15, 25)])
    assert texts(sagittal) == {(12, 3): "L1/L2", (11, 14): "L2/L3", (10, 22): "L3/L4"}


def test_the_preview_has_three_channels_around_the_ringed_points_slice(
    preview: SimpleNamespace,
) -> None:
    for first, crop in ((1, 0), (5, 9)):
        below = preview.panels[first : first + 3]
        assert [axes.get_title() for axes in below] == [
            *("slice before", "labelled", "slice after")
        ]
        for axes, channel in zip(below, (1, 2, 3), strict=True):
            assert (image(axes) == preview.crops[crop, channel]).all()
            assert axes.images[0].get_clim() == (0, 255)
