"""What Python tells of a child: files opened, pickles' classes, connections."""

import sys
from pathlib import Path

from src import workers

WATCHED = {
    "open": 0,
    "os.mkdir": 0,
    "os.remove": 0,
    "os.rename": 1,
    "os.listdir": 0,
    "os.scandir": 0,
    "shutil.rmtree": 0,
}


def note_paths(log: Path) -> None:
    """Note each path that the process opens, lists, makes or removes."""
    lines = log.open("a", buffering=1)

    def hook(event: str, arguments: tuple) -> None:
        if event in WATCHED and isinstance(arguments[WATCHED[event]], str | bytes):
            path = arguments[WATCHED[event]]
            lines.write(f"{event}\t{path!r}\n")

    sys.addaudithook(hook)


def forbid_pickles(log: Path) -> None:
    """Raise where a pickle names a class, and note it."""

    def hook(event: str, arguments: tuple) -> None:
        if event == "pickle.find_class":
            with log.open("a") as file:
                file.write(f"{arguments}\n")
            raise RuntimeError("a pickle is loaded")

    sys.addaudithook(hook)


def forbid_network(log: Path) -> None:
    """Raise where a connection is made or a name is looked up, and note it."""

    def hook(event: str, arguments: tuple) -> None:
        if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname"):
            with log.open("a") as file:
                file.write(f"{event} {arguments[-1]}\n")
            raise RuntimeError("the network is asked")

    sys.addaudithook(hook)


def work_here() -> None:
    """Do the pool's work in the script's own process: a pool pickles its tasks."""
    from in_process import _Here

    vars(workers)["worker_pool"] = _Here
