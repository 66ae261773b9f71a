"""A container's limits are found wherever its control group lies: nested, version 1 and 2, and really by the kernel."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from slimrank import cgroups


def proc(folder: Path, monkeypatch: pytest.MonkeyPatch, groups: str, *mounts: str) -> None:
    (folder / "cgroup").write_text(groups)
    (folder / "mountinfo").write_text("".join(f"30 20 0:26 {mount}\n" for mount in mounts))
    monkeypatch.setattr(cgroups, "PROC", folder)


def write(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text + "\n")


@pytest.mark.parametrize(("inner", "outer", "cores"), [("150000 100000", "max 100000", 1.5), ("max 100000", "200000 100000", 2.0),
                                                       ("300000 100000", "50000 100000", 0.5), ("max 100000", "max 100000", None)])  # fmt: skip
def test_version_2_nested_has_the_least_of_all_around_it(
    inner: str, outer: str, cores: float | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mounted = tmp_path / "unified"
    write(mounted / "system.slice" / "slimrank.service", cpu__max=inner, memory__max="1000")
    write(mounted / "system.slice", cpu__max=outer, memory__max="max")
    proc(tmp_path, monkeypatch, "0::/system.slice/slimrank.service\n", f"/ {mounted} rw - cgroup2 cgroup2 rw")
    assert cgroups.cpu_quota() == cores
    assert cgroups.memory_limit() == 1000


def test_version_1_has_a_place_for_each_controller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cpu, memory = tmp_path / "cpu,cpuacct", tmp_path / "memory"
    write(cpu / "docker" / "abc", cpu__cfs_quota_us="250000", cpu__cfs_period_us="100000")
    write(cpu, cpu__cfs_quota_us="-1", cpu__cfs_period_us="100000")
    write(memory / "docker" / "abc", memory__limit_in_bytes="2000")
    groups = "4:memory:/docker/abc\n3:cpu,cpuacct:/docker/abc\n1:name=systemd:/docker/abc\n0::/\n"
    proc(tmp_path, monkeypatch, groups,
         f"/ {cpu} rw - cgroup cgroup rw,cpu,cpuacct", f"/ {memory} rw - cgroup cgroup rw,memory")  # fmt: skip
    assert (cgroups.cpu_quota(), cgroups.memory_limit()) == (2.5, 2000)


def test_a_container_that_sees_only_its_own_group_is_read_at_its_top(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mounted = tmp_path / "cpu"
    write(mounted / "job", cpu__cfs_quota_us="100000", cpu__cfs_period_us="100000")
    write(mounted, cpu__cfs_quota_us="300000", cpu__cfs_period_us="100000")
    mount = f"/docker/abc {mounted} rw - cgroup cgroup rw,cpu"
    proc(tmp_path, monkeypatch, "1:cpu:/docker/abc/job\n", mount)
    assert cgroups.cpu_quota() == 1.0
    proc(tmp_path, monkeypatch, "1:cpu:/elsewhere\n", mount)
    assert cgroups.cpu_quota() == 3.0


def test_without_the_kernels_word_there_is_no_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cgroups, "PROC", tmp_path / "none")
    assert (cgroups.cpu_quota(), cgroups.memory_limit()) == (None, None)
    proc(tmp_path, monkeypatch, "nonsense\n0::/a\n", "short", f"/ {tmp_path} rw - cgroup2 cgroup2 rw")
    write(tmp_path / "a", cpu__max="many")
    assert cgroups.cpu_quota() is None


def test_a_real_nested_quota_decides_how_many_lanes_there_are() -> None:
    parent = next(iter(cgroups.folders("cpu")), None)
    if parent is None or not (parent / "cpu.cfs_quota_us").is_file() or not os.access(parent, os.W_OK):
        pytest.skip("needs control groups of version 1 that may be written, as root in a virtual machine has")
    group = parent / f"slimrank-test-{os.getpid()}"
    group.mkdir()
    try:
        (group / "cpu.cfs_quota_us").write_text("50000")
        code = "from slimrank import processor; print(processor.cores(), processor.lanes(0, 'cpu'))"
        enter = f'echo $$ > {group}/tasks && exec {sys.executable} -c "{code}"'
        done = subprocess.run(["/bin/sh", "-c", enter], capture_output=True, text=True, check=True)
        assert done.stdout.split() == ["0.5", "1"]
    finally:
        group.rmdir()
