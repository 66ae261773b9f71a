"""Attacks by files: each command is a process that may use 8 GB. Yields a line a try, as `tests.attack.attacks` does."""

import contextlib
import gzip
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from slimrank import manifest
from slimrank.errors import SlimrankError
from tests.attack.limits import ROOT
from tests.attack.stage import Stage

MEGABYTE = 2**20
PROBE = ("rank", "--query", "moon", "--model")
"""Loads a model folder and scores with it."""
SECONDS = 120


def _run(
    arguments: list[str], *, shell: str = "ulimit -v 8000000", seconds: float = SECONDS, **environment: str
) -> tuple[int, str, str]:
    """Run one command of ours; return its status, what it printed and what it said of errors."""
    command = ["/bin/sh", "-c", f'{shell}; exec "$@"', "sh", sys.executable, "-m", "slimrank", *arguments]
    surroundings = os.environ | {"PYTHONPATH": str(ROOT)} | environment
    try:
        done = subprocess.run(
            command, capture_output=True, timeout=seconds, check=False, text=True, stdin=subprocess.DEVNULL, env=surroundings
        )
    except subprocess.TimeoutExpired:
        return -1, "", f"no end after {seconds:.0f} s"
    return done.returncode, done.stdout, done.stderr


def _refused(arguments: list[str], **options: str) -> str:
    """Run a command that must end with status 2 and a line that says why."""
    status, _, said = _run(arguments, **options)
    if status == 2 and said.strip() and "Traceback" not in said and len(said) < 3000:
        return ""
    return f"{' '.join(arguments)[-90:]}: status {status}, {said[-200:]!r}"


def altered_weights(stage: Stage) -> Iterator[str]:
    """Model folders whose weights are not those that were verified: other bytes, one bit, hashes left out."""
    home = stage.folder / "home"
    for name, alter in (("random", _other_bytes), ("bit", _one_bit), ("empty", _no_hashes), ("unnamed", _graph_not_named)):
        folder = home / ".cache" / "slimrank" / "models" / name
        shutil.copytree(stage.model, folder)
        alter(folder)
        text = stage.folder / "texts.txt"
        text.write_text("Titan is the largest moon of Saturn.\n")
        for command in (["serve", "--embedded", "--port", "0", "--model"], ["worker", "--model"], [*PROBE]):
            yield _refused(
                [*command, str(folder), *([str(text)] if command[0] == "rank" else [])], SLIMRANK_REDIS_URL=stage.redis
            )
    status, printed, said = _run(["model", "list", "--json"], HOME=str(home))
    try:
        rows = json.loads(printed)["models"]
        served = [row["folder"] for row in rows if row["served"]] if len(rows) == 4 else [f"{len(rows)} of 4 are listed"]
    except (ValueError, KeyError):
        served = [f"status {status}: {said[-200:]}"]
    yield f"listed as served: {served}" if served else ""


def _other_bytes(folder: Path) -> None:
    """Replace a large graph by random bytes of its size; its manifest vouches for what was there before."""
    graph = folder / manifest.GRAPH_FILE
    graph.write_bytes(bytes(20 * MEGABYTE))
    found = manifest.read(folder)
    found.files.update(manifest.file_records(folder, [manifest.GRAPH_FILE]))
    found.save(folder)
    times = graph.stat()
    graph.write_bytes(os.urandom(20 * MEGABYTE))
    os.utime(graph, ns=(times.st_atime_ns, times.st_mtime_ns))


def _one_bit(folder: Path) -> None:
    graph = folder / manifest.GRAPH_FILE
    times, content = graph.stat(), bytearray(graph.read_bytes())
    content[len(content) // 2] ^= 1
    graph.write_bytes(content)
    os.utime(graph, ns=(times.st_atime_ns, times.st_mtime_ns))


def _no_hashes(folder: Path) -> None:
    found = json.loads((folder / manifest.MANIFEST_FILE).read_text())
    (folder / manifest.MANIFEST_FILE).write_text(json.dumps(found | {"files": {}}))


def _graph_not_named(folder: Path) -> None:
    found = json.loads((folder / manifest.MANIFEST_FILE).read_text())
    found["files"] = {name: record for name, record in found["files"].items() if not name.endswith(".onnx")}
    (folder / manifest.MANIFEST_FILE).write_text(json.dumps(found))


def broken_exports(stage: Stage) -> Iterator[str]:
    """Exports over a folder that serves: killed at any moment, out of disk, of weights that cannot be read."""
    from tests.tiny import make_checkpoint

    served, checkpoint = stage.folder / "served", make_checkpoint(stage.folder / "to-export")
    shutil.copytree(stage.model, served)
    before = _digest(served)
    export = ["export", str(checkpoint), "--out", str(served)]
    command = [sys.executable, "-m", "slimrank", *export]
    for number, seconds in ((signal.SIGINT, 4), (signal.SIGTERM, 7), (signal.SIGKILL, 5), (signal.SIGKILL, 9)):
        with subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=os.environ | {"PYTHONPATH": str(ROOT)}
        ) as running:
            with contextlib.suppress(subprocess.TimeoutExpired):
                running.wait(seconds)
            running.send_signal(number)
        yield _still_served(served, {before, _digest(served)} if running.returncode == 0 else {before})
    yield _refused(export, shell="ulimit -f 64") or _still_served(served, {before})  # blocks of 512 bytes: a disk with 32 kB
    for content in (b"", b"\xff" * 8 + b"{}", (10**6).to_bytes(8, "little") + b"{", (2).to_bytes(8, "little") + b"{}"):
        (checkpoint / "model.safetensors").write_bytes(content)
        yield _refused(export) or _still_served(served, {before})


def _digest(folder: Path) -> str:
    return manifest.read(folder).digest()


def _still_served(folder: Path, digests: set[str]) -> str:
    try:
        manifest.check(folder)
        return "" if _digest(folder) in digests else "another model lies where the served one was"
    except SlimrankError as error:
        return f"the folder that serves is spoilt: {error}"


def odd_files(stage: Stage) -> Iterator[str]:
    """Pipes that nobody writes, devices, bombs, depth, empty and binary files, for every command that reads one."""
    folder = stage.folder / "odd"
    folder.mkdir()
    os.mkfifo(folder / "pipe")
    with gzip.open(folder / "bomb.gz", "wb", 1) as file:
        for _ in range(3000):
            file.write(b" " * MEGABYTE)
    (folder / "deep").write_text("[" * 100_000)
    (folder / "binary").write_bytes(os.urandom(MEGABYTE))
    (folder / "empty").write_bytes(b"")
    files = [*sorted(folder.iterdir()), Path("/dev/zero"), folder]
    model = ["--model", str(stage.model)]
    for path in files:
        collection = stage.folder / f"collection-{path.name}"
        _collection(collection, path)
        for command in (
            ["serve", "--embedded", "--port", "0", "--model", str(path)],
            ["proxy", "--upstream", "http://127.0.0.1:1", "--rules", str(path)],
            ["evaluate", *model, "--data", str(collection)],
            ["train", "prepare", str(path), "--data", str(stage.folder), "--out", str(stage.folder / "groups")],
            ["train", "finegrained", str(path), "--base", str(folder), "--groups", str(path), "--out", str(stage.folder / "run")],
            ["audit", "plan", str(path), "--out", str(stage.folder / "audit")],
        ):
            yield _refused(command)
        if path.name not in ("deep", "binary"):  # those are texts, if odd ones
            yield _refused([*PROBE, str(stage.model), str(path)])


def _collection(folder: Path, path: Path) -> None:
    """Lay a BEIR folder out whose corpus is this file."""
    (folder / "qrels").mkdir(parents=True)
    (folder / "queries.jsonl").write_text('{"_id": "1", "text": "moon"}\n')
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n1\td1\t1\n")
    name = "corpus.jsonl.gz" if path.name == "bomb.gz" else "corpus.jsonl"
    (folder / name).symlink_to(path)


def two_runs(stage: Stage) -> Iterator[str]:
    """Two runs of one command in one folder, and a run on a disk that is full: nothing lost, the second is told of the first."""
    collection = stage.folder / "films"
    (collection / "qrels").mkdir(parents=True)
    words = ("moon", "bread", "index", "river", "stone", "violin")
    (collection / "corpus.jsonl").write_text(
        "".join(
            json.dumps({"_id": f"d{place}", "text": f"{word} {other} of day {place}"}) + "\n"
            for place, (word, other) in enumerate((a, b) for a in words for b in words for _ in range(500))
        )
    )
    (collection / "queries.jsonl").write_text(
        "".join(json.dumps({"_id": str(place), "text": word}) + "\n" for place, word in enumerate(words))
    )
    rows = [f"{place}\td{place * 3000 + place}\t1\n" for place in range(len(words))]
    for split, judged in (("train", rows[:3]), ("test", rows[3:])):
        (collection / "qrels" / f"{split}.tsv").write_text("query-id\tcorpus-id\tscore\n" + "".join(judged))
    config = stage.folder / "films.yaml"
    config.write_text("collections:\n  - {folder: films, queries: 6}\n")
    out = stage.folder / "films-groups"
    prepare = ["train", "prepare", str(config), "--data", str(stage.folder), "--out", str(out)]
    command = [sys.executable, "-m", "slimrank", *prepare]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    runs = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment) for _ in range(2)]
    said = [run.communicate(timeout=SECONDS)[0].decode() for run in runs]
    statuses = sorted(run.returncode for run in runs)
    is_told = any("is at work in" in text for text in said)
    yield "" if statuses == [0, 2] and is_told else f"two runs ended with {statuses}: {said[0][-200:]!r} {said[1][-200:]!r}"
    groups = (out / "groups.jsonl").read_bytes()
    yield "" if groups.count(b"\n") >= 1 else "the first run wrote nothing"
    yield _refused(prepare, shell="ulimit -f 1")
    yield "" if (out / "groups.jsonl").read_bytes() == groups else "a full disk cost the groups that were there"
    scores = stage.folder / "scores"
    measure = ["evaluate", "--model", str(stage.model), "--data", str(collection), "--scores-folder", str(scores), "--json"]
    yield _refused(measure, shell="ulimit -f 1")
    begin = time.monotonic()
    status, _, error = _run(measure)
    yield (
        ""
        if status == 0
        else f"after a full disk evaluate ends with {status} after {time.monotonic() - begin:.0f} s: {error[-200:]!r}"
    )
