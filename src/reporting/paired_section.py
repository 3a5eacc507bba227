"""The report's part on which backbone is better: paired differences."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from src.classification.paired_bootstrap import MIN_STUDIES, RESAMPLES
from src.metrics_schema import PairedComparison, PairedDifference, PairedGroup
from src.reporting.html_report import HtmlReport
from src.reporting.plots import OURS, PAPERS, panels
from src.reporting.tables import Row, Rows

Figure = Literal["top1", "score"]
UNITS: dict[Figure, str] = {
    "top1": "top-1, percentage points",
    "score": "score, lower is better",
}
BAR_INCHES, MARGIN_INCHES = 0.28, 1.1


def paired_title(group: PairedGroup, figure: Figure) -> str:
    """Title a group's table: what differs, and what its entries were tested on."""
    return (
        f"Paired differences in {UNITS[figure]}; {_tested(group)}; {_size(group)}, "
        "95 % intervals that hold for all pairs at once"
    )


def paired_table(group: PairedGroup, figure: Figure) -> Rows:
    """Tabulate every pair, the better entry first; accuracies in percentage points."""
    return [_row(pair, figure) for pair in group["pairs"]]


def verdicts(comparison: PairedComparison, figure: Figure) -> list[str]:
    """Say of each group which entry is best and against which that is shown.

    The last sentence names the entries that had no other to be compared with. Nothing
    is said of a single entry.
    """
    groups, skipped = comparison["groups"], comparison["skipped"]
    sentences = [_verdict(group, figure) for group in groups]
    if skipped and (groups or len(skipped) > 1):
        sentences.append(
            f"Not compared, since no other entry has the same split, slices, folds and "
            f"test rows: {', '.join(skipped)}"
        )
    return sentences


def add_paired(
    page: HtmlReport, comparison: PairedComparison, figure: Figure, path: Path
) -> None:
    """Add the verdicts, the table and, drawn to `path`, the figure to the page."""
    sentences = verdicts(comparison, figure)
    if not sentences:
        return
    page.heading(f"Which is better: paired differences in {UNITS[figure]}", level=3)
    if comparison["groups"]:
        page.paragraph(
            "Both entries of a pair are judged on the same test rows. The 95 % "
            f"intervals come from {RESAMPLES:,} resamples of whole studies, the same "
            "for both, and hold for all pairs of a table at once: a difference is "
            "shown where its interval excludes zero. They are about these trained "
            "networks on new studies, not about what another seed would bring. With "
            f"fewer than {MIN_STUDIES} studies nothing counts as shown."
        )
    page.bullets(sentences)
    for group in comparison["groups"]:
        page.paragraph(paired_title(group, figure))
        page.table(paired_table(group, figure))
    if comparison["groups"]:
        draw_pairs(comparison["groups"], figure, path)
        page.picture(path, f"Paired differences in {UNITS[figure]}; blue if shown")


def draw_pairs(groups: Sequence[PairedGroup], figure: Figure, path: Path) -> None:
    """Draw every difference with its interval, a panel a group, first pair on top."""
    longest = max(len(group["pairs"]) for group in groups)
    size = (7.5, MARGIN_INCHES + BAR_INCHES * longest)
    with panels(path, len(groups), 1, size, drawing=True) as axes:
        for panel, group in zip(axes, groups, strict=True):
            pairs = group["pairs"]
            for y, pair in enumerate(pairs):
                value, low, high = _scaled(pair, figure)
                colour = OURS if pair["shown"] else PAPERS
                panel.plot([low, high], [y, y], color=colour, lw=2)
                panel.plot(value, y, "o", color=colour)
            names = [f"{pair['first']} - {pair['second']}" for pair in pairs]
            panel.set_yticks(range(len(pairs)), names, fontsize=9)
            panel.invert_yaxis()
            panel.axvline(0, color="black", lw=0.8)
            panel.set_xlabel(UNITS[figure])
            panel.set_title(_tested(group), fontsize=10)
            panel.spines[["top", "right"]].set_visible(False)


def _verdict(group: PairedGroup, figure: Figure) -> str:
    best, *_ = group["figures"]
    of_best = [pair for pair in group["pairs"] if pair["first"] == best]
    shown = [pair["second"] for pair in of_best if pair["shown"]]
    open_ = [pair["second"] for pair in of_best if not pair["shown"]]
    clauses = [
        *_clause("shown to be better than", shown),
        *_clause("not shown against", open_),
    ]
    value = group["figures"][best]
    number = f"{100 * value:.1f} %" if figure == "top1" else f"{value:.4f}"
    return (
        f"Best by {'top-1' if figure == 'top1' else 'score'}: {best} ({number}), "
        f"{'; '.join(clauses)} ({_tested(group)}; {_size(group)})"
    )


def _clause(words: str, names: list[str]) -> Iterator[str]:
    if names:
        yield f"{words} {', '.join(names)}"


def _tested(group: PairedGroup) -> str:
    """Name what a group's entries share."""
    leaks = " (leaks)" if group["split"] == "row" else ""
    folds = " ".join(group["folds"])
    fold = folds if folds == "holdout" else f"fold {folds}"
    return f"{group['split']} split{leaks}, slices {group['slices']}, {fold}"


def _size(group: PairedGroup) -> str:
    pairs = len(group["pairs"])
    return f"{pairs} pair{'s' * (pairs > 1)}, {group['studies']:,} studies"


def _row(pair: PairedDifference, figure: Figure) -> Row:
    digits = 1 if figure == "top1" else 4
    value, low, high = (f"{n:+.{digits}f}" for n in _scaled(pair, figure))
    return {
        "better": pair["first"],
        "than": pair["second"],
        "difference": value,
        "95 %": f"{low} to {high}",
        "shown": "yes" if pair["shown"] else "no",
    }


def _scaled(pair: PairedDifference, figure: Figure) -> tuple[float, float, float]:
    scale = 100 if figure == "top1" else 1
    return scale * pair["difference"], scale * pair["low"], scale * pair["high"]
