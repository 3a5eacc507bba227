"""The report's sections: which tables and figures are under which heading."""

import re
from html import unescape
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from fake_condition_runs import write_cache
from kept_figures import columns, image, keep_figures, points
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from report_entries import entry

from src.cache.crop_cache import open_cache
from src.cache.mapped_array import MappedArray
from src.cache.overview_cache import OverviewCache
from src.competition.constants import AXIAL_T2, SAGITTAL_T1
from src.imaging.overview import SLICE_COLUMNS
from src.reporting import condition_section, location_section
from src.reporting.condition_section import add_condition
from src.reporting.html_report import HtmlReport
from src.reporting.location_section import (
    add_location,
    draw_errors,
    draw_worst,
    location_table,
)
from src.reporting.plots import LEAKY, OURS, Figure
from src.reporting.severity_section import add_severity, draw_reliability, score_table

Part = tuple[str, Any]


def parts_of(page: HtmlReport, folder: Path) -> list[Part]:
    """Parse a written page: tags and texts in order; of a table the cells by row."""
    page.write(folder / "page.html")
    html = (folder / "page.html").read_text()
    body = re.sub("<nav.*?</nav>|<footer.*?</footer>", "", html, flags=re.S)
    tags = r"<(h1|h2|h3|p|table|figcaption|li)\b[^>]*>(.*?)</\1>"
    found = re.findall(tags, body, re.S)
    return [
        ("h2" if tag == "h3" else tag, rows(text) if tag == "table" else plain(text))
        for tag, text in found
    ]


def plain(html: str) -> str:
    """Return the text of an element that holds nothing but text and code spans."""
    return unescape(re.sub("</?(?:code|span|label)[^>]*>", "", html))


def rows(table: str) -> list[list[str]]:
    return [
        [unescape(cell) for cell in re.findall(r"<t[hd]\b[^>]*>(.*?)</t[hd]>", line)]
        for line in re.findall(r"<tr>(.*?)</tr>", table)
    ]


def tables_under(parts: list[Part], heading: str) -> list[list[list[str]]]:
    """List the tables of the section whose heading contains a text."""
    tags = [tag for tag, _ in parts]
    start = next(
        i for i, (t, text) in enumerate(parts) if t == "h2" and heading in text
    )
    end = next((i for i in range(start + 1, len(tags)) if tags[i] == "h2"), len(tags))
    return [value for tag, value in parts[start:end] if tag == "table"]


def test_a_page_keeps_the_order_and_escapes_its_text(tmp_path: Path) -> None:
    page = HtmlReport("A < B")
    page.heading("First & last")
    page.bullets(["one", "two <b>"])
    page.table([{"a<": "x<y", "n": 1.0}, {"a<": None, "n": 0}])
    page.paragraph("The end")
    html_of = parts_of(page, tmp_path)
    assert html_of == [
        *(("h1", "A < B"), ("h2", "First & last"), ("li", "one"), ("li", "two <b>")),
        ("table", [["a<", "n"], ["x<y", "1.000"], ["-", "0"]]),
        ("p", "The end"),
    ]
    text = (tmp_path / "page.html").read_text()
    assert "<b>" not in text
    assert ">x&lt;y</th>" in text
    assert text.count('<th scope="col"') == 2


def test_words_in_back_ticks_are_code(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"abc")
    page = HtmlReport("Of `a`")
    page.paragraph("Split `a < b` or `row`, & no other")
    page.bullets(["a `flag`"])
    page.picture(tmp_path / "a.png", "The `row` split")
    page.write(tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text()
    for html in (
        "<p>Split <code>a &lt; b</code> or <code>row</code>, &amp; no other</p>",
        "<li>a <code>flag</code></li>",
        'alt="The row split">',
        "<figcaption>The <code>row</code> split</figcaption>",
    ):
        assert html in text


def test_a_picture_is_embedded_above_its_caption(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"abc")
    page = HtmlReport("A page")
    page.picture(tmp_path / "a.png", "Dots > lines")
    page.write(tmp_path / "page.html")
    assert 'base64,YWJj" alt="Dots &gt; lines"></div>\n<figcaption>Dots &gt; lines' in (
        (tmp_path / "page.html").read_text()
    )


PAIRED = {"groups": [], "skipped": ["mnasnet1_0", "mnasnet1_0 (row)"]}


@pytest.fixture
def section(tmp_path: Path) -> list[Part]:
    """The condition task's section: seven crops of three studies, two variants."""
    entries = {"mnasnet1_0": entry(), "mnasnet1_0 (row)": entry(split="row", top1=0.9)}
    figures = []
    for number in range(1, 9):
        path = tmp_path / f"{number}.png"
        path.write_bytes(b"png")
        figures.append(Figure(number, "Some picture", path))
    table = pd.DataFrame({"study_id": [1, 1, 1, 2, 2, 3, 3]})
    page = HtmlReport("A report")
    condition_section.write_condition_section(
        page, SimpleNamespace(sites=table, spec="3 slices"), entries, PAIRED, figures
    )
    return parts_of(page, tmp_path)


def test_each_table_is_in_its_section(section: list[Part]) -> None:
    for heading, *expected in (
        ("Training settings", ("folds", 2)),
        ("Table 2", ("behind the best", 2), ("merged, paper", 2)),
        ("Two by two", ("study split, repeat", 1)),
        ("Baselines without a network", ("random side", 3)),
        ("Leakage", ("shared image", 4)),
        (
            "Confusion matrices",
            *(("spinal canal", 5), ("spinal canal", 5), ("spinal canal stenosis", 4)),
        ),
        ("All runs", ("top-1", 4)),
    ):
        tables = tables_under(section, heading)
        for table, (column, lines) in zip(tables, expected, strict=True):
            assert column in table[0], heading
            assert len(table) == 1 + lines, heading
    paragraphs = [text for tag, text in section if tag == "p"]
    assert "7 crops (3 slices)" in paragraphs[0]
    assert "of 3 studies" in paragraphs[0]


def test_every_figure_is_once_in_its_section(section: list[Part]) -> None:
    heading, where = "", {}
    for tag, text in section:
        heading = text if tag == "h2" else heading
        if tag == "figcaption":
            where.setdefault(text[:8], []).append(heading.split()[0])
    assert where == {
        **{"Figure 1": ["The"], "Figure 2": ["The"], "Figure 3": ["Table"]},
        **{"Figure 4": ["Losses"], "Figure 6": ["Confusion"]},
    }


def test_the_csv_has_every_digit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_figures(monkeypatch)
    write_cache(tmp_path / "cache", 12)
    losses = {"epoch": [1.0], "train_loss": [1.0], "validation_loss": [2.0]}
    histories = dict.fromkeys("ab", pd.DataFrame(losses))
    entries, out = {"mnasnet1_0": entry(top1=0.123456789)}, tmp_path / "out"
    add_condition(
        HtmlReport("x"),
        open_cache(tmp_path / "cache"),
        entries,
        PAIRED,
        histories,
        out,
    )
    assert pd.read_csv(out / "table2.csv")["ours"].tolist() == [0.123456789]


SEVERITY = {
    **{"score": 0.51, "spinal": 0.42, "foraminal": 0.53, "subarticular": 0.64},
    **{"any_severe": 0.35, "floor": 0.78, "studies": 31, "rows": 775},
    "floor_terms": {
        **{"score": 0.78, "spinal": 0.71, "foraminal": 0.82, "subarticular": 0.93},
        "any_severe": 0.65,
    },
    "calibrated": {
        **{"score": 0.48, "spinal": 0.41, "foraminal": 0.52, "subarticular": 0.63},
        "any_severe": 0.34,
    },
    "calibration": {
        "families": {
            "spinal": {
                **{"method": "temperature", "temperature": 1.1, "prior_weight": 0.35},
                **{"gain": 0.021, "standard_error": 0.011, "loss": 0.77},
                **{"calibrated_loss": 0.66, "prior_loss": 0.55},
            },
            "foraminal": {
                **{"method": "logistic", "temperature": None, "prior_weight": 0.0},
                **{"gain": 0.041, "standard_error": 0.012, "loss": 0.44},
                **{"calibrated_loss": 0.43, "prior_loss": 0.45},
            },
        },
        **{"any_severe": 1.25, "gain": 0.03},
    },
    "by_condition": {
        "spinal_canal_stenosis": {
            **{"loss": 0.81, "calibrated": 0.62, "floor": 0.7, "rows": 1200}
        },
        "left_subarticular_stenosis": {
            **{"loss": 0.5, "calibrated": 0.8, "floor": 0.75, "rows": 30}
        },
    },
    "by_level": {
        "l4_l5": {**{"loss": 0.4, "calibrated": 0.3, "floor": 0.9, "rows": 155}}
    },
    "reliability": {
        "uncalibrated": [
            {"predicted": 0.1, "observed": 0.2, "sites": 99},
            {"predicted": 0.7, "observed": 0.5, "sites": 9},
        ],
        "calibrated": [{"predicted": 0.15, "observed": 0.25, "sites": 999}],
    },
    "runs": [
        {
            **{"name": "r", "backbone": "resnet18", "slices": "attention"},
            **{"fold": "2", "seed": 4, "studies": 13, "score": 0.57},
        }
    ],
}


def test_the_severity_section_has_each_score_in_its_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_figures(monkeypatch)
    page = HtmlReport("x")
    add_severity(page, SEVERITY, tmp_path / "figures")
    parts = parts_of(page, tmp_path)
    [scores] = tables_under(parts, "By family")
    conditions, levels = tables_under(parts, "By condition")
    [calibration] = tables_under(parts, "Calibration")
    runs, teams = tables_under(parts, "The runs")
    assert [row[:5] for row in conditions] == [
        ["condition", "rows", "of the runs", "calibrated", "weighted prior"],
        ["spinal canal stenosis", "1,200", "0.810", "0.620", "0.700"],
        ["left subarticular stenosis", "30", "0.500", "0.800", "0.750"],
    ]
    assert [row[5] for row in conditions] == ["lower than the prior", "yes", "no"]
    assert levels[1] == ["L4/L5", "155", "0.400", "0.300", "0.900", "yes"]
    heads = ["score", "spinal", "foraminal", "subarticular", "any_severe"]
    assert scores == [
        ["probabilities", *heads],
        ["of the runs", "0.510", "0.420", "0.530", "0.640", "0.350"],
        ["calibrated, cross-fitted", "0.480", "0.410", "0.520", "0.630", "0.340"],
        ["weighted prior", "0.780", "0.710", "0.820", "0.930", "0.650"],
    ]
    assert [row[:5] for row in calibration] == [
        ["family", "correction", "temperature", "share of the prior", "loss"],
        ["spinal", "temperature", "1.100", "0.350", "0.770"],
        ["foraminal", "logistic", "-", "0.000", "0.440"],
    ]
    assert [row[5:] for row in calibration] == [
        ["calibrated", "prior", "gain", "its standard error"],
        ["0.660", "0.550", "0.021", "0.011"],
        ["0.430", "0.450", "0.041", "0.012"],
    ]
    said = " ".join(text for tag, text in parts if tag == "p")
    assert "multiplied by 1.25" in said
    assert "a gain of 0.0300" in said
    assert said.count("no better than the prior") == 1
    assert "the spinal grades score 0.770, no better than the prior's 0.550" in said
    assert dict(zip(*runs, strict=True)) == {
        **{"backbone": "resnet18", "slices": "attention", "fold": "2"},
        **{"seed": "4", "studies": "13", "score": "0.570"},
    }
    assert teams[:3] == [
        *(["team", "public", "private"], ["1st", "0.330", "-"]),
        ["6th", "0.355", "0.401"],
    ]
    words = next(text for tag, text in parts if tag == "p")
    assert "775 labelled rows of 31 studies" in words


LEFT_ALONE = {
    **{"method": "identity", "temperature": None, "prior_weight": 0.0, "gain": 0.0},
    **{"standard_error": 0.0, "loss": 0.4, "calibrated_loss": 0.4, "prior_loss": 0.5},
}
IDENTITY = {
    "families": {"spinal": LEFT_ALONE, "foraminal": LEFT_ALONE},
    **{"any_severe": 1.0, "gain": 0.0},
}


def test_a_calibration_that_changes_nothing_is_neither_shown_nor_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, page = keep_figures(monkeypatch), HtmlReport("x")
    metrics = {**SEVERITY, "calibration": IDENTITY}
    add_severity(page, metrics, tmp_path / "figures")
    parts = parts_of(page, tmp_path)
    [scores] = tables_under(parts, "By family")
    [families] = tables_under(parts, "Calibration")
    runs, teams = tables_under(parts, "The runs")
    # Without a calibration the prior is held against the runs alone.
    conditions, _ = tables_under(parts, "By condition")
    assert [row[-1] for row in conditions[1:]] == ["no", "yes"]
    assert [row[1] for row in families[1:]] == ["identity"] * 2
    assert [row[0] for row in scores[1:]] == ["of the runs", "weighted prior"]
    assert (runs[0][0], teams[0][0]) == ("backbone", "team")
    mentions = [text for tag, text in parts if tag == "p" and "alibrat" in text]
    assert len(mentions) == 1
    assert mentions[0].startswith("No calibration is applied")
    [axes] = kept(tmp_path / "figures" / "severity_reliability.png").axes
    assert len(axes.collections) == 1
    assert [text.get_text() for text in axes.get_legend().get_texts()] == [
        "uncalibrated"
    ]


def test_a_score_that_a_family_is_missing_for_is_a_dash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_figures(monkeypatch)
    page, lacking = HtmlReport("x"), {"score": None, "spinal": None, "any_severe": None}
    metrics = {
        **{**SEVERITY, **lacking, "floor": None},
        "floor_terms": {**SEVERITY["floor_terms"], **lacking},
        "calibrated": {**SEVERITY["calibrated"], **lacking},
        "runs": [{**SEVERITY["runs"][0], "score": None}],
    }
    add_severity(page, metrics, tmp_path / "figures")
    parts = parts_of(page, tmp_path)
    [scores], [runs, _] = (tables_under(parts, h) for h in ("By family", "The runs"))
    assert [row[1:] for row in scores[1:]] == [
        ["-", "-", "0.530", "0.640", "-"],
        ["-", "-", "0.520", "0.630", "-"],
        ["-", "-", "0.820", "0.930", "-"],
    ]
    assert runs[1][-1] == "-"


def test_a_factor_or_a_blend_alone_is_a_calibration() -> None:
    blended = {**IDENTITY["families"], "spinal": {**LEFT_ALONE, "prior_weight": 0.1}}
    for change in ({"any_severe": 1.1}, {"families": blended}):
        metrics = {**SEVERITY, "calibration": {**IDENTITY, **change}}
        assert len(score_table(metrics)) == 3
    assert len(score_table({**SEVERITY, "calibration": IDENTITY})) == 2


def test_the_reliability_plot_has_predicted_along_x_and_observed_along_y(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, path = keep_figures(monkeypatch), tmp_path / "reliability.png"
    draw_reliability(SEVERITY, path)
    [axes] = kept(path).axes
    assert "predicted" in axes.get_xlabel()
    curves = {
        line.get_label(): (list(zip(*line.get_data(), strict=True)), line.get_color())
        for line in axes.lines
        if not line.get_label().startswith("_")
    }
    assert curves["uncalibrated"][0] == [(0.1, 0.2), (0.7, 0.5)]
    assert curves["calibrated"] == ([(0.15, 0.25)], OURS)
    plain, calibrated = axes.collections
    assert plain.get_offsets().tolist() == [[0.1, 0.2], [0.7, 0.5]]
    # 100, 10 and 1000 sites: sizes in the ratio 2, 1 and 3.
    assert list(plain.get_sizes()) == pytest.approx([24, 12])
    assert list(calibrated.get_sizes()) == pytest.approx([36])


FOUND = {
    **{"median_mm": 1.5, "p95_mm": 9.5, "within_5mm": 0.91, "slice_exact": 0.62},
    **{"slice_within_one": 0.93, "level_right": 0.84, "studies_level_right": 0.75},
    **{"side_right": 0.86, "missed": 0.07, "projected": 0.08, "sites": 1234},
}
SHARES = (
    *("within 5 mm, %", "exact slice, %", "within one slice, %", "correct level, %"),
    *("studies with all levels correct, %", "correct side, %", "missed, %"),
    "projected, %",
)


def test_the_location_table_has_each_share_in_its_row() -> None:
    other = {**FOUND, "median_mm": 2.5, "missed": 0.5}
    table = {
        row[""]: row for row in location_table({SAGITTAL_T1: FOUND, AXIAL_T2: other})
    }
    shares = (*("91.0", "62.0", "93.0", "84.0", "75.0", "86.0", "7.0"), "8.0")
    for name, share in zip(SHARES, shares, strict=True):
        assert table[name][SAGITTAL_T1] == share, name
    assert [table["median, mm"][kind] for kind in (SAGITTAL_T1, AXIAL_T2)] == [1.5, 2.5]
    assert table["95th percentile, mm"][SAGITTAL_T1] == 9.5
    assert table["sites"][AXIAL_T2] == "1,234"
    assert table["missed, %"][AXIAL_T2] == "50.0"


# Files of 96 rows and 128 columns, .8 mm wide and 1.25 mm high; a T1's overview is of
# 280 mm, so of 1.25 mm a pixel, its middle at 111.5.
SHAPE = {"rows": 96, "columns": 128, "spacing_x": 0.8, "spacing_y": 1.25}


def shown_at(x: float, y: float) -> tuple[float, float]:
    return (
        pytest.approx(111.5 + (x - 63.5) * 0.8 / 1.25),
        pytest.approx(111.5 + (y - 47.5)),
    )


def overview_slices() -> pd.DataFrame:
    """Slices of instances 1 to 3 of two T1 series in each of 5 studies; one axial."""
    ids = [
        (study, SAGITTAL_T1, 10 * study + part, instance)
        for study in range(1, 6)
        for part in (0, 1)
        for instance in (1, 2, 3)
    ]
    where = ["study_id", "series_description", "series_id", "instance_number"]
    slices = pd.DataFrame([*ids, (1, AXIAL_T2, 99, 1)], columns=where)
    slices = slices.sort_values(where[:3], kind="stable", ignore_index=True)
    slices = slices.assign(stack=0, place=slices["instance_number"], **SHAPE)
    return slices.reindex(columns=[*where[:2], *SLICE_COLUMNS], fill_value=0.0)


def overviews(folder: Path) -> OverviewCache:
    """A cache of overview_slices(), each a picture of one grey, its row's index."""
    slices = overview_slices()
    greys = np.arange(len(slices), dtype=np.uint8)
    images = np.broadcast_to(greys[:, None, None], (len(slices), 224, 224))
    np.save(folder / "overviews.npy", images)
    return OverviewCache(MappedArray(folder / "overviews.npy"), slices)


def site(study: int, error_mm: float, **changes: Any) -> dict[str, Any]:
    """A left foramen marked on slice 2 at (30, 60) and found there at (40, 70)."""
    usual = {
        **{"study_id": study, "condition": "left_neural_foraminal_narrowing"},
        **{"level": "l4_l5", "series_description": SAGITTAL_T1, "source": "located"},
        **{"series_id": 10.0 * study, "instance_number": 2.0, "x": 40.0, "y": 70.0},
        **{"true_series_id": 10 * study, "true_instance_number": 2},
        **{"true_x": 30.0, "true_y": 60.0, "error_mm": error_mm, "confidence": 0.5},
        **{"slices_off": 0, "level_right": True, "side_right": True, "run": "a"},
    }
    return usual | changes


NOTHING = dict.fromkeys(("series_id", "instance_number", "x", "y"), np.nan)
AXIAL = {"series_description": AXIAL_T2, "series_id": 99.0, "true_series_id": 99}
SITES = pd.DataFrame(
    [
        site(1, 2.0),
        site(2, 9.0, instance_number=3.0),
        # On the same slice, of another level: found in another series.
        site(2, 4.0, level="l5_s1", true_x=35.0, true_y=80.0, series_id=21.0),
        # In the same series, on another slice.
        site(2, 8.5, level="l3_l4", true_instance_number=1, x=1.0, y=1.0),
        site(3, 1.0),
        site(4, np.nan, level="l1_l2", **NOTHING),
        site(5, 3.0),
        site(1, 6.0, true_instance_number=1, instance_number=1.0, **AXIAL),
    ]
)


def test_the_curve_is_of_all_sites_of_its_series_type_missed_ones_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, path = keep_figures(monkeypatch), tmp_path / "errors.png"
    draw_errors(SITES, path)
    [axes] = kept(path).axes
    lines = {line.get_label(): line for line in axes.lines}
    curve = lines[SAGITTAL_T1]
    assert list(curve.get_xdata()) == [1, 2, 3, 4, 8.5, 9]
    assert list(curve.get_ydata()) == pytest.approx([n / 7 for n in range(1, 7)])
    assert curve.get_drawstyle() == "steps-post"
    assert list(lines[AXIAL_T2].get_ydata()) == [1]
    assert any(list(line.get_xdata()) == [5, 5] for line in axes.lines)


@pytest.fixture
def worst(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Axes]:
    """The panels of the worst series, four for each series type."""
    kept, path = keep_figures(monkeypatch), tmp_path / "worst.png"
    draw_worst(SITES, overviews(tmp_path), path)
    return kept(path).axes


def test_each_series_type_has_a_row_of_its_worst_missed_ones_first(
    worst: list[Axes],
) -> None:
    assert [panel.get_title() for panel in worst] == [
        *("Sagittal T1, L1/L2: missed", "Sagittal T1, L4/L5: 9.0 mm"),
        *("Sagittal T1, L4/L5: 3.0 mm", "Sagittal T1, L4/L5: 2.0 mm"),
        *("Axial T2, L4/L5: 6.0 mm", "", "", ""),
    ]
    assert columns(worst[0]) == 4
    slices = overview_slices()
    for panel, series, instance in zip(
        worst, (40, 20, 50, 10, 99), (2, 2, 2, 2, 1), strict=False
    ):
        here = (slices["series_id"] == series) & (slices["instance_number"] == instance)
        assert set(image(panel).ravel()) == {slices.index[here][0]}


def test_rings_are_marked_and_crosses_located_sites(
    worst: list[Axes],
) -> None:
    missed, large, small, *_ = worst
    assert points(missed, "o") == [shown_at(30, 60)]
    assert points(missed, "+") == []
    assert points(large, "o") == [shown_at(30, 60), shown_at(35, 80)]
    assert points(large, "+") == [shown_at(40, 70)]
    [thin] = (line for line in large.lines if line.get_marker() == "+")
    [thick] = (line for line in small.lines if line.get_marker() == "+")
    assert thin.get_markeredgewidth() < thick.get_markeredgewidth()
    colours = {line.get_marker(): to_hex(line.get_color()) for line in small.lines}
    assert colours == {"o": LEAKY, "+": OURS}


def test_the_location_section_has_both_tables_and_both_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def draw(name: str) -> Any:
        return lambda *given: (
            given[-1].parent.mkdir(exist_ok=True),
            given[-1].write_text(f"{name} of {len(given[0])}"),
        )

    monkeypatch.setattr(location_section, "draw_errors", draw("errors"))
    monkeypatch.setattr(location_section, "draw_worst", draw("worst"))
    page, joint = HtmlReport("x"), {**FOUND, "median_mm": 0.5}
    alone, both = {SAGITTAL_T1: FOUND}, {SAGITTAL_T1: joint}
    add_location(page, alone, both, SITES, overviews(tmp_path), tmp_path / "figures")
    pictures = [block.content for block in page.blocks if block.kind == "picture"]
    by_caption = {picture.caption.split()[0]: picture.png for picture in pictures}
    assert by_caption == {"Share": "ZXJyb3JzIG9mIDg=", "The": "d29yc3Qgb2YgOA=="}
    parts = parts_of(page, tmp_path)
    first, second = tables_under(parts, "Errors by series type")
    assert (first[1][1], second[1][1]) == ("1.500", "0.500")
    words = next(text for tag, text in parts if tag == "p")
    assert "71.0 % exact and 98.0 % within one" in words
