"""Dictionaries of dictd: entries as GCIDE, FOLDOC and the Jargon File have them."""

import gzip
from pathlib import Path

import pytest

from slimrank.errors import DataError
from training.data.dictionaries import DIGITS, entries

GCIDE = """Alecost \\Ale"cost`\\, n. [Ale + L. costus an aromatic plant: cf.
   {Costmary} [a].] (Bot.)
   The plant costmary, which was formerly much used for
   flavoring ale.
   [1913 Webster]

         Their aleberries, caudles, possets.      --Beau. & Fl.
"""

FOLDOC = """dot com
.com

   <networking> (.com, "commercial") The {top-level domain} used
   by most companies.

   (2007-02-18)
"""


def written(folder: Path, *texts: str) -> Path:
    """Write a dictionary as the tool dictfmt does, with a note about itself in front and each text under two words."""
    lines, begin = [f"00-database-short\tA\t{encoded(2)}"], 2
    for text in texts:
        length = len(text.encode())
        lines += [f"{word}\t{encoded(begin)}\t{encoded(length)}" for word in (text.split()[0].lower(), "other name")]
        begin += length
    folder.mkdir(exist_ok=True)
    (folder / "words.index").write_text("\n".join(lines) + "\n")
    (folder / "words.dict.dz").write_bytes(gzip.compress("".join(["\n\n", *texts]).encode()))
    return folder


def encoded(number: int) -> str:
    """Return a number as the index has it."""
    return (encoded(number // 64) if number >= 64 else "") + DIGITS[number % 64]


def test_an_entry_is_told_once_and_without_sound_origin_and_part_of_speech(tmp_path: Path) -> None:
    found = {document.title: document.text for document in entries(written(tmp_path / "dict", GCIDE, FOLDOC))}
    assert found == {
        "Alecost": "(Bot.) The plant costmary, which was formerly much used for flavoring ale. Their aleberries, caudles, possets.",
        "dot com": "The top-level domain used by most companies.",
    }


def test_a_folder_without_a_dictionary_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"holds 0 files \*\.index"):
        list(entries(tmp_path))
