"""Text files as they are met: marked, packed, broken, endless. Each that is not text ends in one line that names it."""

import gzip
import json
import os
from pathlib import Path

import pytest

from slimrank import files
from slimrank.errors import DataError
from slimrank.files import MAX_LINE_BYTES, open_text, parse_json, read_text, replace_text
from tests.nodes.require import require

LINES = "first\nsecond\n"


def read(path: Path) -> str:
    with open_text(path) as file:
        return "".join(file)


def zstd_of(content: bytes) -> bytes:
    try:
        packed: bytes = files._zstd(Path("x.zst")).compress(content)
    except DataError:
        require("backports.zstd is not installed")
    return packed


def test_a_byte_order_mark_is_not_content(tmp_path: Path) -> None:
    (tmp_path / "plain.txt").write_bytes(b"\xef\xbb\xbf" + LINES.encode())
    (tmp_path / "packed.txt.gz").write_bytes(gzip.compress(b"\xef\xbb\xbf" + LINES.encode()))
    assert read(tmp_path / "plain.txt") == read(tmp_path / "packed.txt.gz") == LINES


def test_zstd_is_read_as_gzip_is(tmp_path: Path) -> None:
    (tmp_path / "lines.zst").write_bytes(zstd_of(LINES.encode()))
    assert read(tmp_path / "lines.zst") == LINES


def test_a_zstd_file_cut_short_is_named(tmp_path: Path) -> None:
    whole = zstd_of(os.urandom(1000).hex().encode())
    (tmp_path / "lines.zst").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"lines\.zst"):
        read(tmp_path / "lines.zst")


def test_zstd_without_its_package_names_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(files, "import_module", missing)
    (tmp_path / "lines.zst").write_bytes(b"x")
    with pytest.raises(DataError, match=r"pip install backports\.zstd"):
        read(tmp_path / "lines.zst")


def test_a_gzip_file_with_a_broken_body_is_named(tmp_path: Path) -> None:
    whole = bytearray(gzip.compress(os.urandom(1000).hex().encode()))
    whole[20:200] = bytes(180)
    (tmp_path / "lines.gz").write_bytes(whole)
    with pytest.raises(DataError, match=r"lines\.gz"):
        read(tmp_path / "lines.gz")


def test_a_device_without_end_is_refused() -> None:
    with pytest.raises(DataError, match="a device"):
        read(Path("/dev/zero"))


def test_a_pipe_that_nobody_writes_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DataError, match="a pipe"):
        read(tmp_path / "pipe")


def test_a_pipe_that_the_shell_opened_is_read() -> None:
    reading, writing = os.pipe()
    os.write(writing, LINES.encode())
    os.close(writing)
    assert read(Path(f"/dev/fd/{reading}")) == LINES
    os.close(reading)


def test_a_line_without_end_is_refused_before_it_fills_memory(tmp_path: Path) -> None:
    with (tmp_path / "endless").open("wb") as file:
        file.truncate(2 * MAX_LINE_BYTES)  # sparse: takes no disk
    with pytest.raises(DataError, match="a line is longer"):
        read(tmp_path / "endless")


def test_a_small_file_that_unpacks_to_a_large_one_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "FREE_BYTES", 2**20)
    (tmp_path / "bomb.gz").write_bytes(gzip.compress((b"x" * (2**20 - 1) + b"\n") * 8))
    with pytest.raises(DataError, match="unpacks to more"):
        read(tmp_path / "bomb.gz")


def test_a_file_that_is_read_whole_must_be_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MAX_WHOLE_BYTES", 5)
    (tmp_path / "config.yaml").write_text("12345")
    assert read_text(tmp_path / "config.yaml") == "12345"
    (tmp_path / "config.yaml").write_text("123456")
    with pytest.raises(DataError, match="longer than 5"):
        read_text(tmp_path / "config.yaml")


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, "1" * 5000, "{"])
def test_json_that_cannot_be_read_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError):
        parse_json(text)


def test_half_a_surrogate_pair_is_written_as_a_question_mark(tmp_path: Path) -> None:
    with replace_text(tmp_path / "out.jsonl") as file:
        file.write(json.dumps({"text": json.loads('"\\ud83d"')}, ensure_ascii=False))
    assert (tmp_path / "out.jsonl").read_text() == '{"text": "?"}'
