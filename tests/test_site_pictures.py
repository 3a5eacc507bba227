"""The report's pictures of graded sites: which are drawn, and what each row shows."""

from collections.abc import Callable
from math import log
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from kept_figures import keep_figures
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from PIL import Image
from view_crops import PX, SLICES, view_cache, view_table

from src.cache.crop_cache import OWN, CropCache
from src.competition.constants import SERIES_DESCRIPTIONS, SERIES_OF, SEVERITIES
from src.reporting.html_report import HtmlReport
from src.reporting.plots import LEAKY
from src.reporting.site_pictures import (
    GAP,
    GREYS,
    SitePicture,
    add_site_pictures,
    draw_sites,
    graded_sites,
    most_costly,
    reduce_colours,
    site_pictures,
    surest,
)

CANAL, RECESS = "spinal_canal_stenosis", "left_subarticular_stenosis"
MILD, MODERATE, SEVERE = SEVERITIES
Graded = tuple[int, str, str, str, tuple[float, float, float]]
# Study, condition, level, label and probabilities. Weighted losses of the wrong ones:
# 1 -ln .2 = 1.61, 2 -ln .3 = 2.41, 4 -ln .45 = 3.19; and of a recess 2 -ln .4 = 1.83.
GRADED: list[Graded] = [
    (1, CANAL, "l3_l4", MILD, (0.2, 0.7, 0.1)),
    (1, CANAL, "l4_l5", SEVERE, (0.05, 0.5, 0.45)),
    (2, CANAL, "l3_l4", MODERATE, (0.1, 0.3, 0.6)),
    (2, CANAL, "l4_l5", MILD, (0.35, 0.4, 0.25)),
    (3, CANAL, "l3_l4", SEVERE, (0.1, 0.3, 0.6)),
    (3, CANAL, "l4_l5", MILD, (0.99, 0.01, 0.0)),
    (4, CANAL, "l3_l4", MODERATE, (0.1, 0.8, 0.1)),
    (4, CANAL, "l4_l5", SEVERE, (0.2, 0.1, 0.7)),
    (5, CANAL, "l3_l4", MODERATE, (0.2, 0.5, 0.3)),
    (1, RECESS, "l3_l4", MODERATE, (0.5, 0.4, 0.1)),
    (2, RECESS, "l3_l4", SEVERE, (0.0, 0.1, 0.9)),
]


def predictions(graded: list[Graded]) -> pd.DataFrame:
    """A run's predictions of sites."""
    rows = [
        {
            **{"study_id": study, "condition": condition, "level": level},
            **{"truth": SEVERITIES.index(label)},
            **{f"p_{name}": p for name, p in zip(SEVERITIES, given, strict=True)},
        }
        for study, condition, level, label, given in graded
    ]
    return pd.DataFrame(rows)


@pytest.fixture
def cache(tmp_path: Path) -> CropCache:
    """Crops of constant grey: 5 times the crop's number and its slice."""
    count = len(view_table())
    greys = 5 * np.arange(count)[:, None] % 250 + np.arange(SLICES)
    pixels = np.broadcast_to(greys[..., None, None], (count, SLICES, PX, PX))
    return view_cache(tmp_path, pixels.astype(np.uint8))


def where(sites: pd.DataFrame) -> list[tuple[int, str, str]]:
    keys = ("study_id", "condition", "level")
    return list(zip(*(sites[key] for key in keys), strict=True))


def test_the_most_costly_wrong_sites_of_each_family_are_chosen(
    cache: CropCache,
) -> None:
    sites = most_costly(graded_sites(cache, {"run": predictions(GRADED)}))
    assert where(sites) == [
        *((1, CANAL, "l4_l5"), (2, CANAL, "l3_l4"), (1, CANAL, "l3_l4")),
        (1, RECESS, "l3_l4"),
    ]
    losses = [4 * -log(0.45), 2 * -log(0.3), -log(0.2), 2 * -log(0.4)]
    assert sites["loss"].tolist() == pytest.approx(losses)
    assert sites["predicted"].tolist() == [MODERATE, SEVERE, MODERATE, MILD]


def test_the_surest_right_sites_are_narrowed_ones(cache: CropCache) -> None:
    sites = surest(graded_sites(cache, {"run": predictions(GRADED)}))
    assert where(sites) == [
        *((4, CANAL, "l3_l4"), (4, CANAL, "l4_l5"), (3, CANAL, "l3_l4")),
        (2, RECESS, "l3_l4"),
    ]


def test_runs_are_graded_together_and_a_site_once(cache: CropCache) -> None:
    first, second = (
        predictions([(1, CANAL, "l3_l4", SEVERE, given)])
        for given in ((0.8, 0.1, 0.1), (0.1, 0.1, 0.8))
    )
    twice = pd.concat([cache.table, cache.table[cache.table["study_id"] == 1]])
    doubled = CropCache(**{**vars(cache), "table": twice})
    [site] = graded_sites(doubled, {"a": first, "b": second}).to_dict("records")
    # Geometric means: sqrt(.08), .1, sqrt(.08), normalized.
    share = 0.08**0.5 / (2 * 0.08**0.5 + 0.1)
    assert site["severe"] == pytest.approx(share)
    assert site["loss"] == pytest.approx(-4 * log(share))


def pictures_of(cache: CropCache, graded: list[Graded]) -> list[SitePicture]:
    return site_pictures(cache, graded_sites(cache, {"run": predictions(graded)}))


def greys_of(table: pd.DataFrame, study: int, view: str) -> list[int]:
    """The planted greys of the canal's view at L3/L4, slice by slice."""
    rows = table[
        (table["study_id"] == study)
        & (table["condition"] == CANAL)
        & (table["level"] == "l3_l4")
        & (table["series_description"] == view)
    ]
    return [5 * rows["crop"].item() % 250 + number for number in range(SLICES)]


@pytest.fixture
def drawn(
    cache: CropCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[list[SitePicture]], list[Axes]]:
    """Draw pictures and return their rows."""
    kept, path = keep_figures(monkeypatch), tmp_path / "sites.png"

    def draw(pictures: list[SitePicture]) -> list[Axes]:
        draw_sites(pictures, path)
        return kept(path).axes

    return draw


Draw = Callable[[list[SitePicture]], list[Axes]]


def test_a_row_has_each_view_s_slices_in_order(cache: CropCache, drawn: Draw) -> None:
    [row] = drawn(pictures_of(cache, [(1, CANAL, "l3_l4", SEVERE, (0.1, 0.3, 0.6))]))
    images = sorted(row.images, key=lambda image: image.get_extent()[0])
    greys = [np.unique(image.get_array()).tolist() for image in images]
    expected = [
        [grey]
        for view in SERIES_DESCRIPTIONS
        for grey in greys_of(cache.table, 1, view)
    ]
    assert greys == expected
    lefts = [image.get_extent()[0] for image in images]
    assert lefts == pytest.approx(
        [view * (SLICES + GAP) + slice_ for view in range(3) for slice_ in range(5)]
    )
    assert all(image.get_clim() == (0, 255) for image in images)


def test_the_middle_slices_are_framed_and_the_own_view_is_named(
    cache: CropCache, drawn: Draw
) -> None:
    [row] = drawn(pictures_of(cache, [(1, CANAL, "l3_l4", SEVERE, (0.1, 0.3, 0.6))]))
    frames = [
        (p.get_x(), p.get_width(), to_hex(p.get_edgecolor())) for p in row.patches
    ]
    assert frames == [
        (pytest.approx(view * (SLICES + GAP) + 2), 1, LEAKY) for view in range(3)
    ]
    labels = row.get_xticklabels()
    own = SERIES_OF["spinal"]
    names = [f"{v} (marked)" if v == own else v for v in SERIES_DESCRIPTIONS]
    assert [label.get_text() for label in labels] == names
    bold = [label.get_fontweight() == "bold" for label in labels]
    assert bold == [view == own for view in SERIES_DESCRIPTIONS]


def test_a_view_that_does_not_show_the_site_is_a_hatched_box(
    cache: CropCache, drawn: Draw
) -> None:
    """Study 3 has neither a sagittal T1 nor an axial series."""
    [row] = drawn(pictures_of(cache, [(3, CANAL, "l3_l4", MILD, (0.8, 0.1, 0.1))]))
    boxes = [(p.get_x(), p.get_width()) for p in row.patches if p.get_hatch()]
    assert boxes == [(0, SLICES), (pytest.approx(2 * (SLICES + GAP)), SLICES)]
    words = [(text.get_text(), text.get_position()[0]) for text in row.texts]
    assert words == [("not shown", x + SLICES / 2) for x, _ in boxes]
    lefts = [image.get_extent()[0] for image in row.images]
    assert lefts == pytest.approx([SLICES + GAP + slice_ for slice_ in range(5)])


def test_the_title_has_the_site_its_label_and_its_probabilities(
    cache: CropCache, drawn: Draw
) -> None:
    [row] = drawn(pictures_of(cache, [(2, RECESS, "l3_l4", MILD, (0.25, 0.65, 0.1))]))
    assert " ".join(row.get_title(loc="left").split()) == (
        "Left subarticular stenosis L3/L4, study 2. Label: normal/mild. "
        "Predicted: normal/mild 0.25, moderate 0.65, severe 0.10. Weighted loss 1.39"
    )


def test_a_cache_of_marked_views_has_no_other_to_miss(
    cache: CropCache, drawn: Draw
) -> None:
    marked = cache.table[cache.table["view"] == OWN]
    alone = CropCache(**{**vars(cache), "table": marked})
    pictures = pictures_of(alone, [(1, CANAL, "l3_l4", SEVERE, (0.1, 0.3, 0.6))])
    [row] = drawn(pictures)
    assert [list(one.views) for one in pictures] == [[SERIES_OF["spinal"]]]
    assert len(row.images) == SLICES
    assert not row.texts


def test_a_title_stays_within_its_figure(cache: CropCache, drawn: Draw) -> None:
    """The longest words, the widest and the narrowest figure."""
    marked = cache.table[cache.table["view"] == OWN]
    alone = CropCache(**{**vars(cache), "table": marked})
    longest = [
        (1, "right_neural_foraminal_narrowing", "l3_l4", MILD, (0.44, 0.46, 0.1))
    ]
    for some in (cache, alone):
        [row] = drawn(pictures_of(some, longest))
        figure = row.get_figure()
        assert isinstance(figure, Figure)
        figure.draw_without_rendering()
        title = row._left_title.get_window_extent()
        assert title.x0 >= 0
        assert title.x1 <= figure.bbox.x1


def test_the_report_has_both_figures_where_there_are_sites_for_them(
    cache: CropCache, tmp_path: Path
) -> None:
    for graded, kinds in (
        ([GRADED[0], GRADED[6]], ["wrong", "right"]),
        ([GRADED[0]], ["wrong"]),
        ([GRADED[5]], []),
    ):
        page, figures = HtmlReport("x"), tmp_path / f"{len(graded)}{len(kinds)}"
        add_site_pictures(page, cache, {"run": predictions(graded)}, figures)
        captions = [block.content.caption for block in page.blocks]
        assert [kind in text for kind, text in zip(kinds, captions, strict=True)] == [
            True
        ] * len(kinds)
        files = {path.name for path in figures.glob("*")}
        assert files == {f"severity_{kind}.png" for kind in kinds}


def test_a_file_has_few_greys_and_keeps_white_black_and_the_frame(
    tmp_path: Path,
) -> None:
    path = tmp_path / "a.png"
    ramp = np.arange(256, dtype=np.uint8)[:, None].repeat(3, axis=1)
    frame = np.array([int(LEAKY[i : i + 2], 16) for i in (1, 3, 5)], np.uint8)
    Image.fromarray(np.vstack([ramp, frame])[None]).save(path)
    reduce_colours(path)
    with Image.open(path) as picture:
        out = np.asarray(picture.convert("RGB"))[0].astype(int)
    assert out[0].tolist() == [0, 0, 0]
    assert out[255].tolist() == [255, 255, 255]
    assert out[256].tolist() == frame.tolist()
    assert (out[:256].min(axis=1) == out[:256].max(axis=1)).all()
    assert len(np.unique(out[:256])) <= GREYS
    assert abs(out[:256, 0] - np.arange(256)).max() <= 255 / GREYS
