"""Unlabelled text of many fields out of Debian packages, as BEIR folders for ``slimrank train prepare``.

    python -m training.debian --out COLLECTIONS

writes four corpora without queries (those are made, see ``training.synthetic``):
``debian_packages`` (what each package is for, much as a shop describes its goods),
``debian_words`` (WordNet's nouns and their explanations), and ``debian_office`` and
``debian_desktop`` (help pages of LibreOffice and GNOME). Packages are fetched with apt, unpacked
beside the output and only read: nothing is installed or run. Needs apt's package lists with
English descriptions (``apt-get -o Acquire::Languages=en update``).
"""

import argparse
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from lxml import etree, html

from slimrank.beir import Document, write_documents
from slimrank.errors import DataError, SlimrankError

MIN_WORDS = 12
"""Shorter texts say too little to be told apart."""

MAX_CHARACTERS = 4_000


def package_descriptions() -> Iterator[Document]:
    """Yield each package once: its short description as title, the long one as text.

    Libraries' parts (-dev, -dbg and the like) repeat their library and are left out.
    """
    lists = _output(
        "apt-get", "-o", "Acquire::Languages=en", "indextargets", "--format", "$(FILENAME)", "Created-By: Translations"
    ).split()
    listing = "\n\n".join(_output("/usr/lib/apt/apt-helper", "cat-file", path) for path in lists if "Translation-en" in path)
    seen: set[str] = set()
    for record in listing.split("\n\n"):
        name = re.search(r"^Package: (\S+)", record, re.MULTILINE)
        description = re.search(r"^Description-en: (.+)\n((?: .*\n?)+)", record, re.MULTILINE)
        if not name or not description or re.search(r"-(dev|dbg|dbgsym|doc|data|common|examples|l10n.*)$", name[1]):
            continue
        text = " ".join(line.strip() for line in description[2].splitlines() if line.strip() != ".")
        if len(text.split()) >= MIN_WORDS and text not in seen:
            seen.add(text)
            yield Document(name[1], description[1].strip(), text[:MAX_CHARACTERS])


def words(unpacked: Path) -> Iterator[Document]:
    """Yield WordNet's nouns: title the first name, text all names, the wider noun and the explanation."""
    lines = [line for line in _found(unpacked, "data.noun").read_text("utf-8").splitlines() if not line.startswith(" ")]
    names = {line[:8]: _names(line) for line in lines}
    for line in lines:
        explanation = line.partition(" | ")[2].strip()
        wider = re.search(r" @i? (\d{8}) n", line)
        kind = f" A kind of {names[wider[1]][0]}." if wider else ""
        if len(explanation.split()) >= MIN_WORDS:
            own = names[line[:8]]
            yield Document(f"n{line[:8]}", own[0], f"{', '.join(own)}: {explanation}.{kind}")


def office_pages(unpacked: Path) -> Iterator[Document]:
    """Yield LibreOffice's help pages."""
    for path in sorted(unpacked.rglob("text/**/*.html")):
        page = html.parse(str(path)).getroot()
        body = page.find(".//div[@id='DisplayArea']")
        text = _text(page.find("body") if body is None else body)
        if len(text.split()) >= MIN_WORDS:
            yield Document(str(path.relative_to(unpacked)), (page.findtext(".//title") or "").strip(), text)


def desktop_pages(unpacked: Path) -> Iterator[Document]:
    """Yield GNOME's English help pages (Mallard XML)."""
    for path in sorted(unpacked.rglob("help/C/**/*.page")):
        page = etree.parse(str(path)).getroot()
        mallard = "{http://projectmallard.org/1.0/}"
        for head in page.findall(f"{mallard}info"):
            page.remove(head)
        title = page.find(f"{mallard}title")
        name = "" if title is None else _text(title)
        text = _text(page).removeprefix(name).strip()
        if len(text.split()) >= MIN_WORDS:
            yield Document(str(path.relative_to(unpacked)), name, text)


def _names(line: str) -> list[str]:
    fields = line.split()
    return [fields[4 + 2 * place].replace("_", " ") for place in range(int(fields[3], 16))]


def _text(element: etree._Element) -> str:
    pieces = (
        piece for part in element.iter(etree.Element) if part.tag not in ("script", "style") for piece in (part.text, part.tail)
    )
    return re.sub(r"\s+", " ", " ".join(piece for piece in pieces if piece)).strip()[:MAX_CHARACTERS]


def _found(folder: Path, name: str) -> Path:
    paths = sorted(folder.rglob(name))
    if not paths:
        raise DataError(f"the unpacked package holds no {name}; is it another version?")
    return paths[0]


def _output(*command: str, folder: Path | None = None) -> str:
    try:
        return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        reason = (getattr(error, "stderr", "") or str(error)).strip().splitlines()[-1:]
        raise DataError(
            f"{' '.join(command)} failed ({' '.join(reason)}); this needs a Debian system with fresh package lists"
        ) from error


def _unpacked(package: str, folder: Path) -> Path:
    _output("apt-get", "download", package, folder=folder)
    archive = next(iter(folder.glob(f"{package}_*.deb")))
    _output("dpkg-deb", "--extract", archive.name, package, folder=folder)
    return folder / package


def main() -> None:
    """Write the four corpora."""
    parser = argparse.ArgumentParser(description="Write corpora out of Debian packages, as BEIR folders.")
    parser.add_argument("--out", type=Path, required=True, help="folder that gets a folder a corpus")
    out = parser.parse_args().out
    try:
        with TemporaryDirectory() as scratch:
            folder = Path(scratch)
            corpora = {
                "debian_packages": package_descriptions(),
                "debian_words": words(_unpacked("wordnet-base", folder)),
                "debian_office": office_pages(_unpacked("libreoffice-help-en-us", folder)),
                "debian_desktop": desktop_pages(_unpacked("gnome-user-docs", folder)),
            }
            for name, documents in corpora.items():
                kept = list(documents)
                write_documents(out / name, kept)
                print(f"{name}: {len(kept):,} documents")
    except SlimrankError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
