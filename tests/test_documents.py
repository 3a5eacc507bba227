"""What the documents say of the code: imports, versions, targets, links."""

import re
from pathlib import Path

import pytest
from test_structure import MAY_IMPORT, MAY_IMPORT_TORCH

from src import __version__

ROOT = Path(__file__).parents[1]
DOCUMENTS = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *(ROOT / "docs" / name for name in ("results.md", "log.md")),
    *(ROOT / "docs" / name for name in ("tutorial.md", "own-dicom.md")),
    *(ROOT / name for name in ("weights/README.md", "examples/spider/README.md")),
]


def headings(text: str) -> set[str]:
    """Name the anchors of a document's headings as GitHub does."""
    found = re.findall(r"^#+ (.+)$", text, re.M)
    return {re.sub(r"[^\w -]", "", h.lower()).replace(" ", "-") for h in found}


def test_contributing_has_the_import_arrows() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    table = text.split("| folder of `src` | may import | torch |")[1].split("\n\n")[0]
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in table.strip().splitlines()[1:]
    ]
    arrows = {room: {*filter(None, names.split(", "))} for room, names, _ in rows}
    assert arrows == MAY_IMPORT
    assert {room for room, _, torch in rows if torch == "yes"} == MAY_IMPORT_TORCH


def test_the_version_is_the_same_everywhere() -> None:
    citation = re.search(r"^version: (.+)$", (ROOT / "CITATION.cff").read_text(), re.M)
    newest = re.search(r"^## \[(\d.+?)\]", (ROOT / "CHANGELOG.md").read_text(), re.M)
    assert citation
    assert newest
    assert citation[1] == newest[1] == __version__


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_named_make_targets_exist(path: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    named = set(re.findall(r"(?:`|^)make ([a-z-]+)", path.read_text(), re.M))
    assert named <= targets


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", path.read_text()):
        name, _, anchor = target.partition("#")
        linked = path.parent / name if name else path
        assert linked.exists(), target
        assert not anchor or anchor in headings(linked.read_text()), target


def test_kaggles_requirements_cover_the_kits() -> None:
    def packages(name: str) -> dict[str, str]:
        lines = (ROOT / name).read_text().splitlines()
        found = (re.match(r"([A-Za-z][\w-]*)(.*)", line) for line in lines)
        return {m[1]: m[2].split("#")[0].strip() for m in found if m}

    kaggle, kit = packages("requirements-kaggle.txt"), packages("requirements.txt")
    absent = {name for name in kit if name.startswith("pylibjpeg")}
    assert kit.keys() - kaggle.keys() == absent
    assert kaggle["torch"] != kit["torch"]
