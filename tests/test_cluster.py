"""Work on a Dask cluster: the same bytes, whatever becomes of its workers."""

import gc
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from subprocess import DEVNULL, Popen
from typing import Any

import pytest
from cache_cohort import SERIES, build, contents, write_images

from src.cache.overview_cache import build_overviews
from src.errors import UserError
from src.workers import cluster_workers, run_all

dask = pytest.importorskip("dask")
distributed = pytest.importorskip("distributed")

from src import cluster  # noqa: E402 - it needs Dask

pytestmark = pytest.mark.filterwarnings("default")  # of Dask's own threads and sockets


def start_cluster(**changes: Any) -> Any:
    """Start processes of one thread on this machine, without a dashboard."""
    usual = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
    # A task that has killed two workers is not given to a third.
    with dask.config.set({"distributed.scheduler.allowed-failures": 1}):
        return distributed.LocalCluster(**{**usual, **changes})


@pytest.fixture(autouse=True)
def _collected() -> Iterator[None]:
    """Let what Dask leaves open be told of here, not in another file's test."""
    yield
    gc.collect()


@pytest.fixture(scope="module")
def two_workers() -> Iterator[Any]:
    """Two workers for all the tests that leave them alive."""
    with start_cluster() as started:
        yield started


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The images of two studies; not to be written to."""
    return write_images(tmp_path_factory.mktemp("images"))


def pids(started: Any) -> list[int]:
    """Return the process of each worker."""
    with distributed.Client(started, set_as_default=False) as client:
        return list(client.run(os.getpid).values())


def touch(path: Path) -> None:
    """Do a task that shows that it has been done."""
    path.touch()


def touch_slowly(path: Path) -> None:
    """Do a task that takes a while."""
    time.sleep(0.2)
    path.touch()


def kill_worker(task: object) -> None:
    """End the worker, as a host out of memory does."""
    os.kill(os.getpid(), signal.SIGKILL)


def test_caches_are_the_same_bytes_as_without_a_cluster(
    two_workers: Any, images: Path, tmp_path: Path
) -> None:
    build(images, tmp_path / "here")
    build_overviews(SERIES, images, tmp_path / "here")
    there, counts = tmp_path / "there", []
    address = two_workers.scheduler_address
    with cluster_workers(address, [images], [there]) as executor:
        build(images, there, executor=executor, progress=lambda *n: counts.append(n))
        build_overviews(SERIES, images, there, executor)
    assert counts == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert {"crops.npy", "crops.csv", "overviews.npy"} <= {*contents(there)}
    assert contents(there) == contents(tmp_path / "here")


def test_a_worker_killed_half_way_loses_nothing(images: Path, tmp_path: Path) -> None:
    build(images, tmp_path / "here")
    with start_cluster() as started:
        first, _ = pids(started)

        def kill_first(done: int, total: int) -> None:
            if done == 1:
                os.kill(first, signal.SIGKILL)

        workers = cluster_workers(started.scheduler_address, [], [tmp_path / "there"])
        with workers as executor:
            build(images, tmp_path / "there", executor=executor, progress=kill_first)
        assert first not in pids(started)
    assert contents(tmp_path / "there") == contents(tmp_path / "here")


def test_a_task_that_kills_every_worker_is_told() -> None:
    with (
        start_cluster() as started,
        pytest.raises(UserError, match=r"died of the same task.*fewer workers a host"),
        cluster_workers(started.scheduler_address, [], []) as executor,
    ):
        run_all(kill_worker, ["task"], executor)


@contextmanager
def started_by_hand(folder: Path) -> Iterator[tuple[str, list[Popen]]]:
    """Start a scheduler and a worker as the README does; yield address, processes."""
    file = folder / "scheduler.json"
    dask_command = (sys.executable, "-m", "dask")
    where = {
        "cwd": Path(cluster.__file__).parents[1],
        "env": {**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
        "stderr": DEVNULL,
    }
    shared = ("--scheduler-file", file, "--no-dashboard")
    with (
        Popen([*dask_command, "scheduler", *shared, "--port", "0"], **where) as first,
        Popen([*dask_command, "worker", *shared, "--nthreads", "1"], **where) as second,
    ):
        try:
            with distributed.Client(
                scheduler_file=file, set_as_default=False
            ) as client:
                client.wait_for_workers(1, 30)
                address = client.scheduler.address
            yield address, [first, second]
        finally:
            first.kill()
            second.terminate()  # its nanny ends the worker


def test_a_lost_scheduler_is_told_and_a_rerun_resumes(
    images: Path, tmp_path: Path
) -> None:
    build(images, tmp_path / "here")
    there = tmp_path / "there"
    paths = [tmp_path / str(number) for number in range(50)]
    with started_by_hand(tmp_path) as (address, processes):

        def lose(done: int, total: int) -> None:
            processes[0].kill()

        with (
            pytest.raises(UserError, match=r"is lost; start it .*: it resumes"),
            cluster_workers(address, [images], [there]) as executor,
        ):
            run_all(touch_slowly, paths, executor, lose)
    assert not paths[-1].exists()
    build(images, there)
    assert contents(there) == contents(tmp_path / "here")


def test_a_cluster_that_has_lost_its_workers_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "NO_WORKER_S", 1.0)
    monkeypatch.setattr(cluster, "POLL_S", 0.1)
    paths = [tmp_path / str(number) for number in range(50)]
    with start_cluster(n_workers=1) as started:

        def lose(done: int, total: int) -> None:
            started.scale(0)

        with (
            pytest.raises(UserError, match=r"no worker for a minute; .*: it resumes"),
            cluster_workers(started.scheduler_address, [], []) as executor,
        ):
            run_all(touch_slowly, paths, executor, lose)
    assert not paths[-1].exists()


def test_an_interruption_cancels_what_is_not_yet_done(
    two_workers: Any, tmp_path: Path
) -> None:
    paths = [tmp_path / str(number) for number in range(40)]

    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    address = two_workers.scheduler_address
    with (
        pytest.raises(KeyboardInterrupt),
        cluster_workers(address, [], []) as executor,
    ):
        run_all(touch_slowly, paths, executor, interrupt)
    time.sleep(1)  # as long as ten tasks of two workers
    assert len([path for path in paths if path.exists()]) < 20


def test_a_tasks_own_error_is_raised_as_it_is(two_workers: Any) -> None:
    workers = cluster_workers(two_workers.scheduler_address, [], [])
    with workers as executor, pytest.raises(ValueError, match="'x'"):
        run_all(int, ["1", "x"], executor)


def require(started: Any, reads: list[Path], writes: list[Path]) -> None:
    """Connect, and hand out nothing."""
    with cluster_workers(started.scheduler_address, reads, writes):
        pass


def test_a_worker_of_another_kit_is_refused(
    two_workers: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "KIT", "9.9")
    told = r"worker at tcp://\S+ has version \S+ .* of the kit where 9.9 is expected"
    with pytest.raises(UserError, match=told):
        require(two_workers, [], [])


@pytest.mark.parametrize("way", ["read", "written"])
def test_a_worker_that_does_not_share_a_folder_is_refused(
    way: str, two_workers: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Another working folder stands for another host's disk.
    monkeypatch.chdir(tmp_path)
    data = Path("data")
    data.mkdir()
    (data / "train.csv").touch()
    told = {"read": "does not see the same files in data", "written": "not share data"}
    with pytest.raises(UserError, match=rf"worker at tcp://\S+ .*{told[way]} \(it is"):
        require(two_workers, *(([data], []) if way == "read" else ([], [data])))


def test_the_markers_of_shared_folders_are_taken_away(
    two_workers: Any, tmp_path: Path
) -> None:
    workers = cluster_workers(two_workers.scheduler_address, [], [tmp_path / "new"])
    with workers:
        assert len(list((tmp_path / "new").iterdir())) == 1
    assert list((tmp_path / "new").iterdir()) == []


def test_workers_of_several_threads_are_refused() -> None:
    threads = {
        "n_workers": 1,
        "threads_per_worker": 3,
        "processes": False,
        "protocol": "tcp",
    }
    with (
        start_cluster(**threads) as started,
        pytest.raises(UserError, match=r"3 threads where 1 .*--nworkers 3"),
    ):
        require(started, [], [])


def test_a_cluster_without_workers_is_refused() -> None:
    with (
        start_cluster(n_workers=0) as started,
        pytest.raises(UserError, match=r"has no worker; start some.*dask worker tcp:"),
    ):
        require(started, [], [])


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:9", "here", "tcp://[", ":8786"])
def test_an_address_without_a_scheduler_is_told_at_once(address: str) -> None:
    start = time.perf_counter()
    with pytest.raises(UserError, match=r"No Dask scheduler answers at .*expected"):
        cluster_workers(address, [], []).__enter__()
    assert time.perf_counter() - start < 5


def test_a_worker_that_joins_later_is_checked_before_its_first_task(
    tmp_path: Path,
) -> None:
    with cluster._required([], [tmp_path]) as required:
        assert cluster.run_checked(required, int, "7") == 7
    files = frozenset({("train.csv", 3)})
    other = replace(required, marked=(), listed=((tmp_path, files),))
    with pytest.raises(UserError, match="does not see the same files"):
        cluster.run_checked(other, touch, tmp_path / "done")
    assert not (tmp_path / "done").exists()


def test_without_dask_it_is_said_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(sys.modules, "src.cluster")
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(UserError, match=r"pip install -r requirements-cluster\.txt"):
        cluster_workers("tcp://127.0.0.1:8786", [], [])


def test_the_kits_digest_is_that_of_its_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = Path(cluster.__file__).parent
    shutil.copytree(source, tmp_path / "src", ignore=shutil.ignore_patterns("*.pyc"))
    monkeypatch.setattr(cluster, "__file__", str(tmp_path / "src" / "cluster.py"))
    assert f"({cluster._source_digest()})" in cluster.KIT
    with (tmp_path / "src" / "imaging" / "crops.py").open("a") as file:
        file.write("# changed\n")
    assert f"({cluster._source_digest()})" not in cluster.KIT
