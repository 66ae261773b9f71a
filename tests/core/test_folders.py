"""Folders appear whole, replace only their own kind, and are worked in by one process."""

import subprocess
import sys
from pathlib import Path

import pytest

from slimrank.errors import ConfigError
from slimrank.folders import LOCK_FILE, check_replaceable, marked_by, new_folder, one_at_a_time, only

MINE = marked_by("mark")


def tree(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.fixture
def target(tmp_path: Path) -> Path:
    folder = tmp_path / "made"
    folder.mkdir()
    for name in ("mark", "old"):
        (folder / name).touch()
    return folder


def test_a_finished_folder_replaces_the_old_one(target: Path) -> None:
    with new_folder(target, MINE, "a thing") as partial:
        (partial / "mark").touch()
    assert tree(target.parent) == ["made", "made/mark"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_interrupted_folder_leaves_the_old_one(target: Path, error: type[BaseException]) -> None:
    with pytest.raises(error), new_folder(target, MINE, "a thing") as partial:
        (partial / "new").touch()
        raise error
    assert tree(target.parent) == ["made", "made/mark", "made/old"]


def test_a_folder_of_another_kind_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    (tmp_path / "homework").touch()
    with pytest.raises(ConfigError, match="neither empty nor a thing and would be lost"), new_folder(tmp_path, MINE, "a thing"):
        pytest.fail("the block must not begin")
    assert tree(tmp_path) == ["homework"]


def test_what_came_while_a_folder_was_filled_is_not_lost(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="would be lost"), new_folder(tmp_path / "made", MINE, "a thing"):
        (tmp_path / "made").mkdir()
        (tmp_path / "made" / "homework").touch()
    assert tree(tmp_path) == ["made", "made/homework"]


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "made").touch()
    with pytest.raises(ConfigError, match="which is a file; name a folder"):
        check_replaceable(tmp_path / "made", MINE, "a thing")


def test_a_link_stays_and_leads_to_the_new_folder(target: Path) -> None:
    link = target.parent / "link"
    link.symlink_to(target)
    with new_folder(link, MINE, "a thing") as partial:
        (partial / "new").touch()
    assert link.is_symlink()
    assert tree(target) == ["new"]


def test_a_folder_of_known_files_alone_is_ours(target: Path) -> None:
    assert only("mark", "old", "more")(target)
    assert not only("mark")(target)


def test_a_second_process_gets_the_name_of_the_one_that_works(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from slimrank.folders import one_at_a_time\n"
        "with one_at_a_time(Path(sys.argv[1])): print('in', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None and other.stdin is not None
        assert other.stdout.readline() == "in\n"
        with pytest.raises(ConfigError, match=f"process {other.pid} is at work in"), one_at_a_time(tmp_path):
            pytest.fail("the block must not begin")
        other.kill()
    with one_at_a_time(tmp_path):  # a lock dies with its process
        assert tree(tmp_path) == [LOCK_FILE]
