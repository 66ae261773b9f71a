"""Let torch's CUDA wheel load without the 4 GB of CUDA: write stand-ins for the libraries that are not installed.

    python cuda_stand_ins.py SITE_PACKAGES      run by model.Dockerfile, whose image exports on the processor

The wheel that pip installs on Linux loads every library of CUDA when it is imported, even if it is not used. Each stand-in has the
functions and versions that torch's own libraries need; a call of such a function prints a sentence and ends the process. The
script needs gcc and binutils; the stand-ins do not. For a wheel without CUDA it does nothing.
"""

import re
import subprocess
import sys
from pathlib import Path

ABSENT = """#include <stdio.h>
#include <stdlib.h>
static void absent(const char *name) { fprintf(stderr, "%s: CUDA is not in this image\\n", name); abort(); }
"""


def _lines(*command: str) -> list[str]:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()


def missing_libraries(libraries: list[Path], site_packages: Path) -> list[str]:
    """Return the names of NVIDIA's libraries that ``libraries`` need and that are not installed."""
    needed = {
        name
        for path in libraries
        for line in _lines("readelf", "-d", str(path))
        for name in re.findall(r"NEEDED.*\[(.+)\]", line)
    }
    there = {path.name for path in site_packages.glob("nvidia/*/lib/*")} | {path.name for path in libraries}
    driver = "libcuda.so.1"  # torch looks for it to learn whether there is a GPU: it must stay absent
    return sorted(name for name in needed - there - {driver} if re.match(r"lib(cu|nccl|nv)", name))


def asked_of(library: str, symbols: set[str]) -> tuple[str, list[str]]:
    """Return the version and the functions of a library that ``symbols``, NAME or NAME@VERSION, need; "" = no version."""
    stem = re.split(r"[._]", library.removeprefix("lib"))[0].lower()
    versioned = {symbol.partition("@")[::2] for symbol in symbols if symbol.partition("@")[2].lower() in (library.lower(), stem)}
    version = next((version for _, version in versioned), "")
    plain = {symbol for symbol in symbols if "@" not in symbol and symbol.lower().startswith(stem)}
    return version, sorted({name for name, _ in versioned} | plain)


def main(site_packages: Path) -> None:
    """Write the stand-ins into the folder of torch's own libraries, where torch looks for them."""
    folder = site_packages / "torch/lib"
    libraries = sorted(folder.glob("*.so"))
    symbols = {
        line.split()[-1]
        for path in libraries
        for line in _lines("nm", "-D", "--undefined-only", "--with-symbol-versions", str(path))
    }
    for name in missing_libraries(libraries, site_packages):
        version, functions = asked_of(name, symbols)
        script = folder / "stand_in.map"
        script.write_text(f"{version} {{ global: *; }};\n")
        body = "".join(f'void {function}(void) {{ absent("{function}"); }}\n' for function in functions)
        command = [
            "gcc",
            "-shared",
            "-fPIC",
            "-x",
            "c",
            "-",
            f"-Wl,-soname,{name}",
            f"-Wl,--version-script={script}",
            "-o",
            str(folder / name),
        ]
        subprocess.run(command, input=ABSENT + body, text=True, check=True)
        script.unlink()
        print(f"{name}: {len(functions)} functions stand in")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
