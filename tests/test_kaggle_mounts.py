"""Kaggle's mounts, new and old, are found by what they hold."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from src.errors import UserError
from src.kaggle.mounts import find_competition, input_root
from src.kaggle.names import COMPETITION


def mount(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "test_series_descriptions.csv").write_text("study_id\n")
    return folder


@pytest.mark.parametrize(
    "place",
    [
        f"competitions/{COMPETITION}",
        COMPETITION,
        "some-other-name",
        "datasets/alice/a-copy",
        "datasets/alice/a-copy/unpacked",
    ],
)
def test_the_competition_is_found_wherever_it_is(tmp_path: Path, place: str) -> None:
    (tmp_path / "datasets" / "bob" / "kit").mkdir(parents=True)
    mount(tmp_path / place)
    assert find_competition(tmp_path) == tmp_path / place


def test_a_test_without_its_table_is_found_by_its_images(tmp_path: Path) -> None:
    images = tmp_path / COMPETITION / "test_images"
    images.mkdir(parents=True)
    assert find_competition(tmp_path) == images.parent


def test_images_are_not_walked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data" / "train_images" / "1" / "2").mkdir(parents=True)
    (tmp_path / "z" / "deep").mkdir(parents=True)
    mount(tmp_path / "z" / "deep" / "down")
    walked = []
    listing = Path.iterdir
    monkeypatch.setattr(
        Path, "iterdir", lambda path: walked.append(path.name) or listing(path)
    )
    assert find_competition(tmp_path).name == "down"
    assert "train_images" not in walked
    assert "data" in walked


def test_the_error_lists_what_is_mounted(tmp_path: Path) -> None:
    (tmp_path / "datasets" / "alice" / "kit").mkdir(parents=True)
    with pytest.raises(UserError, match="which holds datasets, datasets/alice"):
        find_competition(tmp_path)
    with pytest.raises(UserError, match="holds nothing"):
        find_competition(tmp_path / "absent")


def test_the_known_mounts_come_first_the_new_one_before_the_old(tmp_path: Path) -> None:
    mount(tmp_path / "another")
    old = mount(tmp_path / COMPETITION)
    assert find_competition(tmp_path) == old
    new = mount(tmp_path / "competitions" / COMPETITION)
    assert find_competition(tmp_path) == new


def test_links_in_a_circle_are_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mount(tmp_path / "datasets" / "alice" / "a-copy")
    (tmp_path / "a").symlink_to(tmp_path)
    (tmp_path / "b").symlink_to("b")
    (tmp_path / "datasets" / "alice" / "up").symlink_to(tmp_path / "datasets")
    walked, listing = [], Path.iterdir
    monkeypatch.setattr(
        Path, "iterdir", lambda path: walked.append(path) or listing(path)
    )
    assert find_competition(tmp_path).name == "a-copy"
    assert not [path for path in walked if path.is_symlink()]
    linked = tmp_path / "linked"
    linked.mkdir()
    (linked / "elsewhere").symlink_to(tmp_path / "datasets")
    assert find_competition(linked).name == "a-copy"


def test_an_unreadable_folder_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a-closed-one").mkdir()
    mount(tmp_path / "b")
    listing = Path.iterdir

    def closed(path: Path) -> Iterator[Path]:
        if path.name == "a-closed-one":
            raise PermissionError(13, "Permission denied", str(path))
        return listing(path)

    monkeypatch.setattr(Path, "iterdir", closed)
    assert find_competition(tmp_path) == tmp_path / "b"


def test_a_name_that_is_no_text_can_be_listed(tmp_path: Path) -> None:
    os.mkdir(os.fsencode(tmp_path) + b"/\xff-\xc3\xa9")
    with pytest.raises(UserError, match=r"which holds \?-é; add") as refusal:
        find_competition(tmp_path)
    str(refusal.value).encode()


def test_the_mounts_root_is_kaggles_by_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAGGLE_INPUT", str(tmp_path))
    assert input_root() == tmp_path
    monkeypatch.delenv("KAGGLE_INPUT")
    assert input_root() == Path("/kaggle/input")
