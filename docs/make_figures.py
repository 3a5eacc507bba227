"""Make the pictures of README and docs from what both demos wrote.

    python -m docs.make_figures --demo demo --demo-real demo-real

copies the demo's preview, draws one of its test studies as the Kaggle notebook shows
it, and photographs pages in an installed Chromium (or the one that CHROMIUM names).
"""

import shutil
from pathlib import Path

import pandas as pd
from playwright.sync_api import sync_playwright

from docs.chromium import FLAGS, find_browser
from src.command_line import make_parser, run_script
from src.console import say
from src.errors import UserError
from src.files import replacing
from src.kaggle.notebook_display import draw_study

HERE = Path(__file__).parent
WIDTH, HEIGHT = 1280, 860


def main() -> None:
    """Write docs/*.png."""
    parser = make_parser(__doc__)
    parser.add_argument("--demo", type=Path, default=Path("demo"))
    parser.add_argument("--demo-real", type=Path, default=Path("demo-real"))
    args = parser.parse_args()
    with replacing(HERE / "preview.png") as temporary:
        shutil.copyfile(args.demo / "cache" / "preview.png", temporary)
    findings = pd.read_csv(args.demo / "findings.csv")
    study = int(findings["study_id"].min())
    with replacing(HERE / "findings.png") as temporary:
        draw_study(args.demo / "data", study, findings).savefig(temporary, dpi=80)
    pages = {
        "real-study.png": study_page(args.demo_real / "pages"),
        "phantom-study.png": study_page(args.demo / "pages"),
        "report.png": args.demo / "report" / "report.html",
    }
    photograph({HERE / name: page for name, page in pages.items()})
    say(f"Wrote preview.png, findings.png, {', '.join(pages)} to {HERE.name}/")


def study_page(folder: Path) -> Path:
    """Return the first study's page in a folder of them."""
    found = sorted(path for path in folder.glob("*.html") if path.stem.isdecimal())
    if not found:
        raise UserError(f"{folder} holds no study's page: run make demo demo-real")
    return found[0]


def photograph(pages: dict[Path, Path]) -> None:
    """Write the top of each page as a reader with a wide screen sees it."""
    browser_path = find_browser()
    if browser_path is None:
        raise UserError("no Chromium is installed: install it, or name it by CHROMIUM")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=browser_path, args=[*FLAGS]
        )
        tab = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        for picture, page in pages.items():
            tab.goto(page.resolve().as_uri())
            with replacing(picture) as temporary:
                temporary.write_bytes(tab.screenshot())
        browser.close()


if __name__ == "__main__":
    run_script(main)
