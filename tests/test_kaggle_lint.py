"""Metadata that Kaggle would misread in silence is refused before it is sent."""

import json
import shutil
from pathlib import Path
from typing import Any

import nbformat
import pytest

from src.errors import UserError
from src.kaggle.bundle import stage_kernel
from src.kaggle.kit import ROOT
from src.kaggle.lint import check_dataset, check_kernel
from src.kaggle.names import COMPETITION, KERNELS, Names, slugify

DATASET = {
    "id": "alice/rsna-lumbar-kit",
    "title": "Rsna Lumbar Kit",
    "subtitle": "Code and weights for a competition",
    "licenses": [{"name": "other"}],
}


@pytest.fixture
def kernel(tmp_path: Path) -> Path:
    stage_kernel(tmp_path / "inference", "inference", Names("alice"))
    return tmp_path / "inference"


def change(folder: Path, name: str, **changes: Any) -> None:
    path = folder / name
    held = json.loads(path.read_text()) if path.is_file() else DATASET
    kept = {key: value for key, value in {**held, **changes}.items() if value != "GONE"}
    path.write_text(json.dumps(kept))


@pytest.mark.parametrize("name", KERNELS)
def test_our_own_notebooks_pass(tmp_path: Path, name: str) -> None:
    stage_kernel(tmp_path, name, Names("alice"))
    metadata = check_kernel(tmp_path, offline=name == "inference")
    assert metadata["id"] == f"alice/rsna-lumbar-{name}"
    assert slugify(metadata["title"]) == f"rsna-lumbar-{name}"
    assert metadata["dataset_sources"] == ["alice/rsna-lumbar-kit"]
    assert metadata["is_private"] is True
    assert metadata["enable_internet"] is (name == "train")


@pytest.mark.parametrize("name", KERNELS)
def test_our_notebooks_are_valid_and_hold_no_logic(name: str) -> None:
    notebook = nbformat.read(ROOT / "kernels" / name / f"{name}.ipynb", as_version=4)
    nbformat.validate(notebook)
    code = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    assert sum(len(source.splitlines()) for source in code) <= 45
    assert not any("def " in source or "class " in source for source in code)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"id": "OWNER/rsna-lumbar-inference"}, "id must be owner/slug"),
        ({"id": "rsna-lumbar-inference"}, "id must be owner/slug"),
        ({"id": "alice/rsna-lumbar-inference/3"}, "id must be owner/slug"),
        ({"id": "alice/abc", "title": "Abc"}, "must have 5 to 50 characters"),
        ({"title": "Something else"}, "becomes the slug something-else"),
        ({"title": "x" * 51}, "title must have 5 to 50"),
        ({"is_private": False}, "is_private must be true"),
        ({"is_private": "GONE"}, "is_private must be written out"),
        ({"enable_internet": "GONE"}, "enable_internet must be written out"),
        ({"enable_internet": True}, "must be false for a submission"),
        ({"enable_internet": "false"}, "enable_internet must be written out"),
        ({"machine_shape": "NvidiaTeslaP100"}, "machine_shape must be one of"),
        ({"machine_shape": "GONE"}, "machine_shape must be one of"),
        ({"machine_shpae": "x"}, "machine_shpae is not a key that Kaggle reads"),
        ({"dataset_sources": "alice/kit"}, "dataset_sources must be a list"),
        ({"dataset_sources": None}, "dataset_sources must be a list"),
        ({"dataset_sources": ["kit"]}, "has kit, which is not"),
        ({"kernel_sources": ["code/alice/train"]}, "which is not of the form"),
        ({"competition_sources": ["a/b"]}, "has a/b, which is not"),
        ({"model_sources": ["a/b/pyTorch/c"]}, "has a/b/pyTorch/c, which is not"),
        ({"code_file": "absent.ipynb"}, "not a notebook in the same folder"),
        ({"language": "Python"}, "language must be python"),
    ],
)
def test_a_kernels_fault_is_named(
    kernel: Path, changes: dict[str, Any], sentence: str
) -> None:
    change(kernel, "kernel-metadata.json", **changes)
    with pytest.raises(UserError, match=sentence):
        check_kernel(kernel, offline=True)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"metadata": {}}, "names no kernelspec"),
        ({"cells": [{"outputs": [{"output_type": "stream"}]}]}, "stores outputs"),
    ],
)
def test_a_notebooks_fault_is_named(
    kernel: Path, changes: dict[str, Any], sentence: str
) -> None:
    change(kernel, "inference.ipynb", **changes)
    with pytest.raises(UserError, match=sentence):
        check_kernel(kernel, offline=True)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"id": "alice/kit", "title": "Kit"}, "slug kit must have 6 to 50"),
        ({"id": "INSERT/SLUG_HERE"}, "id must be owner/slug"),
        ({"title": "Another title"}, "becomes the slug another-title"),
        ({"subtitle": "too short"}, "20 to 80"),
        ({"licenses": [{"name": "MIT"}]}, "licenses must be one of"),
        ({"licenses": []}, "licenses must be one of"),
        ({"isPrivate": True}, "isPrivate is not a key"),
    ],
)
def test_a_datasets_fault_is_named(
    tmp_path: Path, changes: dict[str, Any], sentence: str
) -> None:
    change(tmp_path, "dataset-metadata.json")
    assert check_dataset(tmp_path)["id"] == "alice/rsna-lumbar-kit"
    change(tmp_path, "dataset-metadata.json", **changes)
    with pytest.raises(UserError, match=sentence):
        check_dataset(tmp_path)


def test_metadata_that_is_absent_or_broken_is_named(kernel: Path) -> None:
    (kernel / "kernel-metadata.json").write_text("{")
    with pytest.raises(UserError, match="is not JSON"):
        check_kernel(kernel, offline=True)
    shutil.rmtree(kernel)
    with pytest.raises(UserError, match=r"src\.kaggle\.bundle"):
        check_kernel(kernel, offline=True)


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"null", b'"id"', b"\xff\xfe{}", b"[" * 100_000]
)
@pytest.mark.parametrize("name", ["kernel-metadata.json", "dataset-metadata.json"])
def test_metadata_of_another_shape_is_one_sentence(
    kernel: Path, name: str, content: bytes
) -> None:
    (kernel / name).write_bytes(content)
    check = check_dataset if name[0] == "d" else lambda x: check_kernel(x, offline=True)
    with pytest.raises(UserError, match=r"(not JSON|not hold).*stage it again") as told:
        check(kernel)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"id": 5}, "id and title must be text"),
        ({"title": ["x"]}, "id and title must be text"),
        ({"keywords": "spine"}, "keywords must be a list"),
        ({"keywords": [1]}, "keywords must be a list"),
        ({"kernel_sources": [["a/b"]]}, "kernel_sources must be a list of names"),
        ({"machine_shape": ["NvidiaTeslaT4"]}, "machine_shape must be one of"),
        ({"code_file": ["x"]}, "not a notebook in the same folder"),
        ({"code_file": "../inference/inference.ipynb"}, "in the same folder"),
    ],
)
def test_a_kernels_value_of_another_type_is_named(
    kernel: Path, changes: dict[str, Any], sentence: str
) -> None:
    change(kernel, "kernel-metadata.json", **changes)
    with pytest.raises(UserError, match=sentence):
        check_kernel(kernel, offline=True)


@pytest.mark.parametrize(
    "content",
    [
        *("[]", "null", "{}", '{"cells": 5, "metadata": {}}', "\ufeff{}"),
        '{"cells": [5], "metadata": {"kernelspec": {"name": "python3"}}}',
        '{"cells": [], "metadata": null}',
        '{"cells": [], "metadata": {"kernelspec": "python3"}}',
    ],
)
def test_a_notebook_of_another_shape_is_named(kernel: Path, content: str) -> None:
    (kernel / "inference.ipynb").write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match="is not a notebook in the same folder"):
        check_kernel(kernel, offline=True)


@pytest.mark.parametrize("licenses", [None, [1], ["other"], {"name": "other"}, [{}]])
def test_licenses_of_another_shape_are_named(tmp_path: Path, licenses: Any) -> None:
    change(tmp_path, "dataset-metadata.json")
    change(tmp_path, "dataset-metadata.json", licenses=licenses)
    with pytest.raises(UserError, match="licenses must be one of"):
        check_dataset(tmp_path)


@pytest.mark.parametrize(
    ("letters", "taken"), [(19, False), (20, True), (80, True), (81, False)]
)
def test_a_subtitle_has_20_to_80_characters(
    tmp_path: Path, letters: int, taken: bool
) -> None:
    change(tmp_path, "dataset-metadata.json", subtitle="x" * letters)
    if taken:
        check_dataset(tmp_path)
    else:
        with pytest.raises(UserError, match="20 to 80"):
            check_dataset(tmp_path)


@pytest.mark.parametrize(
    ("letters", "taken"), [(4, False), (5, True), (50, True), (51, False)]
)
def test_a_notebooks_slug_has_5_to_50_characters(
    kernel: Path, letters: int, taken: bool
) -> None:
    name = "x" * letters
    change(kernel, "kernel-metadata.json", id=f"alice/{name}", title=name)
    if taken:
        check_kernel(kernel, offline=True)
    else:
        with pytest.raises(UserError, match="5 to 50"):
            check_kernel(kernel, offline=True)


def test_a_notebook_with_the_internet_on_may_train(kernel: Path) -> None:
    change(kernel, "kernel-metadata.json", enable_internet=True)
    assert check_kernel(kernel, offline=False)["enable_internet"] is True


@pytest.mark.parametrize("name", KERNELS)
def test_our_own_notebooks_have_the_competition_and_gpus(
    tmp_path: Path, name: str
) -> None:
    stage_kernel(tmp_path, name, Names("alice"))
    metadata = check_kernel(tmp_path, offline=name == "inference")
    assert metadata["competition_sources"] == [COMPETITION]
    assert metadata["enable_gpu"] is True
    assert metadata["machine_shape"] == "NvidiaTeslaT4"
    assert metadata["code_file"] == f"{name}.ipynb"
