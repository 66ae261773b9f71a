"""The demo corpus holds exactly the public names of the standard library, and making it runs none of their code."""

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from slimrank.evaluation.beir import Document
from slimrank.evaluation.python_docs import corpus

ROOT = Path(__file__).parents[3]
NEVER_IMPORTED = {
    "antigravity",
    "this",
    "tkinter",
    "idlelib",
    "turtle",
    "turtledemo",
    "pydoc",
    "webbrowser",
    "unittest",
    "asyncio",
    "socket",
}


def test_there_are_thousands_of_documents_each_with_a_text(documents: Mapping[str, Document]) -> None:
    assert len(documents) > 4000
    assert all(document.text.strip() for document in documents.values())


def test_no_name_is_private_and_no_module_is_a_test_a_program_or_a_joke(documents: Mapping[str, Document]) -> None:
    parts = {part for doc_id in documents for part in doc_id.split(".")}
    roots = {doc_id.partition(".")[0] for doc_id in documents}

    assert not [part for part in parts if part.startswith("_")]
    assert not roots & {"test", "idlelib", "lib2to3", "turtledemo", "ensurepip", "antigravity", "this", "distutils"}
    assert not roots - sys.stdlib_module_names


def test_a_title_is_a_signature_that_opens_with_the_id(documents: Mapping[str, Document]) -> None:
    shape = re.compile(r"(?:module |class )?(?P<doc_id>[\w.]+)(?:\(.*\))?", re.DOTALL)
    for document in documents.values():
        title = shape.fullmatch(document.title)
        assert title and title["doc_id"] == document.doc_id, document.title
        assert not re.search(r" at 0x[0-9a-f]|\$self|\$module", document.title), document.title


@pytest.mark.parametrize(
    "title",
    [
        "module json",
        "shutil.copytree(src, dst, symlinks=False, ignore=None, copy_function=copy2, ignore_dangling_symlinks=False, "
        "dirs_exist_ok=False)",
        "class fractions.Fraction(numerator=0, denominator=None, *, _normalize=True)",
        "pathlib.PurePath.suffix",
        "math.isclose(a, b, *, rel_tol=1e-09, abs_tol=0.0)",
        "builtins.str.split(sep=None, maxsplit=-1)",
        "random.SystemRandom.random()",
    ],
)
def test_titles_read_as_in_the_manual_without_self(documents: Mapping[str, Document], title: str) -> None:
    if sys.version_info >= (3, 12) and "Fraction" in title:
        pytest.skip("Fraction's private parameter went with Python 3.12")
    assert title in {document.title for document in documents.values()}


@pytest.mark.parametrize(
    "doc_id",
    [
        "json",  # a module
        "pathlib.PurePath.suffix",  # a property
        "shutil.copytree",  # a plain function
        "builtins.sorted",  # built in
        "math.isclose",  # a C module
        "collections.deque",  # taken over from C, in a try
        "os.listdir",  # taken over from C, by a star
        "socket.socket.connect",  # a method of the C class below a Python class of the same name
        "datetime.datetime.strptime",  # Python source in 3.11, C later
        "functools.partial",
        "hashlib.sha256",  # made while the module runs
        "re.Pattern.sub",
        "random.randint",
        "os.path.join",  # defined in posixpath
        "asyncio.run",  # defined in asyncio.runners
        "unittest.TestCase.assertRaises",  # defined in unittest.case
        "concurrent.futures.ThreadPoolExecutor",  # imported lazily, and described in its constructor
        "multiprocessing.Pool",  # a method of a context
        "argparse.ArgumentParser.add_argument",  # inherited from a private class
        "subprocess.Popen.kill",  # defined in a branch
        "tarfile.open",  # another name for a method
    ],
)
def test_the_corpus_has_names_as_users_import_them(documents: Mapping[str, Document], doc_id: str) -> None:
    assert doc_id in documents


def test_a_name_in_several_modules_is_in_the_corpus_once(documents: Mapping[str, Document]) -> None:
    assert "asyncio.runners.run" not in documents
    assert "unittest.case.TestCase.assertRaises" not in documents


def test_building_again_changes_nothing_and_leaves_no_temporary_files(built: Path) -> None:
    before = (built / "corpus.jsonl").stat()

    count = corpus.build(built)

    after = (built / "corpus.jsonl").stat()
    assert count == len((built / "corpus.jsonl").read_bytes().splitlines())
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)
    assert [path.name for path in built.parent.iterdir()] == [built.name]


def test_another_process_reads_the_same_names_and_imports_only_the_listed_modules(built: Path, tmp_path: Path) -> None:
    code = f"""
import sys
before = set(sys.modules)
from pathlib import Path
from slimrank.evaluation.python_docs import corpus
corpus.build(Path({str(tmp_path / "stdlib")!r}))
print(*sorted(set(sys.modules) - before))
"""
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    command = [sys.executable, "-S", "-W", "error", "-c", code]
    run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)

    assert run.stderr == ""
    imported = set(run.stdout.split())
    assert not imported & NEVER_IMPORTED
    assert {name.partition(".")[0] for name in imported} <= sys.stdlib_module_names | {"slimrank"}
    for name in ("corpus.jsonl", "queries.jsonl", "qrels/test.tsv"):
        assert (tmp_path / "stdlib" / name).read_bytes() == (built / name).read_bytes()


def test_a_folder_of_something_else_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "homework").touch()
    with pytest.raises(FileExistsError, match="would be lost"):
        corpus.build(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["homework"]
