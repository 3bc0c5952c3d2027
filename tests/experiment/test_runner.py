"""Cells get run: in parallel, once, on through a kill, here or on a cluster, always with the same results."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import Executor, Future
from pathlib import Path
from random import Random

import msgspec
import pytest

from memviz.experiment.runner import Progress, executor, jobs, run
from memviz.experiment.spec import Cell, Spec
from memviz.experiment.store import Kept, Store
from memviz.experiment.table import Study, collect
from memviz.experiment.worker import CellFailed, run_cells


class Nobody(Executor):
    """Computes nothing: whoever asks has not found what is there."""

    def submit(self, *args: object, **kwargs: object) -> Future[bytes]:  # type: ignore[override]
        raise AssertionError("it was to be computed again")


@pytest.fixture(scope="module")
def shared_store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Results that the tests of this module share; the first that needs them computes them."""
    return Store(tmp_path_factory.mktemp("store"))


def computed(cells: list[Cell], store: Store) -> list[Kept]:
    with executor(2) as workers:
        return run(cells, store, workers)


def outcomes(kept: list[Kept]) -> list[bytes]:
    return [msgspec.json.encode((one.cell, one.outcome)) for one in kept]


def test_cells_that_age_alike_share_a_process(small_cells: list[Cell]) -> None:
    names = [
        [(cell.seed, cell.begin, cell.policy.name) for cell in map(small_cells.__getitem__, job)]
        for job in jobs(small_cells, {0})
    ]
    assert names == [
        [(1, "aged", "moves"), (1, "start", "plain")],
        [(1, "start", "moves")],
        [(2, "aged", "plain"), (2, "aged", "moves"), (2, "start", "plain")],
        [(2, "start", "moves")],
    ]


def test_nothing_is_computed_twice(small_cells: list[Cell], shared_store: Store) -> None:
    told: list[Progress] = []
    with executor(2) as workers:
        first = run(small_cells, shared_store, workers, told.append)
    assert [one.cell for one in first] == small_cells
    assert (told[0].done, told[-1].done, told[-1].all) == (told[0].found, 8, 8)
    assert told[-1].left_s() in (0.0, None)
    again: list[Progress] = []
    assert run(small_cells, shared_store, Nobody(), again.append) == first
    assert again == [Progress(8, 8, 8, 0.0)]


def test_one_process_or_two_compute_the_same(small_cells: list[Cell], shared_store: Store, tmp_path: Path) -> None:
    with executor(1) as workers:
        alone = run(small_cells[:3], Store(tmp_path), workers)
    assert outcomes(alone) == outcomes(computed(small_cells, shared_store)[:3])
    assert 0 < alone[0].cost.peak_mib < 300
    assert alone[0].cost.seconds > 0


def memviz(*arguments: object, hash_seed: int = 0, **environment: str) -> subprocess.Popen[str]:
    """``memviz experiment`` as a process with a group of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "memviz.cli.main", "experiment", *map(str, arguments), "--no-plots"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "PYTHONHASHSEED": str(hash_seed), **environment},
    )


def table(process: subprocess.Popen[str], folder: Path) -> bytes:
    """The table that an experiment left when it ended."""
    said = process.communicate()[1]
    assert process.returncode == 0, said
    return (folder / "small.csv").read_bytes()


def test_killed_at_any_moments_and_started_again_it_gives_the_same_table(spec_file: Path, tmp_path: Path) -> None:
    """The kills come at moments drawn at random over the time that the whole takes, so in any state: before the first
    cell, in the middle of one, between two, while something is written."""
    begin = time.monotonic()
    whole = table(memviz(spec_file, "--store", tmp_path / "one", "-o", tmp_path / "a", "--jobs", 2), tmp_path / "a")
    took = time.monotonic() - begin
    moments = Random(9)
    command = (spec_file, "--store", tmp_path / "two", "-o", tmp_path / "b", "--jobs", 2)
    kills = 0
    for _ in range(4):
        process = memviz(*command)
        try:
            process.wait(timeout=took * (0.2 + 0.4 * moments.random()))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            kills += 1
        assert process.stderr is not None
        process.stderr.close()
    assert kills > 0
    assert table(memviz(*command), tmp_path / "b") == whole
    ages = {path: path.stat().st_mtime_ns for path in (tmp_path / "two").rglob("*.json")}
    assert len(ages) == 8
    assert table(memviz(*command), tmp_path / "b") == whole
    assert {path: path.stat().st_mtime_ns for path in ages} == ages, "nothing is computed again"


@pytest.mark.digest
def test_hash_seed_workers_cpus_and_the_compiler_make_no_difference(
    spec_file: Path, tmp_path: Path, checkout: Path
) -> None:
    """Here as it was started (``make digest``: compiled), against two jobs on one CPU of the checkout, interpreted."""
    first = memviz(spec_file, "--store", tmp_path / "one", "-o", tmp_path / "a", hash_seed=1)
    here = table(first, tmp_path / "a")
    code = (
        "import os, sys; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))});"
        "from memviz.kernel import smp; assert str(smp.__file__).endswith('.py');"
        "from memviz.cli.main import main; main(sys.argv[1:])"
    )
    arguments = ["experiment", spec_file, "--store", tmp_path / "two", "-o", tmp_path / "b", "--jobs", 2, "--no-plots"]
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        env={**os.environ, "PYTHONHASHSEED": "2", "PYTHONPATH": str(checkout), "PYTHONSAFEPATH": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "b" / "small.csv").read_bytes() == here


def test_a_cell_that_fails_is_named_and_others_are_kept(small_cells: list[Cell], tmp_path: Path) -> None:
    bad = msgspec.structs.replace(small_cells[0], text="title = 3", seed=5)
    store = Store(tmp_path)
    with executor(1) as workers, pytest.raises(CellFailed) as error:
        run([small_cells[0], bad], store, workers)
    assert "32 MiB, seed 5, plain (aged): ScenarioError:" in str(error.value)
    assert store.get(small_cells[0]) is not None
    assert store.get(bad) is None


def test_a_worker_with_other_code_refuses(small_cells: list[Cell]) -> None:
    other = msgspec.structs.replace(small_cells[0], sources="0123456789")
    with pytest.raises(CellFailed, match=r"is not the one that asks \(01234567\): install the same"):
        run_cells(msgspec.json.encode([other]))


def test_a_cluster_computes_the_same(
    spec_file: Path, small_cells: list[Cell], shared_store: Store, tmp_path: Path
) -> None:
    distributed = pytest.importorskip("distributed", reason="no Dask here: pip install 'memviz[cluster]'")
    whole = computed(small_cells, shared_store)
    cluster = subprocess.Popen(
        [sys.executable, "-c", CLUSTER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=tmp_path
    )
    try:
        assert cluster.stdout is not None
        address = cluster.stdout.readline().strip()
        assert address.startswith("tcp://")
        out = tmp_path / "out"
        command = [sys.executable, "-m", "memviz.cli.main", "experiment", str(spec_file), "--scheduler", address]
        done = subprocess.run(
            [*command, "--store", str(tmp_path / "store"), "-o", str(out), "--no-plots"], capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
    finally:
        cluster.communicate("stop\n", timeout=60)
    assert distributed is not None
    kept = run(small_cells, Store(tmp_path / "store"), Nobody())
    assert outcomes(kept) == outcomes(whole)
    assert all(one.cost.seconds > 0 for one in kept)


CLUSTER = """
from distributed import LocalCluster
if __name__ == "__main__":
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        print(cluster.scheduler_address, flush=True)
        input()
"""


def test_nobody_at_the_address_is_a_sentence() -> None:
    """In a process of its own: Dask leaves a thread behind."""
    pytest.importorskip("distributed", reason="no Dask here: pip install 'memviz[cluster]'")
    code = "from memviz.experiment.runner import executor\nwith executor(1, 'tcp://127.0.0.1:9'): pass"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "ExperimentError: no Dask scheduler answers at tcp" in done.stderr


def test_the_digest_of_all_results_is_of_results_alone(
    small_cells: list[Cell], shared_store: Store, spec: Spec
) -> None:
    kept = computed(small_cells, shared_store)
    slower = [msgspec.structs.replace(one, cost=msgspec.structs.replace(one.cost, seconds=99.0)) for one in kept]
    asked = [Study("small", spec, small_cells)]
    first, second = (collect("command", asked, some) for some in (kept, slower))
    assert first.digest == second.digest
    assert (first.seconds, second.seconds) != (second.seconds, first.seconds)
