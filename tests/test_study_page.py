"""Study pages: a bright ball at the site, in every series, and hand-worked geometry."""

import base64
import io
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from dicom_files import AXIAL, SAGITTAL, Storage, plane, stored_as, write_series
from PIL import Image

from src.competition.constants import (
    AXIAL_T2,
    CONDITIONS,
    LEVELS,
    SAGITTAL_T1,
    SAGITTAL_T2,
    SPINAL,
)
from src.competition.prior import uniform
from src.errors import UserError
from src.imaging.geometry import SliceGeometry
from src.inference.attention import SiteAttention
from src.inference.findings import NO_SEVERITY_RUN, merge_into_findings, prior_findings
from src.inference.predicted_study import PredictedStudy
from src.inference.site_views import find_site_views
from src.inference.study import Study, read_study
from src.localization.level_shift import LevelShift
from src.localization.locate import LocatedSite
from src.reporting import study_page
from src.reporting.grade_cells import grade_cells
from src.reporting.sagittal_overview import crossing_mm, make_overview
from src.reporting.slice_pictures import AROUND, SlicePictures
from src.reporting.study_index import index_row, write_index
from src.reporting.study_page import StudyPages, level_words, render_study

STUDY = 9
CANAL, RECESS = (SPINAL, "l3_l4"), ("left_subarticular_stenosis", "l3_l4")
BALL_MM = np.array([9.0, 24.0, -17.0])
IDS = {SAGITTAL_T1: 5, SAGITTAL_T2: 6, AXIAL_T2: 4}
MILD = np.array([0.7, 0.2, 0.1])


def planes(description: str) -> list[SliceGeometry]:
    """Stacks of 4 mm steps around the ball, of anisotropic pixels."""
    if description == AXIAL_T2:
        return [plane((-40, -16, z), AXIAL, (0.8, 1.0)) for z in range(11, -45, -4)]
    shift = 20 if description == SAGITTAL_T1 else 25
    return [plane((x, -shift, 40), SAGITTAL, (1.0, 0.9)) for x in range(-11, 33, 4)]


def write_ball(
    folder: Path, description: str, turned: Storage = (False, False, False)
) -> None:
    """Write a series of a ball of 4 mm; turned: how other exports store it."""
    volume, stack = [], planes(description)
    for each in stack:
        rows, columns = np.mgrid[:110, :100]
        points = each.to_patient(np.stack([columns, rows], axis=-1))
        ball = np.linalg.norm(points - BALL_MM, axis=-1) < 4
        noise = np.random.default_rng(0).integers(80, 120, ball.shape)
        volume.append(np.where(ball, 250, noise).astype(np.uint16))
    stored = [stored_as(turned, *pair) for pair in zip(volume, stack, strict=True)]
    volume, stack = ([each[part] for each in stored] for part in (0, 1))
    write_series(folder / str(IDS[description]), volume, stack)


def read(folder: Path, *descriptions: str) -> Study:
    table = pd.DataFrame(
        {
            "series_id": [IDS[name] for name in descriptions],
            "series_description": descriptions,
        }
    )
    return read_study(folder, table)


def at(study: Study, description: str, source: str = "located") -> LocatedSite:
    """Locate the ball on the nearest slice of a series."""
    series = study.series[IDS[description]]
    away = [abs(h.geometry.distance_mm(BALL_MM)) for h in series.headers]
    header = series.headers[int(np.argmin(away))]
    x, y = header.geometry.to_pixel(BALL_MM).tolist()
    ids = IDS[description], header.instance_number
    return LocatedSite(*ids, x, y, BALL_MM, 0.9, source)


def predicted(
    folder: Path, *descriptions: str, source: str = "located", reason: str = ""
) -> PredictedStudy:
    """Grade the canal and the left recess of L3/L4 in a study of some series."""
    study = read(folder, *descriptions)
    own = {CANAL: SAGITTAL_T2, RECESS: AXIAL_T2}
    sites = {t: at(study, n, source) for t, n in own.items() if n in study.overviews}
    views = find_site_views(study, sites, {}).views
    prior = prior_findings([STUDY], uniform(), "not read")
    reasons = dict.fromkeys(sites, reason)
    rows = merge_into_findings(prior, sites, dict.fromkeys(sites, MILD), reasons)
    return PredictedStudy(study, rows, views)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("ball") / str(STUDY)
    for description in IDS:
        write_ball(made, description)
    return made


def page_of(found: PredictedStudy, **more: object) -> str:
    return render_study(found, grade_cells(found.findings), **more)


def crop(page: str, target: tuple[str, str], view: int) -> tuple[list, list, int]:
    """Return a view's viewBox, frames and picture on the page."""
    article = page.split(f'id="site-{target[1]}-{target[0]}"')[1].split("</article>")[0]
    svg = re.findall(r'<svg class="crop".*?</svg>', article, re.S)[view]
    box = [float(n) for n in re.search(r'viewBox="([^"]+)"', svg)[1].split()]
    frames = json.loads(re.search(r'data-frames="([^"]+)"', svg)[1])
    return box, frames, int(re.search(r'href="#s(\d+)"', svg)[1])


def brightest_mm(page: str, number: int) -> np.ndarray:
    """Return the middle of the ball on an embedded slice, in the page's mm."""
    image = re.search(rf'<image id="s{number}" ([^>]*)>', page)[1]
    value = {n: re.search(rf'\b{n}="([^"]+)"', image)[1] for n in ("href", "x", "y")}
    size = [
        float(re.search(rf'\b{n}="([^"]+)"', image)[1]) for n in ("width", "height")
    ]
    raw = base64.b64decode(value["href"].removeprefix("data:image/webp;base64,"))
    grey = np.asarray(Image.open(io.BytesIO(raw)).convert("L"))
    rows, columns = np.nonzero(grey > 190)
    share = (np.array([columns.mean(), rows.mean()]) + 0.5) / grey.shape[::-1]
    return np.array([float(value["x"]), float(value["y"])]) + share * size


@pytest.mark.parametrize("view", [0, 1, 2])
@pytest.mark.parametrize("target", [CANAL, RECESS])
def test_the_mark_is_in_the_middle_of_each_crop_and_on_the_ball(
    folder: Path, target: tuple[str, str], view: int
) -> None:
    page = page_of(predicted(folder, *IDS))
    box, frames, number = crop(page, target, view)
    [own] = [frame for frame in frames if frame[3] == 0]
    assert own[0] == number
    middle = np.array(box[:2]) + np.array(box[2:]) / 2
    assert middle == pytest.approx(own[1:3], abs=0.01)
    assert brightest_mm(page, number) == pytest.approx(middle, abs=1.0)


@pytest.mark.parametrize("turned", [(False, True, False), (True, False, True)])
def test_a_turned_export_is_marked_on_the_ball_too(
    tmp_path: Path, turned: Storage
) -> None:
    made = tmp_path / str(STUDY)
    write_ball(made, SAGITTAL_T2, turned)
    page = page_of(predicted(made, SAGITTAL_T2))
    box, _, number = crop(page, CANAL, 0)
    middle = np.array(box[:2]) + np.array(box[2:]) / 2
    assert brightest_mm(page, number) == pytest.approx(middle, abs=1.0)


def test_the_scroll_runs_from_right_to_left_in_steps_of_the_stack(folder: Path) -> None:
    # The ball is at x = 9 on the slice of x = 9; 4 mm from slice to slice.
    _, frames, _ = crop(page_of(predicted(folder, *IDS)), CANAL, 0)
    assert [frame[3] for frame in frames] == list(range(-AROUND, AROUND + 1))
    away = [12.0, 8, 4, 0, 4, 8, 12]
    assert [frame[4] for frame in frames] == pytest.approx(away, abs=0.05)


def test_a_scroll_ends_where_the_stack_ends(folder: Path) -> None:
    found = predicted(folder, SAGITTAL_T2)
    series = found.study.series[IDS[SAGITTAL_T2]]
    first = series.headers[0]
    site = replace(at(found.study, SAGITTAL_T2), instance_number=first.instance_number)
    frames = SlicePictures(found.study).frames(site)
    assert [frame.offset for frame in frames] == [0, 1, 2, 3]


def test_the_overview_marks_the_level_where_the_ball_is(folder: Path) -> None:
    found = predicted(folder, *IDS)
    overview = make_overview(found, SlicePictures(found.study))
    assert overview is not None
    [mark] = overview.marks
    # Of the sagittal T2's corner at y -25, z 40, columns to the back, rows to the feet.
    assert (mark.level, mark.x, mark.y) == ("l3_l4", 24 + 25, pytest.approx(40 + 17))


def test_axial_slices_cross_the_overview_where_the_planes_meet(folder: Path) -> None:
    found = predicted(folder, *IDS)
    overview = make_overview(found, SlicePictures(found.study))
    # The axial slice of z = -17: 57 mm below the corner, and from its first row's edge
    # at y -16 - .5 to the last one's: y -16 + 109.5; the corner is at y -25.
    [line] = [line for line in overview.lines if line.levels]
    assert line.levels == ("l3_l4",)
    assert (line.y1, line.y2) == pytest.approx((57, 57))
    assert sorted((line.x1, line.x2)) == pytest.approx([8.5, 118.5])
    assert len(overview.lines) == len(planes(AXIAL_T2))


def test_a_tilted_axial_slice_crosses_at_its_slope(folder: Path) -> None:
    study = read(folder, AXIAL_T2)
    header = study.series[IDS[AXIAL_T2]].headers[0]
    # Rows go back and down by 3 to 4, from y 0, z 0: a line of slope 3/4.
    down = np.array([0, 0.8, -0.6])
    tilted = SliceGeometry(np.zeros(3), np.array([1.0, 0, 0]), down, (1.0, 1.0))
    sagittal = plane((10, 0, 0), SAGITTAL, (1.0, 1.0))
    ends = crossing_mm(replace(header, geometry=tilted), sagittal)
    length = np.linalg.norm(ends[1] - ends[0])
    assert length == pytest.approx(header.rows)
    x, y = np.abs(ends[1] - ends[0])
    assert y / x == pytest.approx(0.75)
    beside = plane((header.columns + 5, 0, 0), SAGITTAL, (1.0, 1.0))
    assert crossing_mm(replace(header, geometry=tilted), beside) is None


def test_a_page_has_25_cells_and_nothing_from_outside(folder: Path) -> None:
    page = page_of(predicted(folder, *IDS))
    keys = re.findall(
        r'data-key="([^"]+)" ?aria|<a class="cell[^>]*data-key="([^"]+)"', page
    )
    cells = {second for _, second in keys if second}
    assert cells == {f"{level}-{name}" for level in LEVELS for name in CONDITIONS}
    assert "Not for clinical use" in page
    for url in re.findall(r'(?:href|src)="([^"]*)"', page):
        assert url.startswith(("#", "data:", "index.html")), url
    assert not re.search(r"https?:|<link[^>]+stylesheet|<script[^>]+src|\son\w+=", page)
    assert str(folder.parent) not in page
    assert len(page) < 1_000_000


def test_remarks_and_words_are_shown_and_escaped(folder: Path) -> None:
    remark = "levels may be <b>wrong</b> & so on"
    page = page_of(predicted(folder, *IDS, reason=remark))
    assert "levels may be &lt;b&gt;wrong&lt;/b&gt; &amp; so on" in page
    assert "<b>wrong" not in page
    assert "Spinal canal (L3/L4); Left recess (L3/L4)" in page


def test_a_prior_page_says_why(folder: Path) -> None:
    found = predicted(folder, *IDS)
    rows = found.findings.assign(reason=NO_SEVERITY_RUN)
    page = page_of(replace(found, findings=rows))
    assert "All 25 grades are the prior" in page
    assert NO_SEVERITY_RUN in page
    assert page.count(" is-prior") == 2 * 25 + page.split("<style>")[1].split(
        "</style>"
    )[0].count(" is-prior") + page.split("<script>")[1].count(" is-prior")


def test_what_is_not_graded_has_no_grade(folder: Path) -> None:
    found = predicted(folder, *IDS)
    thirds = found.findings.assign(normal_mild=1 / 3, moderate=1 / 3, severe=1 / 3)
    shares = found.findings.assign(normal_mild=0.8, moderate=0.15, severe=0.05)
    for rows, words in ((thirds, "one third each"), (shares, "how often each grade")):
        rows = rows.assign(source="prior", reason="not read")
        page = page_of(replace(found, findings=rows))
        grades = re.findall(r'data-key="[^"]+"><b>([^<]+)</b>', page)
        assert grades == ["Not graded"] * 25
        assert words in page


def test_a_projected_site_is_ringed_otherwise_and_said(folder: Path) -> None:
    page = page_of(predicted(folder, *IDS, source="projected"))
    article = page.split(f'id="site-{CANAL[1]}-{CANAL[0]}"')[1].split("</article>")[0]
    assert "projected from another series" in article
    assert article.count("ring--projected") == 3


def test_a_missing_series_leaves_its_views_out(tmp_path: Path) -> None:
    made = tmp_path / str(STUDY)
    write_ball(made, AXIAL_T2)
    page = page_of(predicted(made, AXIAL_T2))
    assert "There is no sagittal picture" in page
    assert page.count("No series shows this site") == 24


def test_a_study_that_was_not_read_has_a_page(tmp_path: Path) -> None:
    pages = StudyPages(tmp_path, [1, 2])
    findings = prior_findings([1, 2], uniform(), "the time limit was reached")
    pages.add_unread(findings)
    pages.finish(findings)
    page = (tmp_path / "1.html").read_text()
    assert "the time limit was reached" in page
    assert 'rel="next" href="2.html"' in page
    assert 'rel="prev"' not in page
    assert 'href="1.html"' in (tmp_path / "index.html").read_text()


@pytest.mark.parametrize(
    ("shift", "word"),
    [
        (LevelShift(0.005, 0.004), "Sure"),
        (LevelShift(0.03, 0.02), "Fairly sure"),
        (LevelShift(0.02, 0.13), "Doubtful"),
        (LevelShift(0.6, 0.1), "Probably off by one"),
    ],
)
def test_the_levels_doubt_is_said_in_words(
    folder: Path, shift: LevelShift, word: str
) -> None:
    found = predicted(folder, SAGITTAL_T2)
    found.study.level_shift = shift
    said, sentence = level_words(found)
    assert said.startswith(word)
    if shift.too_low == 0.13:
        assert "one too high is 2%" in sentence
        assert "one too low 13%" in sentence


def test_attention_is_shown_or_its_lack_is_said(folder: Path) -> None:
    found = predicted(folder, *IDS)
    share = SiteAttention(
        {SAGITTAL_T1: 0.12, SAGITTAL_T2: 0.57, AXIAL_T2: 0.31},
        {(SAGITTAL_T2, number): 0.2 for number in range(-2, 3)},
    )
    page = page_of(replace(found, attention={CANAL: share}))
    article = page.split(f'id="site-{CANAL[1]}-{CANAL[0]}"')[1].split("</article>")[0]
    assert re.findall(r"attention (\d+)%", article) == ["57", "12", "31"]  # own first
    assert "0 · 20 · 20 · 20 · 20 · 20 · 0" in article
    assert "no severity run here pools" in page_of(replace(found, attention={}))
    assert "ttention" not in page_of(found).split("</style>")[1].split("<script>")[0]


def test_a_page_that_fails_is_said_and_has_no_pictures(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    found = predicted(folder, *IDS)

    def fail(predicted: PredictedStudy, pictures: SlicePictures) -> None:
        if predicted.study.series:
            raise MemoryError("no room for /home/someone")

    monkeypatch.setattr(study_page, "make_overview", fail)
    pages = StudyPages(tmp_path, [STUDY], said.append)
    pages.add(found)
    pages.finish(found.findings)
    [sentence] = said
    assert "study 9 could not be drawn (MemoryError)" in sentence
    assert pages.failed == [STUDY]
    assert (
        "pictures of this study could not be drawn" in (tmp_path / "9.html").read_text()
    )


def test_nothing_is_raised_where_no_page_can_be_written(
    folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "9.html").mkdir()
    pages = StudyPages(tmp_path, [STUDY])
    pages.add(predicted(folder, AXIAL_T2))
    assert pages.failed == [STUDY]


def test_a_file_in_the_folders_place_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "pages").write_text("")
    with pytest.raises(UserError, match=r"--report .*pages is no folder"):
        StudyPages(tmp_path / "pages", [1])


def test_marked_findings_are_shown_as_such(folder: Path, tmp_path: Path) -> None:
    found = predicted(folder, SAGITTAL_T2)
    pages = StudyPages(tmp_path, [STUDY])
    pages.add(found)
    review = [
        int((row.condition, row.level) == CANAL) for row in found.findings.itertuples()
    ]
    pages.finish(found.findings.assign(review=review))
    page = (tmp_path / "9.html").read_text()
    shown = set(re.findall(r'data-review="([^"]+)">', page))
    assert shown == {"any", f"{CANAL[1]}-{CANAL[0]}"}


def test_the_most_doubtful_study_comes_first(tmp_path: Path) -> None:
    rows = []
    for study, wrong in ((1, 0.1), (2, 0.3), (3, 0.2)):
        findings = prior_findings([study], uniform(), "")
        graded = findings.assign(source="located", wrong_probability=wrong)
        cells = grade_cells(findings if study == 3 else graded)
        rows.append(index_row(study, cells, LevelShift()))
    # A prior counts as one: 25 for study 3; 25 times .3 and .1 for the others.
    assert [round(row.doubt, 6) for row in rows] == [2.5, 7.5, 25]
    page = write_index(rows, tmp_path).read_text()
    assert re.findall(r'<th scope="row" data-value="(\d+)"', page) == ["3", "2", "1"]
    assert page.count("(no page)") == 3
