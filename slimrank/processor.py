"""What this machine's processor is: reports of speed name it, and ``slimrank doctor`` looks at it.

8 bits are fast and exact where one instruction multiplies and adds them into 32 bits. Elsewhere two do it through 16 bits,
which are slower and may saturate (Intel, "Lower Numerical Precision Deep Learning Inference and Training", 2018).
"""

import platform
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")
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


def eight_bit_products() -> list[str] | None:
    """Return the instructions for products of 8 bits, best first; None where the system does not tell."""
    facts = _facts()
    flags = facts.get("flags", facts.get("Features"))
    return None if flags is None else [name for flag, name in EIGHT_BIT_PRODUCTS.items() if flag in flags.split()]


def _facts() -> dict[str, str]:
    """Return what the kernel says of the first processor."""
    try:
        first = CPUINFO.read_text(encoding="utf-8").split("\n\n")[0]
    except OSError:
        return {}
    lines = (line.partition(":") for line in first.splitlines())
    return {key.strip(): value.strip() for key, _, value in lines}
