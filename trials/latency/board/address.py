"""Parses a board's address ``ssh://[user@]host[:port][?name=value&…]`` such that no part can act as an option of ssh.

Names are ``trtexec``, a path on the board, and times in seconds: ``patience_s``, ``queue_limit_s``, ``build_limit_s`` and
``run_limit_s`` of `trials.latency.board.settings.SshSettings`.
"""

import re
from dataclasses import dataclass
from urllib.parse import unquote

from trials.latency.device import UnknownDeviceError

_SPEC = re.compile(
    r"ssh://"
    r"(?:(?P<user>[A-Za-z0-9_][A-Za-z0-9_.\-]{0,63})@)?"
    r"(?P<host>[A-Za-z0-9_][A-Za-z0-9_.\-]{0,252}|\[[0-9A-Fa-f:.]+(?:%[A-Za-z0-9]+)?\])"
    r"(?::(?P<port>[0-9]{1,5}))?/?"
    r"(?:\?(?P<query>[^?#]+))?"
)
"""No part starts with a dash; no part before the query has spaces, quotes, ``$`` or control characters."""

TIMES = ("patience_s", "queue_limit_s", "build_limit_s", "run_limit_s")


@dataclass(frozen=True, kw_only=True)
class SshAddress:
    """A host in terms of the user's ssh."""

    host: str
    """Name, alias of the ssh_config, or address (IPv6 without brackets)."""
    user: str = ""
    """Empty for the one of the ssh_config."""
    port: int | None = None
    """None for the one of the ssh_config."""
    trtexec: str = ""
    """Absolute path of trtexec on the board; empty to search for it."""
    times: tuple[tuple[str, float], ...] = ()
    """Settings given with the address: name and seconds."""

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = f":{self.port}" if self.port else ""
        return f"{self.user}@{host}{port}" if self.user else f"{host}{port}"

    @property
    def arguments(self) -> list[str]:
        """The arguments of ssh, with the host last and after ``--``."""
        user = ["-l", self.user] if self.user else []
        port = ["-p", str(self.port)] if self.port else []
        return [*user, *port, "--", self.host]


def parse_address(spec: str) -> SshAddress:
    """Parse a board's address.

    Raises:
        UnknownDeviceError: the text does not have this form.
    """
    match = _SPEC.fullmatch(spec)
    port = int(match["port"]) if match and match["port"] else None
    if match is None or (port is not None and not 1 <= port <= 65535):
        raise _unknown(spec)
    trtexec, times = "", {}
    for part in (match["query"] or "").split("&") if match["query"] else ():
        name, _, value = part.partition("=")
        text = unquote(value)
        if name == "trtexec" and text.startswith("/") and text.isprintable():
            trtexec = text
        elif name in TIMES and re.fullmatch(r"[0-9]{1,6}", value):
            times[name] = float(value)
        else:
            raise _unknown(spec)
    return SshAddress(
        host=match["host"].strip("[]"),
        user=match["user"] or "",
        port=port,
        trtexec=trtexec,
        times=tuple(sorted(times.items())),
    )


def _unknown(spec: str) -> UnknownDeviceError:
    scheme, colon, rest = spec.partition("://")
    hidden = re.sub(r"(?s)^([^:@]*):.*@", r"\1:***@", rest)  # ssh takes no password there, but some people write one
    shown = f"{scheme}{colon}{hidden}"
    return UnknownDeviceError(
        f"device {shown!r} is not a board's address",
        hint="use ssh://nano, ssh://user@host, ssh://user@host:2222, ssh://nano?trtexec=/path/of/trtexec or "
        f"ssh://nano?build_limit_s=3600 (times in whole seconds: {', '.join(TIMES)}); put other options of ssh into your "
        "ssh_config, under an alias",
    )
