"""Describe this machine's processor: reports of speed name it, the engine uses its cores, ``slimrank doctor`` checks it.

8 bits are fast and exact where one instruction multiplies and adds them into 32 bits. Elsewhere two do it through 16 bits,
which are slower and may saturate (Intel, "Lower Numerical Precision Deep Learning Inference and Training", 2018).
"""

import os
import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from slimrank import cgroups

CPUINFO = Path("/proc/cpuinfo")
QUIET_LOAD = 1.0
"""Load average above which something else is at work, and times come out too long."""
SIBLINGS = "/sys/devices/system/cpu/cpu{}/topology/thread_siblings_list"
"""The hardware threads of one core share its multipliers: a second one busy with products gains nothing."""
EIGHT_BIT_PRODUCTS = {
    "amx_int8": "AMX",
    "avx512_vnni": "AVX-512 VNNI",
    "avx_vnni": "AVX-VNNI",
    "i8mm": "I8MM",
    "asimddp": "SDOT",
}
"""Flag of the kernel -> name of the instructions, best first of each architecture."""


def describe() -> str:
    """Return what the processor is called and how it multiplies 8 bits, such as ``AMD EPYC (AVX-512 VNNI)``."""
    name = _facts().get("model name") or platform.processor() or platform.machine()
    products = eight_bit_products()
    if products is None:
        return name
    return f"{name} ({products[0] if products else 'no VNNI'})"


def machine() -> str:
    """Return what a figure of speed holds for."""
    count = cores()
    return f"{count:g} {'core' if count == 1 else 'cores'} of {describe()}"


def conditions() -> dict[str, Any]:
    """Return under what a measurement begins: machine, date, and the load average, which is what else the machine does."""
    return {"machine": machine(), "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC", "load": round(os.getloadavg()[0], 2)}


def eight_bit_products() -> list[str] | None:
    """Return the instructions for products of 8 bits, best first; None where the system does not tell."""
    facts = _facts()
    flags = facts.get("flags", facts.get("Features"))
    return None if flags is None else [name for flag, name in EIGHT_BIT_PRODUCTS.items() if flag in flags.split()]


def cores() -> float:
    """Return the cores that this process may use, hardware threads counted: its affinity, or less where its container has a quota."""
    mine, quota = len(_affinity()), cgroups.cpu_quota()
    return min(mine, quota) if quota else mine


def physical_cores() -> int:
    """Return how many of those cores are whole ones of their own; at least 1."""
    return max(1, int(min(cores(), len({_siblings(cpu) for cpu in _affinity()}))))


def lanes(threads: int, provider: str) -> int:
    """Return how many runs of a graph go side by side: one on a GPU, else ``threads``, 0 = a run for each whole core."""
    return (threads or physical_cores()) if provider == "cpu" else 1


def _affinity() -> set[int]:
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))


def _siblings(cpu: int) -> str:
    try:
        return Path(SIBLINGS.format(cpu)).read_text(encoding="ascii")
    except OSError:
        return str(cpu)


def _facts() -> dict[str, str]:
    """Return what the kernel says of the first processor."""
    try:
        first = CPUINFO.read_text(encoding="utf-8").split("\n\n")[0]
    except OSError:
        return {}
    lines = (line.partition(":") for line in first.splitlines())
    return {key.strip(): value.strip() for key, _, value in lines}
