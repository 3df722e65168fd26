"""How the machine is shared between processes that run at once, and how these end together."""

import ctypes
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")

# glibc hands every large tensor back to the system when it is freed, and the next one is zeroed page by page again.
# Kept instead, memory is used again at once: the attack on Conv is a third faster, large networks train a fifth faster.
KEEP_MEMORY = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**40)}

SECONDS_BETWEEN_LOOKS = 0.2


def available_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def environment() -> dict[str, str]:
    """For a process that computes: one thread, and this interpreter's own kernel before any other.

    How sums are split among threads decides their last bits. With one, these are the same on a machine of any number of
    cores, and however many chapters or workers there are at once; cores are put to use by these.
    """
    kernels = {"JUPYTER_PATH": f"{sys.prefix}/share/jupyter"}
    return os.environ | dict.fromkeys(THREAD_VARIABLES, "1") | KEEP_MEMORY | kernels


def num_gpus() -> int:
    """How many CUDA devices the driver shows to this process. PyTorch, which knows it too, takes seconds to import."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return 0
    count = ctypes.c_int()
    failed = driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count))
    return 0 if failed else count.value


# --- How processes end ----------------------------------------------------------------------------


def end_with(owner: int) -> None:
    """End this process once the one that started it, `owner`, is gone, or if it is so already."""

    def look() -> None:
        while os.getppid() == owner:
            time.sleep(SECONDS_BETWEEN_LOOKS)
        os._exit(1)

    threading.Thread(target=look, daemon=True).start()


def heed_signals() -> None:
    """SIGTERM and a closed terminal raise KeyboardInterrupt, as Ctrl-C does; under `nohup` the latter does nothing."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler)


@contextmanager
def undisturbed() -> Iterator[None]:
    """For the moment in which what this process started is stopped: who asks twice leaves nobody behind."""
    before = {
        number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
