"""A competition's slices scattered as a hospital's share has them."""

import random
from pathlib import Path

from planted import MARK, plant
from pydicom import dcmread

# Echo and repetition time by series type, as spin echoes have them, for headers that
# have none.
TIMES = {
    "Sagittal T1": (10.0, 550.0),
    "Sagittal T2/STIR": (100.0, 3500.0),
    "Axial T2": (100.0, 4000.0),
}


def scatter(
    images: Path, target: Path, types: dict[int, str] | None = None
) -> dict[str, Path]:
    """Copy `<study>/<series>/<n>.dcm` to random nested names, with names planted.

    types: of each series, by which files get times where the cohort writes none.
    Returns the source of each new file by its path from `target`.
    """
    draw = random.Random(0)
    found: dict[str, Path] = {}
    for path in sorted(images.glob("*/*/*.dcm")):
        dataset = dcmread(path)
        if types is not None:
            echo, repetition = TIMES[types[int(path.parent.name)]]
            dataset.EchoTime, dataset.RepetitionTime = str(echo), str(repetition)
            dataset.ScanningSequence = "SE"
        if "StudyInstanceUID" not in dataset:
            dataset.StudyInstanceUID = f"1.2.{path.parents[1].name}"
            dataset.SeriesInstanceUID = f"1.2.3.{path.parent.name}"
        plant(dataset)
        parts = [f"{MARK}{draw.randrange(4)}" for _ in range(draw.randrange(3))]
        name = "/".join([*parts, f"IM{draw.getrandbits(40):010d}"])
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        dataset.save_as(target / name, enforce_file_format=True)
        found[name] = path
    return found
