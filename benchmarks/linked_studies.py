"""Studies to prepare, and as many linked copies of them as a measurement needs."""

import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from src.cache.build_crops import build_cache
from src.cache.overview_cache import build_overviews, claim_overviews
from src.cache.shards import ShardTask
from src.competition.tables import (
    LABEL_FILE,
    POINT_FILE,
    SERIES_FILE,
    Competition,
    first_studies,
    image_folder,
    read_training,
)
from src.files import write_csv
from src.imaging.crops import CropSpec

TABLES = (LABEL_FILE, POINT_FILE, SERIES_FILE)
ID_STEP = 100  # between the ids of two studies' copies: more than copies


@dataclass(frozen=True)
class Prepared:
    """A competition's tables and the folder of its images."""

    tables: Competition
    images: Path

    def crops(
        self,
        cache: Path,
        workers: Executor | None = None,
        beside: Sequence[ShardTask] = (),
    ) -> None:
        """Make the crop cache."""
        held = self.tables
        parts = (held.points, held.labels, held.series, self.images)
        build_cache(*parts, cache, CropSpec(), workers, beside=beside)

    def overviews(self, cache: Path, workers: Executor | None = None) -> None:
        """Make the overviews."""
        build_overviews(self.tables.series, self.images, cache, workers)

    def both(self, cache: Path) -> None:
        """Make the crop cache and the overviews, in one pass over the files."""
        beside = claim_overviews(self.tables.series, self.images, cache)
        self.crops(cache, beside=beside)
        self.overviews(cache)

    def one_after_the_other(self, cache: Path) -> None:
        """Make the crop cache and the overviews, each from the files."""
        self.crops(cache)
        self.overviews(cache)

    def folders(self) -> list[Path]:
        """List the folders of the series that have a point."""
        keys = self.tables.points[["study_id", "series_id"]].drop_duplicates()
        return [self.images / str(a) / str(b) for a, b in keys.itertuples(index=False)]


def prepared_studies(data: Path, count: int | None = None) -> Prepared:
    """Read the tables of the first studies, by default of all."""
    chosen = first_studies(read_training(data), count)
    return Prepared(chosen, image_folder(data, "train"))


def linked_copies(data: Path, studies: int, copies: int, folder: Path) -> None:
    """Write a competition of copies of the first studies, linked to their images.

    folder: becomes its root, with the training tables and the links.
    """
    chosen = sorted(pd.read_csv(data / LABEL_FILE)["study_id"].unique())[:studies]
    for name in TABLES:
        table = pd.read_csv(data / name)
        table = table[table["study_id"].isin(chosen)]
        moved = [
            table.assign(study_id=table["study_id"] * ID_STEP + copy)
            for copy in range(copies)
        ]
        write_csv(pd.concat(moved, ignore_index=True), folder / name)
    source, images = image_folder(data, "train"), image_folder(folder, "train")
    images.mkdir()
    for study in chosen:
        for copy in range(copies):
            link = images / str(study * ID_STEP + copy)
            link.symlink_to((source / str(study)).resolve())


def into_new_folder(make: Callable[[Path], None]) -> None:
    """Make a cache from nothing, and remove it."""
    with tempfile.TemporaryDirectory() as folder:
        make(Path(folder) / "cache")
