"""Put generated text between two marks of a page that people write."""

from pathlib import Path


def fill(page: Path, begin: str, end: str, text: str) -> None:
    """Replace the text between the marks ``begin`` and ``end``; all other text stays.

    Raises:
        ValueError: the page does not contain each mark exactly once.
    """
    before, _, after = _parts(page, begin, end)
    page.write_text(f"{before}{begin}\n{text.rstrip()}\n{end}{after}", encoding="utf-8")


def filled(page: Path, begin: str, end: str, text: str) -> bool:
    """Return whether exactly this text is between the marks."""
    return _parts(page, begin, end)[1].strip("\n") == text.strip("\n")


def _parts(page: Path, begin: str, end: str) -> tuple[str, str, str]:
    whole = page.read_text(encoding="utf-8")
    if whole.count(begin) != 1 or whole.count(end) != 1 or whole.index(begin) > whole.index(end):
        raise ValueError(f"{page} must contain {begin} and after it {end}, each once")
    before, rest = whole.split(begin)
    inner, after = rest.split(end)
    return before, inner, after
