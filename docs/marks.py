"""Put text that a program made between two marks of a page that people write."""

from pathlib import Path


def fill(page: Path, begin: str, end: str, text: str) -> None:
    """Replace what stands between ``begin`` and ``end``; the marks and all around them stay.

    Raises:
        ValueError: the page does not hold each mark once.
    """
    before, _, after = _parts(page, begin, end)
    page.write_text(f"{before}{begin}\n{text.rstrip()}\n{end}{after}", encoding="utf-8")


def filled(page: Path, begin: str, end: str, text: str) -> bool:
    """Tell whether just this text stands between the marks."""
    return _parts(page, begin, end)[1].strip("\n") == text.strip("\n")


def _parts(page: Path, begin: str, end: str) -> tuple[str, str, str]:
    whole = page.read_text(encoding="utf-8")
    if whole.count(begin) != 1 or whole.count(end) != 1 or whole.index(begin) > whole.index(end):
        raise ValueError(f"{page} must hold {begin} and after it {end}, each once")
    before, rest = whole.split(begin)
    inner, after = rest.split(end)
    return before, inner, after
