"""What an import of a large folder takes: seconds, and memory at most.

    python -m benchmarks.import_speed --files 20000

The folder is made first, from a slice of the example: studies of four series of 20
slices of 64 x 64 px, in nested folders under names that tell nothing.
"""

import argparse
import resource
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from pydicom import Dataset, dcmread
from pydicom.uid import ExplicitVRLittleEndian

from benchmarks.measure import BENCHMARKS, Row, peak_megabytes, write_table
from src.cache.import_folder import import_folder
from src.command_line import make_parser, positive_int, run_script
from src.console import show_table
from src.workers import worker_pool

SECTION = "Import"
EXAMPLE = Path("examples/spider/DICOM/SER00001/IM00001")
TIMES_MS = ((10, 550), (100, 3500), (100, 4000), (10, 600))  # of each series
SLICES, PX = 20, 64
WORKERS = 2


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = make_parser(__doc__)
    add = parser.add_argument
    add("--files", type=positive_int, default=20_000, help="files of the folder")
    add("--write", action="store_true", help=f"put the table into {BENCHMARKS}")
    return parser.parse_args()


def main() -> None:
    """Make a folder, import it, and tabulate what that took."""
    args = parse()
    with TemporaryDirectory() as made:
        source = Path(made) / "source"
        write_folder(source, args.files)
        row = time_import(source, Path(made) / "data")
    show_table("Import, two workers", [row])
    if args.write:
        write_table(SECTION, [row], note="The folder's files lie in the page cache.")


def write_folder(folder: Path, files: int) -> None:
    """Write the files in nested folders, those of one series far apart."""
    dataset = dcmread(EXAMPLE)
    dataset.decompress()
    dataset.PixelData = dataset.pixel_array[:PX, :PX].tobytes()
    dataset.Rows = dataset.Columns = PX
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.ScanningSequence = "SE"
    for number, slice_ in zip(range(files), _slices(dataset), strict=False):
        path = folder / f"d{number % 97}" / f"F{number * 7919 % 1_000_003}"
        path.parent.mkdir(parents=True, exist_ok=True)
        slice_.save_as(path, enforce_file_format=True)


def _slices(dataset: Dataset) -> Iterator[Dataset]:
    """Change a dataset to one slice after the other, without an end."""
    study = 0
    while True:
        study += 1
        dataset.StudyInstanceUID = f"1.2.{study}"
        for series, times in enumerate(TIMES_MS, start=1):
            dataset.SeriesInstanceUID = f"1.2.{study}.{series}"
            dataset.EchoTime, dataset.RepetitionTime = map(str, times)
            for place in range(1, SLICES + 1):
                dataset.InstanceNumber = place
                dataset.SOPInstanceUID = f"1.2.{study}.{series}.{place}"
                dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
                dataset.ImagePositionPatient = [str(4 * place), "0", "0"]
                yield dataset


def time_import(source: Path, data: Path) -> Row:
    """Import a folder by two workers."""
    start = time.perf_counter()
    with worker_pool(WORKERS) as executor:
        result = import_folder(source, data, executor=executor)
    seconds = time.perf_counter() - start
    used = np.asarray(result.types["slices"])
    workers = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    return {
        "files": len(result.files),
        "series": len(used),
        "slices written": int(used.sum()),
        "seconds": round(seconds),
        "MB at most": round(peak_megabytes()),
        "MB of a worker": round(workers),
    }


if __name__ == "__main__":
    run_script(main)
