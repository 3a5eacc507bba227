"""Figures 5 to 7: confusion matrices, in the order of the class ids everywhere."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from src.competition.vocab import CONDITIONS
from src.reporting.figures import SHORT, panels
from src.reporting.published import PAIRS
from src.reporting.tables import Metrics

Entry = dict[str, Any]


def draw_confusions(condition: Metrics, folder: Path) -> dict[str, Path]:
    """Draw a picture a pair of the paper's, and one of all others; by their captions.

    A pair stands side by side, each of its ways in a row.
    """
    entries = list(condition.values())
    drawn = {}
    for number, (pair, backbones) in enumerate(PAIRS.items(), start=5):
        own = [entry for entry in entries if entry["backbone"] in backbones]
        if own:
            path = folder / f"figure{number}_confusion_{pair.lower()}.png"
            drawn[f"Figure {number}. {pair}: true and predicted conditions"] = path
            _draw(_grid(own), len({entry["backbone"] for entry in own}), path)
    paired = {backbone for pair in PAIRS.values() for backbone in pair}
    others = [entry for entry in entries if entry["backbone"] not in paired]
    if others:
        path = folder / "figure8_confusion_others.png"
        drawn["Figure 8. Backbones that the paper has not"] = path
        _draw(others, 2, path)
    return drawn


def _grid(entries: list[Entry]) -> list[Entry | None]:
    """Lay out a column a backbone, a row a way; None where there is no such run."""
    cells = {(_way(entry), entry["backbone"]): entry for entry in entries}
    ways, backbones = (
        list(dict.fromkeys(key[part] for key in cells)) for part in (0, 1)
    )
    return [cells.get((way, backbone)) for way in ways for backbone in backbones]


def _way(entry: Entry) -> tuple[str, str, str]:
    return entry["split"], entry["slices"], entry["apart"]


def _draw(cells: list[Entry | None], columns: int, path: Path) -> None:
    with panels(path, len(cells), columns, (4.8, 4.7)) as axes:
        for panel, entry in zip(axes, cells, strict=True):
            if entry is None:
                panel.axis("off")
                continue
            picture = _matrix(panel, np.array(entry["confusion"], dtype=float))
            panel.set_title(_title(entry), fontsize=10)
        axes[0].figure.colorbar(
            picture,
            ax=axes,
            location="bottom",
            shrink=0.6,
            aspect=40,
            pad=0.02,
            label="share of the true condition's crops",
        )


def _title(entry: Entry) -> str:
    name = ", ".join(filter(None, (entry["backbone"], entry["apart"])))
    leaks = " (leaks)" if entry["split"] == "row" else ""
    right = f"{100 * entry['top1']:.1f} % of {entry['n']:,}"
    return f"{name}: {right}\n{entry['split']} split{leaks}, slices {entry['slices']}"


def _matrix(panel: Axes, counts: np.ndarray) -> Any:
    """Write counts over their row's shares in colour; rows true, columns predicted."""
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    picture = panel.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(counts):
        ink = "white" if shares[row, column] > 0.5 else "black"
        # Crops that several runs tested are shared out: a count may be broken.
        text = f"{count:,.0f}" if count == round(count) else f"{count:,.1f}"
        panel.text(column, row, text, ha="center", va="center", color=ink)
    names = [SHORT[name] for name in CONDITIONS]
    panel.set_xticks(range(len(names)), names, fontsize=7)
    panel.set_yticks(range(len(names)), names, fontsize=7)
    panel.set_xlabel("predicted")
    panel.set_ylabel("true")
    return picture
