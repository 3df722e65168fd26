"""What other processes make is what this one would make; which would not, is refused; and none goes on working."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from distributed import Client
from threadpoolctl import threadpool_limits

from lib.attacks.penalized import AttackConfig
from lib.experiments import cluster, plan
from lib.experiments.cluster import ClusterError
from lib.experiments.plan import Step
from lib.experiments.settings import Settings
from lib.networks.training import TrainingConfig
from lib.store.calls import Store
from tests.conftest import REPOSITORY
from tests.faults import is_running, wait_until

torch.set_num_threads(1)
QUICK = Settings("quick", "digits", "cpu", 0)
DASK = Path(sys.executable).with_name("dask")
PATIENCE = 60.0  # seconds that a machine with other things to do may take


# --- Steps: workers import this module ------------------------------------------------------------


def attack(run, name: str) -> None:
    """Hardly trained, on few images, and a real network and a real attack all the same."""
    brief = {"training": TrainingConfig(max_iterations=5), "attack": AttackConfig(max_searches=4)}
    profile = replace(run.profile, num_attacked=20, **brief)
    small = replace(run, profile=profile, train=run.train.take(200))
    small.adversarial_piece(small.trained(name), small.attacked, 0)


def tell_surroundings(run, name: str) -> None:
    run.store.call(surroundings, name)


def surroundings(name: str) -> dict:
    time.sleep(1)
    return {"process": os.getpid(), "threads": torch.get_num_threads(), "gpu": os.environ.get("CUDA_VISIBLE_DEVICES")}


def die_once(run, flag: Path) -> None:
    if not flag.exists():
        flag.touch()
        os.kill(os.getpid(), signal.SIGKILL)


def sleep(run, flag: Path) -> None:
    flag.write_text(str(os.getpid()))
    time.sleep(600)


def die(run) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def nothing(run) -> None:
    pass


def fail(run) -> None:
    raise ValueError("this one cannot be made")


def step(name: str, make, /, **arguments) -> Step:
    return Step(name, QUICK, 60, partial(make, **arguments))


ATTACKS = [step(f"attack on {name}", attack, name=name) for name in ("softmax 1", "100-100-10")]


def made(store: Path) -> dict[str, str]:
    """The checksums of what lies in a store, but for what this file's own functions keep there."""
    seals = (path for path in store.glob("*.json") if not path.name.startswith("surroundings"))
    return {path.name: json.loads(path.read_text())["record"]["tensors"] for path in seals}


@pytest.fixture(scope="module")
def expected(tmp_path_factory) -> dict[str, str]:
    """What this process makes of the attacks."""
    store = tmp_path_factory.mktemp("here")
    run = replace(plan.begin(QUICK), store=Store(store))
    with threadpool_limits(1):  # NumPy's threads, too
        for one in ATTACKS:
            one.make(run)
    assert len(made(store)) == 4
    return made(store)


def no_news(ended, num_workers: int) -> None:
    pass


# --- This machine's workers -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """What two workers told and left in their store; one of them is killed."""
    store = tmp_path_factory.mktemp("two")
    asked = [step(name, tell_surroundings, name=name) for name in "abab"]
    told = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STORE_DIR", str(store))
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setattr(cluster, "_gpus", lambda device: ["3", "5"])
        steps = [step("dies", die_once, flag=store / "flag"), *ATTACKS, *asked]
        cluster.carry_out(steps, "local:2", lambda ended, num_workers: told.extend(ended))
    return told, store


@pytest.mark.faults
def test_two_workers_make_what_this_process_would_make_though_one_is_killed(two, expected):
    told, store = two
    assert (store / "flag").exists()
    assert len(told) == 7
    assert made(store) == expected


def test_what_is_there_already_is_not_made_again(two):
    told, _ = two
    assert sorted((one.step.name, one.new) for one in told if one.step.name in "ab") == [
        ("a", False),
        ("a", True),
        ("b", False),
        ("b", True),
    ]


def test_each_worker_is_a_process_with_one_thread_and_a_gpu_of_its_own(two):
    _, store = two
    found = [Store(store).call(surroundings, name) for name in "ab"]
    assert {one["threads"] for one in found} == {1}
    assert len({(one["process"], one["gpu"]) for one in found}) == len({one["process"] for one in found})
    assert {one["gpu"] for one in found} <= {"3", "5"}
    assert os.getpid() not in {one["process"] for one in found}


def test_where_there_is_nothing_to_make_no_worker_is_started(monkeypatch):
    monkeypatch.setattr(cluster, "_connected", None)
    cluster.carry_out([], "", no_news)


def test_gpus_are_those_that_this_process_may_see(monkeypatch):
    assert cluster._gpus("cpu") == []
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert cluster._gpus("cuda") == ["0", "1"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    assert cluster._gpus("cuda") == ["4", "7"]
    monkeypatch.setattr(cluster, "_gpus", lambda device: ["4", "7"])
    with pytest.raises(ClusterError, match="local:3: there are 2 GPUs"):
        cluster.carry_out(ATTACKS, "local:3", no_news)


# --- A cluster that is there already --------------------------------------------------------------


@contextmanager
def started(*command: object, **environment: object) -> Iterator[subprocess.Popen]:
    """dask's own command line, ended at the end."""
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"} | environment
    with subprocess.Popen([str(DASK), *map(str, command)], env=environment, stderr=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.kill()  # whose own processes end with it


def started_worker(address: str, store: Path, *options: str, **environment: object):
    options = ("--nthreads", "1", "--no-dashboard", "--local-directory", store, *options)
    return started("worker", address, *options, STORE_DIR=str(store), **environment)


@pytest.fixture(scope="module")
def scheduler(tmp_path_factory):
    """A scheduler without workers: its process and its address."""
    file = tmp_path_factory.mktemp("scheduler") / "address.json"
    options = ("--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", file)
    impatient = {"DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "0"}  # else a step may kill three workers
    with started("scheduler", *options, **impatient) as process:
        wait_until(lambda: file.exists() and file.read_text().endswith("}"), PATIENCE)
        yield process, json.loads(file.read_text())["address"]


@pytest.fixture
def address(scheduler) -> str:
    return scheduler[1]


@pytest.fixture(scope="module")
def worker(scheduler, tmp_path_factory):
    """The store of a worker of that scheduler."""
    store = tmp_path_factory.mktemp("elsewhere")
    with started_worker(scheduler[1], store):
        wait_for_workers(1, scheduler[1])
        yield store


@pytest.fixture
def shared(worker, monkeypatch) -> Path:
    """That store, which is this process's, too."""
    monkeypatch.setenv("STORE_DIR", str(worker))
    return worker


def wait_for_workers(num: int, address: str) -> None:
    with Client(address, timeout=PATIENCE) as client:
        client.wait_for_workers(num, timeout=PATIENCE)


def test_a_scheduler_that_is_not_there_is_said_to_be_missing(monkeypatch):
    monkeypatch.setattr(cluster, "ANSWER", 0.5)
    with pytest.raises(ClusterError, match=r"^no scheduler answers at tcp://127\.0\.0\.1:9: start one"):
        cluster.carry_out(ATTACKS, "tcp://127.0.0.1:9", no_news)


def test_a_scheduler_without_workers_is_not_waited_for_forever(address, monkeypatch):
    monkeypatch.setattr(cluster, "ANSWER", 3.0)
    with pytest.raises(ClusterError, match="has no workers: start some"):
        cluster.carry_out(ATTACKS, address, no_news)


def test_a_worker_elsewhere_makes_what_this_process_would_make(address, shared, expected):
    told = []
    cluster.carry_out(ATTACKS, address, lambda ended, num_workers: told.append((len(ended), num_workers)))
    assert made(shared) == expected
    assert {num_workers for _, num_workers in told} == {1}
    assert list(shared.glob(".token*")) == []


def test_what_a_step_raises_is_raised_here(address, shared):
    with pytest.raises(ValueError, match="this one cannot be made"):
        cluster.carry_out([step("bad", fail)], address, no_news)


@pytest.mark.faults
def test_a_step_that_kills_its_workers_is_named(address, shared):
    with pytest.raises(ClusterError, match=r"^bad: every worker that began it was killed, perhaps for want of memory"):
        cluster.carry_out([step("bad", die)], address, no_news)
    wait_for_workers(1, address)  # it was started again


def test_a_cluster_that_all_workers_have_left_is_not_waited_for_forever(monkeypatch):
    def nothing_ends(*_, **__):
        raise TimeoutError

    monkeypatch.setattr(cluster, "wait", nothing_ends)
    monkeypatch.setattr(cluster, "_num_workers", lambda client: 0)
    with pytest.raises(ClusterError, match="all workers have left"):
        cluster._ended(None, {})
    monkeypatch.setattr(cluster, "_num_workers", lambda client: 1)
    assert cluster._ended(None, {}) == set()


@pytest.mark.faults
def test_a_run_that_is_interrupted_leaves_nobody_at_work(address, shared, tmp_path, monkeypatch):
    monkeypatch.setattr(cluster, "QUIET", 0.1)
    flag = tmp_path / "flag"

    def interrupt(ended, num_workers: int) -> None:
        if flag.exists() and flag.read_text():
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cluster.carry_out([step("sleeps", sleep, flag=flag)], address, interrupt)
    wait_until(lambda: not is_running(int(flag.read_text())), PATIENCE)
    wait_for_workers(1, address)  # it was started again


@pytest.mark.faults
def test_a_worker_that_does_not_see_this_store_is_refused(address, shared, tmp_path, monkeypatch):
    with started_worker(address, tmp_path, "--no-nanny"):
        refused = rf"^worker tcp://\S+ differs in its store: {tmp_path} there, {shared} \(\w+\) here; set STORE_DIR"
        wait_for_workers(2, address)
        with pytest.raises(ClusterError, match=refused):
            cluster.carry_out(ATTACKS, address, no_news)
        monkeypatch.setattr(cluster, "_check", no_news)  # as if it had joined later
        with pytest.raises(ClusterError, match=refused):
            cluster.carry_out([step(str(i), nothing) for i in range(8)], address, no_news)
    assert made(tmp_path) == {}


@pytest.mark.faults
def test_a_worker_with_other_code_is_refused(address, shared, tmp_path):
    other = tmp_path / "checkout"
    for folder in ("lib", "tests", "tools"):
        shutil.copytree(REPOSITORY / folder, other / folder, ignore=shutil.ignore_patterns("__pycache__"))
    with open(other / "lib/attacks/penalized.py", "a") as module:
        module.write("\nEDITED = True\n")
    with started_worker(address, shared, "--no-nanny", PYTHONPATH=str(other)):
        wait_for_workers(2, address)
        with pytest.raises(ClusterError, match=r"differs in its code: \w+ there, \w+ here; start the workers"):
            cluster.carry_out(ATTACKS, address, no_news)


@pytest.mark.faults
def test_a_scheduler_that_dies_ends_the_run(scheduler, shared, tmp_path, monkeypatch):
    """The last test that needs it."""
    monkeypatch.setattr(cluster, "QUIET", 0.1)
    process, address = scheduler
    flag = tmp_path / "flag"

    def kill(ended, num_workers: int) -> None:
        if flag.exists() and flag.read_text():
            process.kill()

    with pytest.raises(ClusterError, match=rf"^the scheduler {address} was lost; what is done is kept$"):
        cluster.carry_out([step("sleeps", sleep, flag=flag)], address, kill)


# --- What has to be the same ----------------------------------------------------------------------


def test_there_is_a_remedy_for_everything_that_may_differ():
    assert ATTACKS[0].facts().keys() | {"threads", "store"} == cluster.REMEDIES.keys()


@pytest.mark.parametrize("name", cluster.REMEDIES)
def test_the_first_difference_is_told_with_its_remedy(name):
    facts = dict.fromkeys(cluster.REMEDIES, "one")
    assert cluster._difference(facts, facts) == ""
    told = cluster._difference(facts, facts | {name: "other"})
    assert told == f"differs in its {name}: other there, one here; {cluster.REMEDIES[name]}"


def test_workers_that_compute_on_one_gpu_are_refused():
    cluster._check_gpus({"tcp://a:1": "GPU-1", "tcp://a:2": "GPU-2"})
    with pytest.raises(ClusterError, match="2 workers share 1 GPUs"):
        cluster._check_gpus({"tcp://a:1": "GPU-1", "tcp://a:2": "GPU-1"})
