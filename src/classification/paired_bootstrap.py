"""Intervals of paired differences between entries, by resampling studies."""

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from scipy.special import ndtri, stdtrit

RESAMPLES = 2000
CONFIDENCE = 0.95
MIN_STUDIES = 10  # with fewer, few draws differ and an interval may vanish


@dataclass(frozen=True, eq=False)
class StudySums:
    """Each study's part in the figures of entries that were tested on the same rows.

    An entry's figure is the mean over terms of sum(totals) / sum(weights), both summed
    over studies: an accuracy has one term, the competition's score four. totals:
    [entries, studies, terms]; weights: [studies, terms], the same for all entries.
    """

    totals: np.ndarray
    weights: np.ndarray

    @property
    def figures(self) -> np.ndarray:
        """The entries' figures, [entries]."""
        return (self.totals.sum(axis=1) / self.weights.sum(axis=0)).mean(axis=1)

    def resampled(self, counts: np.ndarray) -> np.ndarray:
        """Return the figures [resamples, entries] of studies that count so often.

        counts: [resamples, studies]. Skips resamples in which a term has no row.
        """
        entries, studies, terms = self.totals.shape
        columns = np.moveaxis(self.totals, 1, 0).reshape(studies, entries * terms)
        weights = counts @ self.weights
        kept = (weights > 0).all(axis=1)
        totals = (counts[kept] @ columns).reshape(-1, entries, terms)
        return (totals / weights[kept, None, :]).mean(axis=2)


@dataclass(frozen=True)
class Difference:
    """A difference between two entries' figures, first less second, and its interval.

    first, second: the entries' indices.
    """

    first: int
    second: int
    value: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        """Whether zero lies outside the interval."""
        return self.low > 0 or self.high < 0


def paired_differences(sums: StudySums, resamples: int = RESAMPLES) -> list[Difference]:
    """Compare every two entries of at least two studies; intervals hold all at once.

    Whole studies are drawn with replacement, since the errors of a study's rows are
    correlated, and every entry is judged on the same draw, since the difficulty of a
    study is common to all and cancels in a difference. An interval is the difference
    plus and minus c times its bootstrap standard deviation, where c is the 95 %
    quantile over draws of the largest standardized deviation of any pair. With the
    probability of 95 % all intervals hold their true differences, so that it needs no
    further correction to pick the best entry first and then look at its pairs; and
    unlike Bonferroni's or Holm's, the correction knows how alike the pairs are.

    Sources: Westfall and Young, Resampling-Based Multiple Testing, 1993 (maximum
    statistic, single step); Cameron and Miller, A Practitioner's Guide to
    Cluster-Robust Inference, 2015 (pairs cluster bootstrap). Few studies: widened by
    sqrt(n / (n - 1)) t / z as in Hesterberg, What Teachers Should Know About the
    Bootstrap, 2015.

    The intervals are about these trained networks on new studies. They do not tell
    how another seed would have come out.
    """
    first, second = np.array([*combinations(range(len(sums.totals)), 2)]).T
    # A figure is linear in its totals, so the difference of two is the figure of their
    # difference. Rounded, since what is left of equal sums is no difference.
    pairs = StudySums((sums.totals[first] - sums.totals[second]).round(9), sums.weights)
    value, studies = pairs.figures, len(sums.weights)
    away = np.abs(pairs.resampled(_draw(studies, resamples)) - value)
    sd = np.sqrt(np.square(away).mean(axis=0))
    worst = np.divide(away, sd, out=np.zeros_like(away), where=sd > 0).max(axis=1)
    half = np.quantile(worst, CONFIDENCE) * sd * _widening(studies)
    rows = zip(first, second, value, value - half, value + half, strict=True)
    return [Difference(int(a), int(b), *map(float, rest)) for a, b, *rest in rows]


def _draw(studies: int, resamples: int) -> np.ndarray:
    """Draw `studies` of them with replacement: how often each came, [resamples, n]."""
    rng = np.random.default_rng(0)
    chosen = rng.integers(studies, size=(resamples, studies))
    chosen += studies * np.arange(resamples)[:, None]
    counts = np.bincount(chosen.ravel(), minlength=resamples * studies)
    return counts.reshape(resamples, studies).astype(float)


def _widening(studies: int) -> float:
    """Return the factor that makes up for few studies: 1.22 for 10, 1.01 for 200."""
    tail = (1 + CONFIDENCE) / 2
    ratio = stdtrit(studies - 1, tail) / ndtri(tail)
    return float(np.sqrt(studies / (studies - 1)) * ratio)
