"""The report's section on the commands that made it."""

from collections.abc import Sequence

from src.cache.crop_cache import CropCache
from src.cache.data_origin import DataOrigin
from src.reporting.html_report import HtmlReport


def add_commands(
    page: HtmlReport,
    cache: CropCache,
    origin: DataOrigin | None,
    trainings: Sequence[str],
    evaluation: str,
) -> None:
    """Add the section to the page; origin: None if the cache does not record it."""
    page.heading("How this page was made: commands")
    prepared = origin.command if origin else prep_command(cache)
    page.fragment(
        "commands.html.jinja",
        recorded=origin is not None,
        jitter=any("--jitter RUN" in line for line in trainings),
        steps=[
            ("From DICOM files to crops:", [prepared]),
            ("From crops to runs:", list(trainings)),
            ("From runs to this page:", [evaluation]),
        ],
    )


def prep_command(cache: CropCache) -> str:
    """Put input_prep.py's command together from what its cache says of itself."""
    spec = cache.spec
    field = "--native-px" if spec.field_mm is None else f"--field-mm {spec.field_mm:g}"
    flags = [
        f"--data DATA --cache {cache.path.name}",
        f"--crop-px {spec.crop_px} {field} --crop-slices {spec.slices}",
    ]
    if cache.fingerprint.get("views") == "all":
        flags.append("--views all")
    if cache.has_found_sites:
        flags.append("--sites FILE")
    return f"python input_prep.py {' '.join(flags)}"
