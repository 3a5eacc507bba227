"""STUDY_ID.html: a page a study, and the list of all, written as studies are predicted.

One study is held at a time. A page that cannot be drawn is replaced by one without
pictures, and never stops the prediction.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd

from src.competition.constants import SERIES_DESCRIPTIONS
from src.errors import UserError
from src.files import write_text
from src.inference.attention import SiteAttention
from src.inference.predicted_study import PredictedStudy
from src.inference.study import Study
from src.localization.level_shift import LevelShift
from src.localization.spine_prior import Target
from src.reporting.grade_cells import (
    GradeCell,
    grade_cells,
    level_name,
    shared_reasons,
)
from src.reporting.render import render
from src.reporting.sagittal_overview import make_overview
from src.reporting.slice_pictures import FIELD_MM, Frame, SlicePictures
from src.reporting.study_index import INDEX, IndexRow, index_row, write_index

PAGE = "study.html.jinja"
SURE_BELOW, DOUBTED_FROM = 0.02, 0.1  # probabilities that all levels are off by one


@dataclass(frozen=True)
class ViewPicture:
    """A view of a site: the slices to scroll through, its own among them.

    attention: the view's share, None if no model attends to views; slices: the share
    of each of the frames, empty if no model attends to slices.
    """

    description: str
    is_own: bool
    located: bool
    frames: list[Frame]
    attention: float | None
    slices: list[float]

    @property
    def own(self) -> Frame:
        """The frame of the site's own slice."""
        return next(frame for frame in self.frames if frame.offset == 0)

    @property
    def is_axial(self) -> bool:
        """Whether its slices are axial."""
        return self.description.startswith("Axial")


@dataclass(eq=False)
class StudyPages:
    """Writes the pages of a folder.

    studies: the ids in the order of the links from page to page; say: takes a sentence
    for the user. rows: what the list shows of the studies so far; failed: the studies
    whose page has no pictures, or is not there.
    """

    folder: Path
    studies: Sequence[int]
    say: Callable[[str], None] = lambda sentence: None
    rows: dict[int, IndexRow] = field(default_factory=dict)
    failed: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Make the folder. Raises UserError if that cannot be."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(
                f"--report {self.folder} is no folder and cannot be made one "
                f"({error.strerror}): name another"
            ) from error

    def add(self, predicted: PredictedStudy) -> None:
        """Write a study's page; say so if that fails, and raise nothing."""
        study_id = predicted.study.study_id
        try:
            self._write(predicted)
        except Exception as error:  # a page must not cost the submission
            self.failed.append(study_id)
            self.say(
                f"Warning: the page of study {study_id} could not be drawn "
                f"({type(error).__name__}); its grades are in the findings"
            )
            self._write_without_pictures(predicted)

    def add_unread(self, findings: pd.DataFrame) -> None:
        """Write the pages of studies that were not read, which say why."""
        for study_id in findings["study_id"].unique().tolist():
            rows = findings[findings["study_id"] == study_id]
            self.add(PredictedStudy(Study(study_id), rows))

    def finish(self, findings: pd.DataFrame) -> Path:
        """Show which findings are marked for review; write and return the list."""
        marked = findings[findings["review"] == 1]
        for study_id in marked["study_id"].unique().tolist():
            own = marked[marked["study_id"] == study_id]
            path = self._path(study_id)
            if path.is_file():
                keys = own["level"] + "-" + own["condition"]
                write_text(mark(path.read_text(encoding="utf-8"), list(keys)), path)
        counts = marked["study_id"].value_counts()
        rows = [
            replace(row, review=int(counts.get(study_id, 0)))
            for study_id, row in self.rows.items()
        ]
        return write_index(rows, self.folder)

    def _write(self, predicted: PredictedStudy, failed: bool = False) -> None:
        study_id = predicted.study.study_id
        cells = grade_cells(predicted.findings)
        page = render_study(predicted, cells, *self._around(study_id), failed=failed)
        write_text(page, self._path(study_id))
        self.rows[study_id] = index_row(study_id, cells, predicted.study.level_shift)

    def _write_without_pictures(self, predicted: PredictedStudy) -> None:
        study = Study(predicted.study.study_id, level_shift=predicted.study.level_shift)
        try:
            self._write(PredictedStudy(study, predicted.findings), failed=True)
        except Exception:  # said above; the list shows what is there
            with suppress(OSError):  # none of an earlier run is left to be linked
                self._path(study.study_id).unlink()

    def _path(self, study_id: int) -> Path:
        return self.folder / f"{study_id}.html"

    def _around(self, study_id: int) -> tuple[int | None, int | None]:
        """Return the studies before and after one."""
        place = list(self.studies).index(study_id)
        before = self.studies[place - 1] if place else None
        after = self.studies[place + 1] if place + 1 < len(self.studies) else None
        return before, after


def render_study(
    predicted: PredictedStudy,
    cells: list[list[GradeCell]],
    previous: int | None = None,
    following: int | None = None,
    failed: bool = False,
) -> str:
    """Render a study's page; failed: its pictures could not be drawn."""
    pictures = SlicePictures(predicted.study)
    overview = make_overview(predicted, pictures)
    views = {
        cell.key: site_pictures(predicted, cell, pictures)
        for row in cells
        for cell in row
    }
    encoded = pictures.encode()
    return render(
        PAGE,
        study_id=predicted.study.study_id,
        previous=previous,
        following=following,
        index=INDEX,
        cells=cells,
        views=views,
        overview=overview,
        whole=None if overview is None else encoded[overview.number],
        pictures=encoded,
        level_name=level_name,
        levels=level_words(predicted),
        prior_words=prior_words(cells),
        reasons=shared_reasons(cells),
        attention=attention_words(predicted.attention),
        numbers=pictures.numbers,
        field_mm=FIELD_MM,
        failed=failed,
    )


def site_pictures(
    predicted: PredictedStudy, cell: GradeCell, pictures: SlicePictures
) -> list[ViewPicture]:
    """Ask for the pictures of a site's views, its own series type first."""
    target = (cell.condition, cell.level)
    shown = predicted.views.get(target, {})
    found = (predicted.attention or {}).get(target, SiteAttention({}, {}))
    made = []
    for name in sorted(SERIES_DESCRIPTIONS, key=lambda name: name != cell.own_type):
        if name in shown and (frames := pictures.frames(shown[name])):
            numbers = [(name, frame.offset) for frame in frames]
            made.append(
                ViewPicture(
                    name,
                    name == cell.own_type,
                    shown[name].source == "located",
                    frames,
                    found.views.get(name),
                    [found.slices.get(number, 0.0) for number in numbers]
                    if any(kind == name for kind, _ in found.slices)
                    else [],
                )
            )
    return made


def mark(page: str, keys: Sequence[str]) -> str:
    """Show the review marks of cells, which a page holds hidden."""
    for key in ("any", *keys):
        page = page.replace(f'data-review="{key}" hidden', f'data-review="{key}"')
    return page


def level_words(predicted: PredictedStudy) -> tuple[str, str]:
    """Say how sure the levels are: a word for it, and a sentence with the figures."""
    if not any(predicted.views.values()):
        return "Not known", "No level was found, so there is none to be off by one."
    shift: LevelShift = predicted.study.level_shift
    ways = (
        f"The probability that all levels are one too high is {shift.too_high:.0%}, "
        f"that all are one too low {shift.too_low:.0%}."
    )
    if shift.probability >= 0.5:
        return "Probably off by one", f"{ways} Count the levels again by hand."
    if shift.probability >= DOUBTED_FROM:
        return "Doubtful", f"{ways} Count the levels again before using a grade."
    if shift.probability >= SURE_BELOW:
        return "Fairly sure", ways
    return "Sure, by the model's own measure", ways


def prior_words(cells: list[list[GradeCell]]) -> str:
    """Say how many grades are the prior; empty if none is."""
    count = sum(cell.is_prior for row in cells for cell in row)
    if not count:
        return ""
    which = "All 25 grades are" if count == 25 else f"{count} of 25 grades are"
    if count == 1:
        which = "1 of 25 grades is"
    if all(cell.is_uniform for row in cells for cell in row if cell.is_prior):
        what = "one third each, as the runs had no graded studies to count"
    else:
        what = "how often each grade occurs there"
    return f"{which} the prior: {what}, whatever the pictures of this study show."


def attention_words(attention: Mapping[Target, SiteAttention] | None) -> str:
    """Say what the bars of attention are, or why there are none."""
    if attention is None:
        return ""
    if not attention:
        return (
            "Attention was asked for, but no severity run here pools by attention "
            "(--views all or --slices attention), so there is none to show."
        )
    return (
        "Attention is the share that a view or slice has in what the networks pool, "
        "a mean over the runs. It tells what was weighed, not why."
    )
