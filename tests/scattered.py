"""A competition's slices scattered as a hospital's share has them."""

import random
from pathlib import Path

from planted import MARK, plant
from pydicom import dcmread

# Echo and repetition time by series type, as spin echoes have them.
TIMES = {
    "Sagittal T1": (10.0, 550.0),
    "Sagittal T2/STIR": (100.0, 3500.0),
    "Axial T2": (100.0, 4000.0),
}


def scatter(
    images: Path, types: dict[int, str], target: Path, planted: bool = True
) -> dict[str, Path]:
    """Copy `<study>/<series>/<n>.dcm` to random nested names without endings.

    types: of each series, by which a file gets its times. Returns the source of each
    new file by its path from `target`.
    """
    draw = random.Random(0)
    found: dict[str, Path] = {}
    for path in sorted(images.glob("*/*/*.dcm")):
        dataset = dcmread(path)
        echo, repetition = TIMES[types[int(path.parent.name)]]
        dataset.EchoTime, dataset.RepetitionTime = str(echo), str(repetition)
        dataset.ScanningSequence = "SE"
        if "StudyInstanceUID" not in dataset:
            dataset.StudyInstanceUID = f"1.2.{path.parents[1].name}"
            dataset.SeriesInstanceUID = f"1.2.3.{path.parent.name}"
        if planted:
            plant(dataset)
        parts = [f"{MARK}{draw.randrange(4)}" for _ in range(draw.randrange(3))]
        name = "/".join([*parts, f"IM{draw.getrandbits(40):010d}"])
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        dataset.save_as(target / name, enforce_file_format=True)
        found[name] = path
    return found
