"""The command lines that trained runs, put together from their configurations."""

import json
from collections import defaultdict
from collections.abc import Iterable

from src.training.config import Hyperparameters, RunConfig

# Of a run's configuration, what follows from its data, or is joined in one command.
PER_RUN = (
    *("backbone", "fold", "labels", "prior", "canal_offsets", "level_spacing"),
    *("site_errors", "cache_fingerprint", "crop"),
)
ALL_FOLDS = ("0", "1", "2", "3", "4")
INPUT_PX = {"location": 160}  # train.py's, where --input-px is not given
RUN = "RUN"  # stands for the location run of --jitter, whose name is not recorded


def train_commands(configs: Iterable[RunConfig], cache: str, runs: str) -> list[str]:
    """Return the fewest train.py commands that train these runs.

    cache, runs: the folders, as to be shown. A flag at its default is left out.
    """
    folds: dict[tuple[str, str], list[str]] = defaultdict(list)
    of_key: dict[str, RunConfig] = {}
    for config in configs:
        key = _key(config)
        folds[key, config.backbone].append(config.fold)
        of_key[key] = config
    joined: dict[tuple[str, tuple[str, ...]], list[str]] = defaultdict(list)
    for (key, backbone), own in folds.items():
        joined[key, tuple(sorted(set(own)))].append(backbone)
    start = ["python train.py", f"--cache {cache}", f"--runs {runs}"]
    return [
        " ".join([*start, *_flags(of_key[key], backbones, own)])
        for (key, own), backbones in joined.items()
    ]


def _key(config: RunConfig) -> str:
    shared = {k: v for k, v in config.to_dict().items() if k not in PER_RUN}
    return json.dumps([shared, _jitter(config)], sort_keys=True)


def _flags(
    config: RunConfig, backbones: list[str], folds: tuple[str, ...]
) -> list[str]:
    plain = {
        "split": (config.split, "study"),
        "slices": (config.slices, "neighbours"),
        "views": (config.views, "own"),
        "weights": (config.to_dict()["weights"], "none"),
        "limit": (config.limit, None),
        "jitter": (_jitter(config), None),
    }
    defaults = Hyperparameters().to_dict()
    if config.weights != "none":  # train.py has another default for these
        defaults["lr"] = None
    defaults["input_px"] = INPUT_PX.get(config.task, defaults["input_px"])
    held = config.hyperparameters.to_dict()
    plain |= {name: (held[name], defaults[name]) for name in held}
    named = "all" if folds == ALL_FOLDS else " ".join(folds)
    return [
        f"--task {config.task}",
        f"--backbone {' '.join(backbones)}",
        *([] if named == "holdout" else [f"--folds {named}"]),
        *(_flag(n, value) for n, (value, usual) in plain.items() if value != usual),
    ]


def _flag(name: str, value: object) -> str:
    flag = f"--{name.replace('_', '-')}"
    if isinstance(value, bool):
        return flag if value else flag.replace("--", "--no-", 1)
    return f"{flag} {value:g}" if isinstance(value, float) else f"{flag} {value}"


def _jitter(config: RunConfig) -> str | None:
    if config.site_errors is None:
        return None
    return RUN if config.site_errors else "none"
