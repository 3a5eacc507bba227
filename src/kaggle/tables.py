"""What the inference notebook lists: where answers came from, and what was not read."""

from itertools import islice

import pandas as pd

from src.kaggle.answer import Answer
from src.reading.findings import SOURCES

HIDDEN_STUDIES = 750  # to plan for; the visible test has one


def by_study(findings: pd.DataFrame, count: int = 20) -> pd.DataFrame:
    """Say of the first studies how much was read, and the likeliest severe site."""
    rows = []
    for study, sites in islice(findings.groupby("study_id"), count):
        seen = sites["source"].value_counts()
        counts = {name: int(seen.get(name, 0)) for name in SOURCES}
        rows.append({"study": study, **counts, **_likeliest_severe(sites)})
    return pd.DataFrame(rows)


def _likeliest_severe(sites: pd.DataFrame) -> dict[str, object]:
    """Name it among those that were read: the prior knows nothing of this study."""
    read = sites[sites["source"] != "prior"]
    if read.empty:
        return {"likeliest severe": "nothing was read", "probability": None}
    worst = read.loc[read["severe"].idxmax()]
    name = place(worst["condition"], worst["level"])
    return {"likeliest severe": name, "probability": float(worst["severe"])}


def cost(answer: Answer) -> pd.DataFrame:
    """Say what the answer took, and would take for the hidden test.

    All of the time is scaled, start-up too: the estimate is on the safe side.
    """
    each = answer.seconds / len(answer.studies)
    row = {
        "studies": len(answer.studies),
        "seconds": round(answer.seconds, 1),
        "seconds a study": round(each, 2),
        f"hours for {HIDDEN_STUDIES}": round(each * HIDDEN_STUDIES / 3600, 2),
        "peak memory, MB": round(answer.peak_mb),
    }
    return pd.DataFrame([row])


def place(condition: str, level: str) -> str:
    """Write a site as a reader says it: `L4/L5 left neural foraminal narrowing`."""
    return f"{level.replace('_', '/').upper()} {condition.replace('_', ' ')}"
