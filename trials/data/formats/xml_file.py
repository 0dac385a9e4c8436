"""Reads XML files from outside, in the encoding that they declare."""

import re
from pathlib import Path
from xml.etree import ElementTree

_DECLARED = re.compile(rb"""<\?xml[^>]*?\bencoding\s*=\s*["']([-\w.:]+)["']""")
_FAULTS = (ElementTree.ParseError, ValueError, LookupError)  # LookupError: the encoding is unknown


def parse_xml(path: Path) -> ElementTree.Element:
    """Return an XML file's root.

    The parser itself knows no encoding of several bytes a letter but Unicode's: not GB2312, Shift JIS or EUC-KR, which
    editors write.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is not XML; with the reason.
    """
    content = path.read_bytes()
    try:
        declared = _DECLARED.match(content)
        if declared and not declared[1].lower().startswith(b"utf"):
            return ElementTree.fromstring(content.decode(declared[1].decode()))
        return ElementTree.fromstring(content)
    except _FAULTS as error:
        raise ValueError(f"the XML is broken: {error}") from error


def has_root(head: bytes, tag: str) -> bool:
    """Return whether the first bytes of an XML file open an element of this name before any other."""
    opened = re.search(rb"<([A-Za-z_][^\s/>]*)", head)
    return opened is not None and opened[1] == tag.encode()
