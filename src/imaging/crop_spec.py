"""What to cut around a point."""

import math
from dataclasses import dataclass

from src.errors import InputError


@dataclass(frozen=True)
class CropSpec:
    """The size of a crop.

    crop_px: pixels along each side.
    field_mm: millimetres along each side; None keeps the labelled slice's own pixels,
    as the paper does.
    slices: the labelled slice and as many before as after it, so an odd number.
    """

    crop_px: int = 100
    field_mm: float | None = 50.0
    slices: int = 3

    def __post_init__(self) -> None:
        """Refuse what cannot be cut."""
        if not 8 <= self.crop_px <= 1024:
            raise InputError(f"A crop of {self.crop_px} px is not within 8 to 1024 px.")
        if self.slices < 1 or self.slices % 2 == 0:
            raise InputError(f"A crop of {self.slices} slices is not an odd number.")
        field_mm = 50.0 if self.field_mm is None else self.field_mm
        if not (math.isfinite(field_mm) and 5 <= field_mm <= 500):
            raise InputError(f"A field of {field_mm:g} mm is not within 5 to 500 mm.")

    @property
    def middle(self) -> int:
        """The channel of the labelled slice."""
        return self.slices // 2

    def __str__(self) -> str:
        """The crop in words."""
        field = "native pixels" if self.field_mm is None else f"{self.field_mm:g} mm"
        return f"{self.slices} slices of {self.crop_px} px over {field}"
