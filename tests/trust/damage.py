"""What a damage is, and what a script may make of it."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Flag, auto
from pathlib import Path


class Outcome(Flag):
    """What a script may do about a damage; several may be allowed.

    REFUSED: exit 1 and one sentence; UNCHANGED: all as without the damage; REJECTED:
    nothing of the damaged part is used, and it is listed with the reason; PARTLY: some
    of it is listed with the reason, the rest used; COPED: read or listed, whichever.
    After the latter four, what is not damaged has the answers it has without it.
    """

    REFUSED = auto()
    UNCHANGED = auto()
    REJECTED = auto()
    PARTLY = auto()
    COPED = auto()


REFUSED, UNCHANGED = Outcome.REFUSED, Outcome.UNCHANGED
REJECTED, PARTLY, COPED = Outcome.REJECTED, Outcome.PARTLY, Outcome.COPED


@dataclass(frozen=True)
class Damage:
    """A damage to a file or folder.

    apply: does it, given the path; prep, train, predict: what each script may make of
    it, None where it does not concern the script; ordinary: the script is run without
    root's rights.
    """

    name: str
    apply: Callable[[Path], None]
    prep: Outcome | None = None
    train: Outcome | None = None
    predict: Outcome | None = None
    ordinary: bool = False
