"""Brightness of each tissue under each contrast, relative to fat on T1.

Chosen by eye after radiology textbooks: on T1 fat and marrow are bright
and fluid is dark, on T2 fluid is brightest and fat stays bright, STIR removes the fat.
"""

T1, T2, STIR = "t1", "t2", "stir"

SIGNAL = {
    #            T1    T2    STIR
    "air": (0.00, 0.00, 0.00),
    "fat": (1.00, 0.80, 0.10),
    "marrow": (0.62, 0.46, 0.17),
    "cortex": (0.07, 0.05, 0.05),
    "ligament": (0.15, 0.10, 0.08),
    "annulus": (0.24, 0.13, 0.12),
    "nucleus": (0.32, 0.80, 0.75),
    "fluid": (0.14, 1.00, 1.00),
    "cord": (0.38, 0.42, 0.38),
    "root": (0.33, 0.30, 0.28),
    "muscle": (0.30, 0.20, 0.22),
    "vessel": (0.05, 0.04, 0.04),
    "bowel": (0.33, 0.38, 0.35),
}


def signal(tissue: str, contrast: str) -> float:
    """Return the tissue's brightness under the contrast."""
    return SIGNAL[tissue][(T1, T2, STIR).index(contrast)]
