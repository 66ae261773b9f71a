"""Let torch's CUDA wheel load without CUDA's 4 GB: write empty libraries in place of those that are not installed.

    python cuda_stand_ins.py SITE_PACKAGES      run by model.Dockerfile, whose image exports on the processor

The wheel that plain pip gets on Linux loads every library of CUDA when it is imported, used or not. Each stand-in has the
names and versions that torch's own libraries ask of it, and ends the process with a sentence if one is ever called. Needs
gcc and binutils while the image is built, nothing afterwards. Does nothing for a wheel that asks for no CUDA.
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
    """Return the names of NVIDIA's libraries that `libraries` need and no folder of `site_packages/nvidia` has."""
    needed = {
        name
        for path in libraries
        for line in _lines("readelf", "-d", str(path))
        for name in re.findall(r"NEEDED.*\[(.+)\]", line)
    }
    there = {path.name for path in site_packages.glob("nvidia/*/lib/*")} | {path.name for path in libraries}
    driver = "libcuda.so.1"  # looked for when it is called, to learn whether there is a GPU: its absence is the right answer
    return sorted(name for name in needed - there - {driver} if re.match(r"lib(cu|nccl|nv)", name))


def asked_of(library: str, symbols: set[str]) -> tuple[str, list[str]]:
    """Return the version and the functions that `symbols`, as NAME or NAME@VERSION, ask of a library; "" is no version."""
    stem = re.split(r"[._]", library.removeprefix("lib"))[0].lower()
    versioned = {symbol.partition("@")[::2] for symbol in symbols if symbol.partition("@")[2].lower() in (library.lower(), stem)}
    version = next((version for _, version in versioned), "")
    plain = {symbol for symbol in symbols if "@" not in symbol and symbol.lower().startswith(stem)}
    return version, sorted({name for name, _ in versioned} | plain)


def main(site_packages: Path) -> None:
    """Write the stand-ins beside torch's own libraries, where these look."""
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
