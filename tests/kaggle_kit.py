"""A staged kit whose predict_submission.py does what a test wants it to do.

The real script's answers are another test's matter; what is held here is what the
notebook makes of a script that answers, fails, hangs or writes nonsense.
"""

from pathlib import Path

from src.competition.constants import CONDITIONS, LEVELS
from src.files import write_json
from src.kaggle.kit import stage_kit
from src.kaggle.manifest import write_manifest

# Answers every study, and says that it located each site of a study with images in the
# middle of its first series; a study without any keeps the prior.
LOCATES = """
import argparse
from pathlib import Path
from src.competition import submission
from src.competition.prior import uniform
from src.competition.tables import image_folder, read_test_series, list_test_studies
from src.files import write_csv
from src.inference.findings import prior_findings, to_submission
from src.imaging.series import read_series
from src.errors import UserError

parser = argparse.ArgumentParser()
for name in ("data", "runs", "out", "findings"):
    parser.add_argument(f"--{name}", type=Path)
parser.add_argument("--limit-minutes", type=float)
args = parser.parse_args()
studies, series = list_test_studies(args.data), read_test_series(args.data)
findings = prior_findings(studies, uniform(), "no series of it can be read")
for study in studies:
    mine = series[series["study_id"] == study]
    for number in mine["series_id"]:
        try:
            folder = image_folder(args.data, "test") / str(study)
            found = read_series(folder / str(number))
            found.pixels(len(found.headers) // 2)
        except UserError:
            continue
        header = found.headers[len(found.headers) // 2]
        place = (number, header.instance_number, header.columns / 2, header.rows / 2)
        rows = findings["study_id"] == study
        columns = ["series_id", "instance_number", "x", "y"]
        findings.loc[rows, columns] = place
        findings.loc[rows, ["source", "reason"]] = ("located", None)
        break
submission.write_submission(to_submission(findings), args.out)
write_csv(findings, args.findings)
"""
FAILS = "raise SystemExit('the model is broken')"
HANGS = "import time; time.sleep(60)"
DIES = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
DIES_HALFWAY = """
import os, sys
with open(sys.argv[sys.argv.index('--out') + 1], 'w') as stream:
    stream.write('row_id,normal_mild')
os._exit(3)
"""
WRITES_NONSENSE = """
import sys
with open(sys.argv[sys.argv.index('--out') + 1], 'w') as stream:
    stream.write('row_id,normal_mild,moderate,severe\\n1_x,0,0,nan\\n')
"""


def write_run(runs: Path, name: str = "condition-tiny") -> Path:
    """A run folder as train.py leaves it, of files that no model can be made from."""
    folder = runs / name
    prior = [
        {"condition": c, "level": v, "normal_mild": 0.5, "moderate": 0.3, "severe": 0.2}
        for c in CONDITIONS
        for v in LEVELS
    ]
    told = {"task": "condition", "backbone": "tiny", "split": "study", "fold": "0"}
    write_json({**told, "prior": prior}, folder / "config.json")
    (folder / "weights.safetensors").write_bytes(b"weights of " + name.encode())
    (folder / "predictions.csv").write_text("study_id\n1\n")
    (folder / "history.jsonl").write_text(
        '{"epoch": 1, "validation_loss": 0.9, "validation_top1": 0.5, "best": true}\n'
        '{"epoch": 2, "validation_loss": 0.7, "validation_top1": 0.6, "best": true}\n'
        '{"epoch": 3, "validation_loss": 0.8, "validation_top1": 0.7, "best": false}\n'
    )
    return folder


def make_kit(folder: Path, script: str = LOCATES) -> Path:
    """Stage a kit with one run in folder/dataset/kit and give it another script."""
    kit = folder / "dataset" / "kit"
    write_run(folder / "runs")
    stage_kit(folder / "runs", kit)
    (kit / "predict_submission.py").write_text(script)
    write_manifest(kit, "test", [])
    return kit
