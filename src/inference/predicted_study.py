"""All that prediction found in one study, for a page about it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import pandas as pd

from src.inference.attention import SiteAttention
from src.inference.site_views import Views
from src.inference.study import Study
from src.localization.spine_prior import Target


@dataclass(frozen=True, eq=False)
class PredictedStudy:
    """A study, its 25 findings and what they come from.

    study: its series, and the doubt about its levels; without any where it could not
    be read. findings: rows of FINDINGS_COLUMNS. views: by site, where each series type
    shows it, its own first found. attention: by site, where the severity models look;
    None if it was not asked for, empty if no model pools by attention.
    """

    study: Study
    findings: pd.DataFrame
    views: Mapping[Target, Views] = field(default_factory=dict)
    attention: Mapping[Target, SiteAttention] | None = None
