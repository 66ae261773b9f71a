"""The pages of the documentation and the code blocks in them."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
CARDS = sorted((ROOT / "models").glob("*/README.md"))
# The log keeps the commands that were typed at the time, so that only its links and its form are checked.
LOG = [ROOT / "docs" / "LOG.md", *sorted((ROOT / "docs" / "log").glob("*.md"))]
# The pages that tell a reader what to type.
GUIDES = [
    *sorted((ROOT / "docs" / "guides").glob("*.md")),
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "docs/training.md")),
    *CARDS,
]
PAGES = [
    *GUIDES,
    *(ROOT / "docs" / name for name in ("architecture.md", "maintainers.md", "reference.md")),
    *sorted((ROOT / "docs" / "decisions").glob("*.md")),
    ROOT / "CHANGELOG.md",
]
_BLOCK = re.compile(r"^( *)```(\w+)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)


def blocks(page: Path, language: str) -> list[str]:
    """Return the fenced blocks of a language, without the indentation of their fence."""
    found = _BLOCK.findall(page.read_text(encoding="utf-8"))
    return [re.sub(rf"^{indent}", "", text, flags=re.MULTILINE) for indent, name, text in found if name == language]


def commands(pages: Sequence[Path] = tuple(PAGES)) -> list[str]:
    """Return every command of the pages once; a command continues after a backslash and inside quotes, and ends at a comment."""
    found = (command for page in pages for block in blocks(page, "sh") for command in _whole(block.replace("\\\n", "")))
    return list(dict.fromkeys(found))


def _whole(block: str) -> Iterator[str]:
    held = ""
    for line in block.splitlines():
        held += re.sub(r"(^| {2,})#.*", "", line) if not held else f"\n{line}"
        if held.count("'") % 2 == 0:
            if held.strip():
                yield held.strip()
            held = ""
