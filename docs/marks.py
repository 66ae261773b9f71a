"""Put text that a program made between two marks of a page that people write."""

from pathlib import Path


def fill(page: Path, begin: str, end: str, text: str) -> None:
    """Replace what stands between ``begin`` and ``end``; the marks and all around them stay."""
    before, _, rest = page.read_text(encoding="utf-8").partition(begin)
    _, _, after = rest.partition(end)
    page.write_text(f"{before}{begin}\n{text.rstrip()}\n{end}{after}", encoding="utf-8")
