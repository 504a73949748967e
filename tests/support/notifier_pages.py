"""Reads HTML as a browser would, as far as these tests need it."""

from __future__ import annotations

from html.parser import HTMLParser

_VOID = {"meta", "br"}
_BLOCKS = {"p", "h1", "li", "ul", "div", "br"}


class Page(HTMLParser):
    """What is on a page."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.unclosed: list[str] = []
        self._parts: list[str] = []

    @classmethod
    def read(cls, text: str) -> Page:
        page = cls()
        page.feed(text)
        page.close()
        return page

    @property
    def visible(self) -> str:
        """Its text, a line for each line."""
        lines = "".join(self._parts).split("\n")
        return "\n".join(line for line in lines if line)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes.update(name for name, _ in attrs)
        if tag not in _VOID:
            self.unclosed.append(tag)
        if tag in _BLOCKS:
            self._parts.append("\n")

    def handle_endtag(self, tag: str) -> None:
        self.tags.add(tag)
        if not self.unclosed or self.unclosed.pop() != tag:
            self.unclosed.append(f"/{tag}")

    def handle_data(self, data: str) -> None:
        self._parts.append(data)

    def handle_comment(self, _: str) -> None:
        self.tags.add("!--")

    def handle_pi(self, _: str) -> None:
        self.tags.add("?")

    def unknown_decl(self, _: str) -> None:
        self.tags.add("![")
