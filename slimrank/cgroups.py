"""Which control groups this process is in, so that limits are seen wherever they are set: a service's, a container's, a session's.

``/proc/self/cgroup`` names the group, ``/proc/self/mountinfo`` where its files are; version 1 has a hierarchy for each controller,
version 2 one for all. A group has no more than those around it, so their limits count too (cgroups(7), proc_pid_cgroup(5)).
"""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

PROC = Path("/proc/self")


def folders(controller: str) -> Iterator[Path]:
    """Yield the folders of this process' groups that hold limits of a controller (cpu, memory), inmost first."""
    try:
        groups = [line.split(":", 2) for line in (PROC / "cgroup").read_text(encoding="utf-8").splitlines()]
        mounts = [line.split(" ") for line in (PROC / "mountinfo").read_text(encoding="utf-8").splitlines()]
    except OSError:
        return
    for _, controllers, group in (one for one in groups if len(one) == 3):
        for mount in (one for one in mounts if "-" in one):
            kind, options = mount[mount.index("-") + 1], mount[-1].split(",")
            is_first = kind == "cgroup" and controller in options and controller in controllers.split(",")
            if is_first or (kind == "cgroup2" and not controllers):
                yield from _around(Path(mount[4]), PurePosixPath(mount[3]), PurePosixPath(group))


def _around(mounted: Path, root: PurePosixPath, group: PurePosixPath) -> Iterator[Path]:
    """Yield the folder of a group and those above it, as far as they are mounted here.

    Args:
        root: The group that the mount shows at its top: a container often sees only its own.
    """
    below = group.relative_to(root) if group.is_relative_to(root) else PurePosixPath()
    inmost = mounted / below
    for folder in (inmost, *inmost.parents):
        if folder.is_dir():
            yield folder
        if folder == mounted:
            return


def cpu_quota() -> float | None:
    """Return the cores that the groups allow, or None where they set no limit."""
    quotas = [quota for folder in folders("cpu") if (quota := _cores(folder)) is not None]
    return min(quotas, default=None)


def _cores(folder: Path) -> float | None:
    try:
        if (version_2 := folder / "cpu.max").is_file():
            quota, period = version_2.read_text(encoding="ascii").split()
        else:
            quota = (folder / "cpu.cfs_quota_us").read_text(encoding="ascii").strip()
            period = (folder / "cpu.cfs_period_us").read_text(encoding="ascii").strip()
        return float(quota) / float(period) if quota not in ("max", "-1") else None
    except (OSError, ValueError, ZeroDivisionError):
        return None


def memory_limit() -> int | None:
    """Return the bytes that the groups allow, or None where they set no limit."""
    limits = [limit for folder in folders("memory") if (limit := _bytes(folder)) is not None]
    return min(limits, default=None)


def _bytes(folder: Path) -> int | None:
    for name in ("memory.max", "memory.limit_in_bytes"):
        try:
            text = (folder / name).read_text(encoding="ascii").strip()
        except OSError:
            continue
        return int(text) if text.isdigit() else None
    return None
