"""The kit on real MRI: LUMBAR_DATA names a cohort in the competition's layout.

Every marked point must give a crop, and a canal's crop must show the canal: bright
fluid in its middle on T2.
"""

import os
from pathlib import Path

import numpy as np
import pytest

from src.cache.build_crops import build_cache
from src.cache.crop_cache import CropCache, open_cache
from src.cache.overview_cache import build_overviews, open_overviews
from src.competition.constants import SAGITTAL_T2, SPINAL
from src.competition.tables import image_folder, read_training
from src.imaging.crops import CropSpec

DATA = os.environ.get("LUMBAR_DATA", "")
pytestmark = pytest.mark.skipif(not DATA, reason="LUMBAR_DATA names no real cohort")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> CropCache:
    """The cohort's crops."""
    root, folder = Path(DATA), tmp_path_factory.mktemp("real")
    data = read_training(root)
    tables = (data.points, data.labels, data.series)
    build_cache(*tables, image_folder(root, "train"), folder, CropSpec())
    return open_cache(folder)


def test_every_point_gives_a_crop(cache: CropCache) -> None:
    assert len(cache.table) == len(read_training(Path(DATA)).points)


def test_canal_crops_are_brighter_in_the_middle(cache: CropCache) -> None:
    table = cache.table
    canal = table["condition"] == SPINAL
    rows = table[canal & (table["series_description"] == SAGITTAL_T2)]["crop"]
    crops = np.asarray(cache.crops[rows, 1], float)
    middle = crops[:, 44:56, 44:56].mean(axis=(1, 2))
    around = crops.mean(axis=(1, 2))
    assert (middle > around).mean() > 0.9


def test_overviews_show_the_canal_where_it_was_marked(
    cache: CropCache, tmp_path: Path
) -> None:
    build_overviews(cache.series, image_folder(Path(DATA), "train"), tmp_path)
    views = {(s, d): view for s, d, view in open_overviews(tmp_path).groups()}
    table = cache.table[cache.table["condition"] == SPINAL]
    brighter = []
    for site in table.itertuples():
        view = views[site.study_id, site.series_description]
        index = view.index_of(site.series_id, site.instance_number)
        x, y = view.from_image(index, np.array([site.x, site.y])).round().astype(int)
        picture = view.images[index].astype(float)
        around = picture[y - 20 : y + 21, x - 20 : x + 21].mean()
        brighter.append(picture[y - 2 : y + 3, x - 2 : x + 3].mean() > around)
    assert np.mean(brighter) > 0.9
