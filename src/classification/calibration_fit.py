"""Fits of a calibration, chosen and judged by nested folds of whole studies.

Each family has the same candidates: every method of METHODS, with and without a blend
with the prior. The studies are dealt into PARTS. Without each part in turn, the other
parts choose a candidate by predictions across them; what they choose corrects the part
kept aside. If these corrected predictions gain more than a standard error on the
uncorrected ones, the choice is made again on all parts and kept; if not, the family is
not corrected. A family that is still no better than the prior becomes the prior. The
loss is the competition's weighted log loss.
"""

from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import pandas as pd
from scipy.optimize import minimize_scalar
from sklearn.linear_model import LogisticRegression

from src.classification.calibration import (
    CLASSES,
    IDENTITY,
    METHODS,
    PROBABILITY_COLUMNS,
    Calibration,
    Correction,
    blend,
    log_ratios,
    raise_severe,
    softmax,
)
from src.classification.family_sites import FamilySites, families_of, negative_log
from src.competition.constants import FAMILIES, LEVELS

PARTS = 5
MIN_STUDIES = 2 * PARTS
TEMPERATURES = (0.25, 8.0)  # the least and the largest that is fitted
PRIOR_WEIGHTS = np.linspace(0, 1, 41)
FACTORS = np.linspace(1, 3, 41)
REGULARIZATION = 0.1  # scikit-learn's C; 1 and .03 recover a level's bias worse


@dataclass(frozen=True)
class CalibrationFit:
    """A calibration, and the same correction of each site by a fit on other studies.

    cross_fitted: [n, 3], the rows of the table that it was fitted on; the sites of a
    family that is not corrected keep their probabilities.
    """

    calibration: Calibration
    cross_fitted: np.ndarray


@dataclass(frozen=True)
class Candidate:
    """A way to correct a family."""

    method: str
    blended: bool


NO_CORRECTION, *CORRECTIONS = (
    Candidate(method, blended) for method, blended in product(METHODS, (False, True))
)


def fit_calibration(table: pd.DataFrame) -> CalibrationFit:
    """Fit a calibration, family by family; IDENTITY where nested folds show no gain.

    table: out-of-fold predictions: SITE, severity, PROBABILITY_COLUMNS and
    PRIOR_COLUMNS; a row a site. A family with sites of too few studies is not
    corrected.
    """
    plain = table[PROBABILITY_COLUMNS].to_numpy(float)
    out, corrections = plain.copy(), dict(IDENTITY.families)
    factor, gains = 1.0, []
    for family, (own, sites) in families_of(table).items():
        if len(set(sites.studies)) < MIN_STUDIES:
            continue
        folds = NestedFolds(sites)
        corrections[family], out[own] = folds.judge()
        gains.append(sites.gain(plain[own], out[own]))
        if family == "spinal":
            factor, out[own] = folds.judge_factor(corrections[family], out[own])
            gains[-1] = sites.spinal_gain(plain[own], out[own])
    terms = len(FAMILIES) + 1
    gain = sum(one.mean for one in gains) / terms
    return CalibrationFit(Calibration(corrections, factor, round(gain, 4)), out)


class NestedFolds:
    """One family's candidates, fitted without some of its parts, each fit made once."""

    def __init__(self, sites: FamilySites) -> None:
        """Deal the sites into parts, whole studies each; nothing is fitted yet."""
        self.sites, self.parts = sites, sites.studies % PARTS
        self._fits: dict[tuple[Candidate, frozenset[int]], Correction] = {}

    def fitted(self, candidate: Candidate, without: frozenset[int]) -> Correction:
        """Fit a candidate on all parts but some."""
        key = (candidate, without)
        if key not in self._fits:
            kept = self.sites.rows(~np.isin(self.parts, list(without)))
            base = replace(candidate, blended=False)
            method = self.fitted(base, without) if candidate.blended else None
            self._fits[key] = (
                fit_blend(kept, method) if method else fit(kept, candidate.method)
            )
        return self._fits[key]

    def predict(
        self, candidate: Candidate, outer: frozenset[int] = frozenset()
    ) -> np.ndarray:
        """Correct each part [n, 3] by the fit without it and without the outer one."""
        out = np.empty_like(self.sites.probabilities)
        for part in range(PARTS):
            own = self.parts == part
            rows = self.sites.rows(own)
            out[own] = rows.corrected(self.fitted(candidate, outer | {part}))
        return out

    def choose(self, outer: frozenset[int] = frozenset()) -> Candidate:
        """Choose by the other parts: a later candidate must gain on an earlier one."""
        kept = ~np.isin(self.parts, list(outer))
        sites, chosen = self.sites.rows(kept), NO_CORRECTION
        best = sites.probabilities
        for candidate in CORRECTIONS:
            tried = self.predict(candidate, outer)[kept]
            if sites.gain(best, tried).is_shown:
                chosen, best = candidate, tried
        return chosen

    def judge(self) -> tuple[Correction, np.ndarray]:
        """Return the correction that nested folds support, and cross-fitted rows."""
        nested = np.empty_like(self.sites.probabilities)
        for part in range(PARTS):
            own, outer = self.parts == part, frozenset({part})
            correction = self.fitted(self.choose(outer), outer)
            nested[own] = self.sites.rows(own).corrected(correction)
        found = self.fitted(self.choose(), frozenset())
        gain = self.sites.gain(self.sites.probabilities, nested)
        if found.is_identity or not gain.is_shown:
            found, nested = Correction(), self.sites.probabilities
        if self.sites.loss(nested) >= self.sites.loss(self.sites.prior):
            found, nested = Correction(prior_weight=1.0), self.sites.prior
        if found.is_identity:
            return found, nested
        gain = self.sites.gain(self.sites.probabilities, nested)
        error = round(gain.standard_error, 4)
        return replace(found, gain=round(gain.mean, 4), standard_error=error), nested

    def judge_factor(
        self, correction: Correction, nested: np.ndarray
    ) -> tuple[float, np.ndarray]:
        """Return the spinal factor that nested folds support, and its rows.

        correction, nested: what `judge` returned.
        """
        raised = np.empty_like(nested)
        for part in range(PARTS):
            own, outer = self.parts == part, frozenset({part})
            others = self.sites.rows(~own)
            inner = self._corrected_as_judged(correction, outer)[~own]
            raised[own] = raise_severe(nested[own], best_factor(others, inner))
        if not self.sites.spinal_gain(nested, raised).is_shown:
            return 1.0, nested
        inner = self._corrected_as_judged(correction, frozenset())
        return best_factor(self.sites, inner), raised

    def _corrected_as_judged(
        self, correction: Correction, outer: frozenset[int]
    ) -> np.ndarray:
        if correction.is_identity:
            return self.sites.probabilities
        return self.predict(self.choose(outer), outer)


def fit(sites: FamilySites, method: str) -> Correction:
    """Fit a method; the identity where a severity is absent, so that none can be."""
    if method == "identity" or len(set(sites.classes)) < CLASSES:
        return Correction()
    return (fit_temperature if method == "temperature" else fit_logistic)(sites)


def fit_temperature(sites: FamilySites) -> Correction:
    """Fit the divisor of the log probabilities."""
    ratios = log_ratios(sites.probabilities)

    # Convex in 1 / temperature, so that there is one minimum.
    found = minimize_scalar(
        lambda logarithm: sites.loss(softmax(ratios * np.exp(-logarithm))),
        bounds=np.log(TEMPERATURES),
        method="bounded",
        options={"xatol": 1e-3},
    )
    inverse = round(float(np.exp(-found.x)), 6)
    return Correction("temperature", (inverse * np.eye(CLASSES)).tolist())


def fit_logistic(sites: FamilySites) -> Correction:
    """Fit a multinomial logistic regression on log probabilities and level.

    Its L2 penalty pulls to zero slopes and to equal intercepts, that is, to a constant
    prediction without a level: what is right for a grader that knows nothing. To leave
    a grader as it is, is the identity's part, which the folds may choose.
    """
    ratios = log_ratios(sites.probabilities)
    features = np.hstack([ratios, np.eye(len(LEVELS))[sites.levels]])
    model = LogisticRegression(C=REGULARIZATION, max_iter=1000)
    model.fit(features, sites.classes, sample_weight=sites.weights)
    matrix, by_level = np.split(np.round(model.coef_, 6), [CLASSES], axis=1)
    intercepts = np.round(by_level.T + model.intercept_, 6)
    by_name = dict(zip(LEVELS, intercepts.tolist(), strict=True))
    return Correction("logistic", matrix.tolist(), by_name)


def fit_blend(sites: FamilySites, correction: Correction) -> Correction:
    """Fit the prior's share in a blend with the corrected probabilities."""
    corrected, prior = (
        sites.of_own_class(rows) for rows in (sites.corrected(correction), sites.prior)
    )

    def loss(weight: float) -> float:
        return float(sites.weights @ negative_log(blend(corrected, prior, weight)))

    weight = float(min(PRIOR_WEIGHTS, key=loss))
    return replace(correction, prior_weight=round(weight, 4))


def best_factor(spinal: FamilySites, probabilities: np.ndarray) -> float:
    """Return the factor on severe of FACTORS with the best sum of both spinal terms."""

    def gain(factor: float) -> float:
        raised = raise_severe(probabilities, factor)
        return spinal.spinal_gain(probabilities, raised).mean

    return round(float(max(FACTORS, key=gain)), 4)
