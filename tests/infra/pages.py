"""The documentation's pages, and the examples in them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from tests.infra.nodes import CHECKOUT

FOLDER = CHECKOUT / "docs"
_BLOCK = re.compile(
    r"(?:^<!-- (?P<mark>[^>]*?) -->\n)?^```(?P<language>\w*)\n(?P<text>.*?)^```$",
    re.DOTALL | re.MULTILINE,
)


@dataclass(frozen=True)
class Block:
    """A fenced example; ``mark`` is the comment right before it, or ""."""

    language: str
    text: str
    mark: str


@dataclass(frozen=True)
class Page:
    """One Markdown file."""

    path: Path

    @property
    def text(self) -> str:
        return self.path.read_text()

    @property
    def prose(self) -> str:
        """The text without its examples."""
        return _BLOCK.sub("", self.text)

    @property
    def anchors(self) -> set[str]:
        """What a link may name after ``#``, as GitHub makes it of the headings."""
        titles = re.findall(r"^#+ (.*)$", self.prose, re.MULTILINE)
        plain = (re.sub(r"[^\w\- ]", "", title.lower()) for title in titles)
        return {title.replace(" ", "-") for title in plain}

    @property
    def blocks(self) -> list[Block]:
        return [
            Block(match["language"], match["text"], match["mark"] or "")
            for match in _BLOCK.finditer(self.text)
        ]

    def examples(self, language: str, mark: str | None = None) -> list[str]:
        """The texts of all examples in a language, or of those with a mark."""
        return [
            block.text
            for block in self.blocks
            if block.language == language and mark in (None, block.mark)
        ]

    def rows(self) -> list[list[str]]:
        """The cells of all tables."""
        lines = re.findall(r"^\|(.*)\|$", self.prose, re.MULTILINE)
        return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)] for line in lines]


def page(name: str) -> Page:
    """A page by its name below docs/."""
    return Page(FOLDER / name)


def all_pages() -> list[Page]:
    """Every page of the project."""
    paths = [
        *CHECKOUT.glob("*.md"),
        *FOLDER.glob("*.md"),
        *CHECKOUT.glob("benchmarks/*.md"),
    ]
    return [Page(path) for path in sorted(paths)]
