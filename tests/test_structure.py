"""The house as a whole: imports point one way, the README tells the truth."""

import ast
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SCRIPTS = ("input_prep.py", "train.py", "evaluate.py", "predict_submission.py")
# What each package may import, beside itself and the files right under src.
MAY_IMPORT = {
    "competition": set(),
    "imaging": {"competition"},
    "cache": {"competition", "imaging"},
    "phantom": {"competition", "imaging"},
    "models": set(),
    "training": {"competition", "models"},
    "classification": {"competition", "imaging", "cache", "models", "training"},
    "localization": {"competition", "imaging", "cache", "models", "training"},
    "inference": {
        *("competition", "imaging", "models", "training"),
        *("classification", "localization"),
    },
    # A study's page shows what inference found in it; inference knows of no page.
    "reporting": {
        *("competition", "imaging", "cache"),
        *("classification", "localization", "inference"),
    },
    "kaggle": {"competition", "imaging", "training", "classification", "inference"},
}
MAY_IMPORT_TORCH = {"models", "training", "classification", "localization", "inference"}
SOURCES = sorted((ROOT / "src").rglob("*.py"))
PYTHON = sys.executable


def imported(path: Path) -> set[str]:
    """Name every module that a file imports, wherever in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_one_way(path: Path) -> None:
    parts = path.relative_to(ROOT / "src").parts
    package = parts[0] if len(parts) > 1 else None
    for name in imported(path):
        top, *rest = name.split(".")
        if top in ("torch", "torchvision", "timm") or name == "safetensors.torch":
            assert package in MAY_IMPORT_TORCH, name
        if top == "src" and len(rest) > 1 and rest[0] in MAY_IMPORT:
            allowed = MAY_IMPORT.get(package, set()) | {package}
            assert rest[0] in allowed, f"{path.name} imports {name}"


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_files_say_what_they_are(path: Path) -> None:
    assert path.name == "__init__.py" or ast.get_docstring(ast.parse(path.read_text()))


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_answers_without_torch(script: str) -> None:
    code = (
        "import runpy, sys; sys.argv = [sys.argv[1], '--help']\n"
        "try: runpy.run_path(sys.argv[0], run_name='__main__')\n"
        "except SystemExit as end: code = end.code\n"
        "heavy = {'torch', 'torchvision', 'timm', 'sklearn', 'dask'} & {*sys.modules}\n"
        "sys.exit(f'loaded {heavy}' if heavy or code else 0)"
    )
    done = subprocess.run(
        [PYTHON, "-c", code, script], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "usage:" in done.stdout


# Documents whose commands a reader types.
GUIDES = ("README.md", "docs/tutorial.md", "docs/own-dicom.md", "weights/README.md")


def readme_commands() -> list[str]:
    """Every line of the guides' shell blocks that runs one of the scripts."""
    texts = [(ROOT / name).read_text() for name in GUIDES]
    blocks = re.findall(r"```(?:bash|sh)\n(.*?)```", "".join(texts), re.S)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    return [line.split(" #")[0].strip() for line in lines if line.startswith("python ")]


def test_the_readme_runs_all_four_scripts() -> None:
    ran = {shlex.split(command)[1] for command in readme_commands()}
    assert set(SCRIPTS) <= ran


@pytest.mark.parametrize("command", readme_commands())
def test_readme_commands_parse(command: str) -> None:
    _, script, *arguments = shlex.split(command)
    if script == "-m":
        module, *arguments = arguments
        script = module.replace(".", "/") + ".py"
    code = (
        "import sys, runpy; sys.path.insert(0, '.')\n"
        "parse = runpy.run_path(sys.argv[1])['parse']; sys.argv = sys.argv[1:]; parse()"
    )
    done = subprocess.run(
        [PYTHON, "-c", code, script, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def map_lines() -> list[str]:
    """List the paths in the README's file map."""
    block = (ROOT / "README.md").read_text().split("## File map")[1].split("```")[1]
    paths, folder = [], ""
    for indent, name in re.findall(r"^( *)(\S+)(?:  .*)?$", block, re.M):
        if not indent:
            folder = name if name == "src/" else ""
        paths.append(folder + name if indent else name)
    return paths


def test_the_map_lists_every_script_and_folder_and_nothing_else() -> None:
    rooms = [
        f"src/{p.name}/"
        for p in (ROOT / "src").iterdir()
        if (p / "__init__.py").is_file()
    ]
    others = (
        *("benchmarks/", "configs/", "docs/", "examples/", "kernels/", "src/"),
        *("tests/", "weights/"),
    )
    assert sorted(map_lines()) == sorted([*SCRIPTS, *others, *rooms])


@pytest.mark.parametrize("room", sorted(MAY_IMPORT))
def test_a_folder_lists_its_files(room: str) -> None:
    folder = ROOT / "src" / room
    docstring = ast.get_docstring(ast.parse((folder / "__init__.py").read_text()))
    listed = {line.split()[0] for line in docstring.splitlines()[2:]}
    files = {path.stem for path in folder.glob("*.py")} - {"__init__"}
    assert listed == files


def test_nothing_is_pickled() -> None:
    for path in (*SOURCES, *(ROOT / script for script in SCRIPTS)):
        text = path.read_text()
        assert "pickle." not in text
        assert "allow_pickle=True" not in text
        assert not re.search(r"torch\.load\((?!.*weights_only=True)", text), path
