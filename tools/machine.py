"""How the machine is shared between processes that run at once."""

import os
import signal
import sys

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")

# glibc hands every large tensor back to the system when it is freed, and the next one is zeroed page by page again.
# Kept instead, memory is used again at once: the attack on Conv is a third faster, large networks train a fifth faster.
KEEP_MEMORY = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**40)}


def available_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def environment(jobs: int) -> dict[str, str]:
    """For one of `jobs` processes at once: threads shared out, and this interpreter's own kernel before any other."""
    threads = str(max(1, available_cores() // jobs))
    kernels = {"JUPYTER_PATH": f"{sys.prefix}/share/jupyter"}
    return os.environ | dict.fromkeys(THREAD_VARIABLES, threads) | KEEP_MEMORY | kernels


def heed_signals() -> None:
    """SIGTERM and a closed terminal raise KeyboardInterrupt like Ctrl-C; what is ignored, as under nohup, stays so."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler)
