"""The pages of the documentation and the code blocks in them."""

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
GUIDES = [*sorted((ROOT / "docs" / "guides").glob("*.md")), ROOT / "CONTRIBUTING.md"]
PAGES = [*GUIDES, ROOT / "docs" / "architecture.md", ROOT / "docs" / "reference.md", ROOT / "CHANGELOG.md"]
_BLOCK = re.compile(r"^( *)```(\w+)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)


def blocks(page: Path, language: str) -> list[str]:
    """Return the fenced blocks of a language, without the indentation of their fence."""
    found = _BLOCK.findall(page.read_text(encoding="utf-8"))
    return [re.sub(rf"^{indent}", "", text, flags=re.MULTILINE) for indent, name, text in found if name == language]


def commands() -> list[str]:
    """Return every command of the guides, each once; a line that ends in a backslash goes on in the next."""
    lines = (line for page in GUIDES for block in blocks(page, "sh") for line in block.replace("\\\n", "").splitlines())
    return list(dict.fromkeys(line.strip() for line in lines if line.strip() and not line.startswith("#")))
