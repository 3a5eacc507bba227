"""What several test files share: one small phantom competition a test process."""

from pathlib import Path

import pytest

from src.phantom.cohort import write_cohort
from src.workers import worker_pool


@pytest.fixture(scope="session")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A competition of 6 training studies and 1 test study; not to be written to."""
    root = tmp_path_factory.mktemp("phantom") / "data"
    with worker_pool(2) as executor:
        write_cohort(root, 6, executor)
    return root
