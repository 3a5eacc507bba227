"""Anatomy that makes the naming of levels doubtful, for a share of the studies."""

from typing import Literal, get_args

import numpy as np

# sacrum_out_of_field: the sagittal images end right below the fifth lumbar disc.
# sixth_lumbar: a sixth lumbar vertebra; levels are named from above, so that its disc
# above the sacrum is not graded. s1_s2_disc: a well-formed disc within the sacrum.
Variant = Literal["usual", "sacrum_out_of_field", "sixth_lumbar", "s1_s2_disc"]
VARIANTS: tuple[Variant, ...] = get_args(Variant)[1:]


def choose_variants(
    count: int, share: float, rng: np.random.Generator
) -> list[Variant]:
    """Give a share of `count` studies a variant, each in turn; which, is random."""
    chosen = rng.permutation(count)[: round(share * count)]
    variants: list[Variant] = ["usual"] * count
    for turn, study in enumerate(chosen):
        variants[study] = VARIANTS[turn % len(VARIANTS)]
    return variants
