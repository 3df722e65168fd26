"""Where the steps of a plan are made: in worker processes of this machine, or on a Dask cluster that is there already.

A worker makes one step at a time, with one thread: how numbers are rounded depends on the number of threads, so that a
result is the same however many workers there are and whichever of them makes it. What is made does not travel: it goes
into the store, a folder that this process and all workers see, and each of them proves that it does.
"""

import logging
import os
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import NamedTuple, Protocol

import torch
from dask.system import CPU_COUNT
from distributed import (
    CancelledError,
    Client,
    Future,
    KilledWorker,
    Nanny,
    Scheduler,
    SpecCluster,
    Worker,
    get_worker,
    wait,
)
from distributed.core import CommClosedError
from distributed.security import Security
from distributed.utils import silence_logging_cmgr

from lib.store.calls import Store

ANSWER = 10.0  # seconds that a scheduler, and then its first worker, have to answer
QUIET = 60.0  # seconds without the end of a step after which it is told that there was none
HERE = "127.0.0.1"
# Ctrl-C in a terminal reaches this machine's workers too: they leave it to the process that started them to stop them.
IGNORE_CTRL_C = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)"

# What has to be the same on a worker as here, and what helps where it is not.
REMEDIES = {
    "versions": "install the pins of requirements.txt there",
    "code": "start the workers in a checkout of the same commit",
    "threads": "start the workers with OMP_NUM_THREADS=1 and --nthreads 1, as many as there are cores",
    "device": "run this on a machine like the workers', or with DEVICE=cpu",
    "data": "set DATA_DIR to the same files here and for the workers",
    "store": "set STORE_DIR, here and for the workers, to a folder of a file system that all of them share",
}


class ClusterError(Exception):
    """Why steps cannot be made there, and what to do about it, in one line."""


class _Step(Protocol):
    """What a worker can make: `lib.experiments.plan.Step`."""

    name: str
    pictures: bool

    def carry_out(self) -> tuple[float, bool]: ...

    def facts(self) -> dict[str, str]: ...


class Made(NamedTuple):
    """A step that has ended, how long it took, and whether there was anything to make."""

    step: _Step
    seconds: float
    new: bool


class _Required(NamedTuple):
    """What a worker has to find, by the names of REMEDIES."""

    step: _Step  # the one that depends on most
    token: str  # the name of a file that lies in the store
    facts: Mapping[str, str]


# --- The one function -----------------------------------------------------------------------------


def carry_out(steps: Sequence[_Step], scheduler: str, tell: Callable[[list[Made], int], None]) -> None:
    """Make every step, as many at once as there are workers, and begin them in about this order.

    A step whose worker dies is given to another one. However this function ends, no worker goes on with its steps then;
    what is finished lies in the store.

    Parameters
    ----------
    scheduler : "" for a worker process on every core of this machine (on every GPU, where that is the device),
        "local:N" for N of them, or the address of a Dask scheduler, "tcp://host:port".
    tell : called with the steps that have just ended, or with none if none has for QUIET seconds, and with the number
        of workers.

    Raises
    ------
    ClusterError
        If the scheduler does not answer, has no workers, or has one that would make something else than this process
        (see REMEDIES); if it dies, if all workers have left, or if a step kills one worker after the other.
    Exception
        Whatever a step raises.
    """
    if not steps:
        return
    demanding = max(steps, key=lambda step: step.pictures)
    with (
        silence_logging_cmgr(logging.CRITICAL),  # what goes wrong is told in a line
        _connected(scheduler, demanding.facts()["device"]) as client,
        _required(demanding, scheduler) as required,
    ):
        _check(client, required)
        print(f"workers: {_num_workers(client)}; what they do: {_dashboard(client)}", flush=True)
        run = secrets.token_hex(4)  # another one may make the same steps on the same cluster
        waiting = {client.submit(_make, step, required, key=f"step-{run}-{i}"): step for i, step in enumerate(steps)}
        try:
            while waiting:
                made = [Made(waiting.pop(future), *future.result()) for future in _ended(client, waiting)]
                tell(made, _num_workers(client))
        except (CancelledError, CommClosedError):
            raise ClusterError(f"the scheduler {scheduler} was lost; what is done is kept") from None
        finally:
            if _is_elsewhere(scheduler):
                _stop(client, waiting)


def _make(step: _Step, required: _Required) -> tuple[float, bool]:
    """On a worker, which may have joined later than those that were asked."""
    if problem := _difference(required.facts, _facts(required, get_worker())):
        raise ClusterError(f"worker {get_worker().address} {problem}")
    return step.carry_out()


def _ended(client: Client, waiting: Mapping[Future, _Step]) -> set[Future]:
    """Those that have ended; none if that took longer than QUIET."""
    try:
        ended = wait(list(waiting), timeout=QUIET, return_when="FIRST_COMPLETED").done
    except TimeoutError:
        if not _num_workers(client):
            raise ClusterError("all workers have left; what is done is kept") from None
        return set()
    if killers := [waiting[future].name for future in ended if isinstance(future.exception(), KilledWorker)]:
        raise ClusterError(
            f"{killers[0]}: every worker that began it was killed, perhaps for want of memory; what is done is kept"
        )
    return ended


def _stop(client: Client, waiting: Mapping[Future, _Step]) -> None:
    """Give up what has not ended. Nothing stops a step but the end of its process, which a nanny starts again."""
    if waiting and client.status == "running":  # else the scheduler was lost, and its workers end with it
        keys = {future.key for future in waiting}
        client.cancel(list(waiting))
        executing = client.run(_executing, on_error="ignore")
        if busy := [worker for worker, those in executing.items() if keys & those]:
            client.run(os._exit, 1, workers=busy, on_error="ignore")


def _executing(dask_worker: Worker) -> set[str]:
    return {task.key for task in dask_worker.state.executing}


def _num_workers(client: Client) -> int:
    try:
        return len(client.scheduler_info()["workers"])
    except OSError as error:
        raise CommClosedError(str(error)) from error


def _dashboard(client: Client) -> str:
    return client.dashboard_link if "dashboard" in client.scheduler_info()["services"] else "it has no dashboard"


# --- Workers --------------------------------------------------------------------------------------


@contextmanager
def _connected(scheduler: str, device: str) -> Iterator[Client]:
    """The workers of a scheduler that is there, or of this machine."""
    if _is_elsewhere(scheduler):
        with _connect(scheduler) as client:
            yield client
    else:
        gpus = _gpus(device)
        num = int(scheduler.removeprefix("local:") or len(gpus) or CPU_COUNT)
        if gpus and num > len(gpus):
            raise ClusterError(f"{scheduler}: there are {len(gpus)} GPUs, and every worker needs one of its own")
        with _local(num, gpus) as cluster, Client(cluster) as client:
            yield client


def _is_elsewhere(scheduler: str) -> bool:
    return bool(scheduler) and not scheduler.startswith("local:")


def _connect(address: str) -> Client:
    try:
        client = Client(address, timeout=ANSWER)
    except OSError:
        raise ClusterError(f"no scheduler answers at {address}: start one (dask scheduler), or leave it out") from None
    try:
        client.wait_for_workers(1, timeout=ANSWER)
    except TimeoutError:
        client.close()
        raise ClusterError(f"{address} has no workers: start some (dask worker {address} --nthreads 1)") from None
    return client


def _local(num: int, gpus: Sequence[str]) -> SpecCluster:
    """Workers of this machine, each with a GPU of its own where there are some; no other process can talk to them."""
    security = Security.temporary()
    common = {"host": HERE, "protocol": "tls://", "security": security}
    worker = common | {"nthreads": 1, "memory_limit": 0, "silence_logs": logging.CRITICAL, "preload": [IGNORE_CTRL_C]}
    seen = [{"env": {"CUDA_VISIBLE_DEVICES": gpu}} for gpu in gpus] or [{}] * num
    return SpecCluster(
        scheduler={"cls": Scheduler, "options": common | {"dashboard": True, "dashboard_address": f"{HERE}:0"}},
        workers={i: {"cls": Nanny, "options": worker | seen[i]} for i in range(num)},
        security=security,
    )


def _gpus(device: str) -> list[str]:
    """The GPUs of this machine, as CUDA_VISIBLE_DEVICES names them; none where the device is the CPU."""
    if device != "cuda":
        return []
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    return given.split(",") if given else [str(i) for i in range(torch.cuda.device_count())]


# --- Whether a worker would make the same ---------------------------------------------------------


@contextmanager
def _required(step: _Step, scheduler: str) -> Iterator[_Required]:
    """What is required of workers; those elsewhere have to read a file in the store, which goes again."""
    facts = step.facts() | {"threads": "1"}
    if _is_elsewhere(scheduler):
        with _token() as (name, contents):
            yield _Required(step, name, facts | {"store": contents})
    else:  # on this machine the path says enough, and a store that lacks nothing may be read only
        yield _Required(step, "", facts | {"store": str(_store())})


@contextmanager
def _token() -> Iterator[tuple[str, str]]:
    """Name and contents of a file in the store, which nobody can know who does not see it."""
    _store().mkdir(parents=True, exist_ok=True)
    contents = f"{_store()} ({secrets.token_hex(8)})"
    with NamedTemporaryFile("w", dir=_store(), prefix=".token-", encoding="utf-8") as file:
        file.write(contents)
        file.flush()
        yield Path(file.name).name, contents


def _store() -> Path:
    return Store().artifacts.root.resolve()


def _facts(required: _Required, dask_worker: Worker) -> dict[str, str]:
    """On a worker: what it finds, how many threads compute in it at once, and what it reads in its store."""
    token = _store() / required.token
    return required.step.facts() | {
        "threads": str(dask_worker.state.nthreads * torch.get_num_threads()),
        "store": token.read_text(encoding="utf-8") if token.is_file() else str(_store()),
    }


def _difference(required: Mapping[str, str], facts: Mapping[str, str]) -> str:
    """How a worker differs, and what to do about it; "" if it does not."""
    for name, remedy in REMEDIES.items():
        if facts[name] != required[name]:
            return f"differs in its {name}: {facts[name]} there, {required[name]} here; {remedy}"
    return ""


def _check(client: Client, required: _Required) -> None:
    """Raises ClusterError for the first worker that would make something else, or cannot begin."""
    for worker, facts in client.run(_facts, required, on_error="return").items():
        if isinstance(facts, Exception):
            raise ClusterError(f"worker {worker} cannot begin: {type(facts).__name__}: {facts}")
        if problem := _difference(required.facts, facts):
            raise ClusterError(f"worker {worker} {problem}")
    if required.facts["device"] == "cuda":
        _check_gpus(client.run(_gpu))


def _gpu() -> str:
    return str(torch.cuda.get_device_properties("cuda").uuid)


def _check_gpus(gpus: Mapping[str, str]) -> None:
    """Raises ClusterError if two workers compute on the same GPU."""
    if len(set(gpus.values())) < len(gpus):
        raise ClusterError(
            f"{len(gpus)} workers share {len(set(gpus.values()))} GPUs: start one for each, which sees no other "
            "(CUDA_VISIBLE_DEVICES=0 dask worker ..., then 1, ...)"
        )
