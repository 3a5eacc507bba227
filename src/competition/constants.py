"""The competition's conditions, levels and severities, and the 25 targets.

The class id of a condition or severity is its index in the tuple here. CONDITIONS is in
the alphabetical order of the submission's rows.
"""

from itertools import pairwise, product

SIDES = ("left", "right")
VERTEBRAE = ("l1", "l2", "l3", "l4", "l5", "s1")
LEVELS = tuple(f"{upper}_{lower}" for upper, lower in pairwise(VERTEBRAE))
SEVERITIES = ("normal_mild", "moderate", "severe")
SEVERITY_WEIGHTS = (1, 2, 4)

SPINAL = "spinal_canal_stenosis"
FAMILIES = {
    "spinal": (SPINAL,),
    "foraminal": tuple(f"{side}_neural_foraminal_narrowing" for side in SIDES),
    "subarticular": tuple(f"{side}_subarticular_stenosis" for side in SIDES),
}
FAMILY_OF = {name: family for family, names in FAMILIES.items() for name in names}
CONDITIONS = tuple(sorted(FAMILY_OF))
TARGETS = tuple(
    f"{condition}_{level}" for condition, level in product(CONDITIONS, LEVELS)
)

SAGITTAL_T1 = "Sagittal T1"
SAGITTAL_T2 = "Sagittal T2/STIR"
AXIAL_T2 = "Axial T2"
SERIES_DESCRIPTIONS = (SAGITTAL_T1, SAGITTAL_T2, AXIAL_T2)
SERIES_OF = {
    "spinal": SAGITTAL_T2,
    "foraminal": SAGITTAL_T1,
    "subarticular": AXIAL_T2,
}


def normalise(text: str) -> str:
    """Turn the coordinates' spelling into the submission's: `L4/L5` to `l4_l5`."""
    return text.strip().lower().replace("/", "_").replace(" ", "_")


def level_name(level: str) -> str:
    """Write a level as in the labels: `l4_l5` as L4/L5."""
    return level.replace("_", "/").upper()


def swap_side(condition: str) -> str:
    """Return the same condition on the other side; the canal is its own mirror."""
    side, _, rest = condition.partition("_")
    if side not in SIDES:
        return condition
    return f"{SIDES[1 - SIDES.index(side)]}_{rest}"
