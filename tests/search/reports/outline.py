"""The tags of a written page, its text, and the data in it."""

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

HOSTILE = "</script><script>alert(1)</script><!--<script> {{title}} {{data}} <b>%{x}</b> & \" ' \u2028 é"
"""What would be markup, a placeholder or the end of a script, were it not escaped."""


class Outline(HTMLParser):
    """The tags of a page and what its script holds; the parser knows, as browsers do, where a script ends."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.opened: list[str] = []
        self.unclosed: list[str] = []
        self.addresses: list[str] = []
        self.names: set[str] = set()
        self.text: dict[str, str] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.opened.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "action", "data")]
        self.names |= {value or "" for name, value in attrs if name == "id"}
        if tag != "meta":
            self.unclosed.append(" ".join((tag, *(value or "" for name, value in attrs if name == "type"))))

    def handle_endtag(self, tag: str) -> None:
        assert self.unclosed.pop().split()[0] == tag

    def handle_data(self, data: str) -> None:
        if self.unclosed:
            self.text[self.unclosed[-1]] = self.text.get(self.unclosed[-1], "") + data

    @property
    def data(self) -> dict[str, Any]:
        return json.loads(self.text["script application/json"])


def read(path: Path) -> Outline:
    outline = Outline()
    outline.feed(path.read_text(encoding="utf-8"))
    outline.close()
    return outline
