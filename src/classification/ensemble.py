"""The ensemble rule that evaluation, calibration and the submission share.

Probabilities are averaged by their logarithms and normalized. Their arithmetic mean is
less sure than any run ought to be, and scored .010 worse on phantoms (docs/log.md).
"""

import numpy as np
import pandas as pd

ENSEMBLE_RULE = "mean_log_probability"  # recorded wherever a result depends on it
MIN_PROBABILITY = 1e-6  # no run alone may rule a class out


def ensemble(probabilities: np.ndarray, sites: np.ndarray) -> np.ndarray:
    """Average the rows [n, labels] of each site: [number of sites, labels].

    sites: [n], the index of each row's site, from 0 on without a gap; a site may have
    any number of rows.
    """
    logs = np.log(np.maximum(probabilities, MIN_PROBABILITY))
    total = np.zeros((int(sites.max(initial=-1)) + 1, probabilities.shape[1]))
    np.add.at(total, sites, logs)
    mean = np.exp(total / np.bincount(sites)[:, None])
    return mean / mean.sum(axis=1, keepdims=True)


def ensemble_tables(
    tables: list[pd.DataFrame], keys: list[str], columns: list[str]
) -> pd.DataFrame:
    """Average runs' predictions of the same site: `keys` and `columns`, a site once.

    keys: the columns that name a site; columns: its probabilities.
    """
    rows = pd.concat(tables, ignore_index=True)
    groups = rows.groupby(keys)
    mean = ensemble(rows[columns].to_numpy(float), groups.ngroup().to_numpy())
    return (
        groups.size()
        .reset_index()[keys]
        .assign(**dict(zip(columns, mean.T, strict=True)))
    )
