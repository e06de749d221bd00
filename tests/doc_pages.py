"""The pages of the documentation, cut into the blocks of code that tests run."""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))

# A fence may be indented, inside of a tab or a list.
FENCE = re.compile(
    r"^(?P<indent> *)```(?P<language>[\w+]*)(?P<options>[^\n`]*)\n(?P<code>.*?)^(?P=indent)``` *$", re.M | re.S
)
INLINE_CODE = re.compile(r"`[^`\n]*`")
INCLUDE = "--8<--"
PRINTS = 'title="prints"'


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, what follows that, its text and the line of the page where that begins."""

    language: str
    options: str
    code: str
    line: int

    @property
    def is_output(self) -> bool:
        """Is it what the block before prints?"""
        return PRINTS in self.options


def name(page: Path) -> str:
    return page.relative_to(DOCS).as_posix()


def blocks(page: Path, language: str | None = None) -> list[Block]:
    """The blocks of a page, without those that only include a file (which has tests of its own)."""
    text = page.read_text()
    found = [
        Block(
            match["language"],
            match["options"],
            textwrap.dedent(match["code"]),
            text.count("\n", 0, match.start("code")) + 1,
        )
        for match in FENCE.finditer(text)
    ]
    return [b for b in found if INCLUDE not in b.code and language in (None, b.language)]


def prose(page: Path) -> str:
    """A page without its code."""
    return INLINE_CODE.sub("", FENCE.sub("", page.read_text()))


def pages_with(language: str) -> list[Path]:
    return [page for page in PAGES if blocks(page, language)]


def anchors(page: Path) -> set[str]:
    """Of its headings, as the toc extension of Markdown makes them."""
    headings = re.findall(r"^#+ +(.+)$", FENCE.sub("", page.read_text()), re.M)
    plain = (re.sub(r"[^\w\s-]", "", heading).strip().lower() for heading in headings)
    return {re.sub(r"[-\s]+", "-", heading) for heading in plain}
