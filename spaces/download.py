"""Files from the network: verified, whole or not at all, and gone on with where a fetch broke off."""

import hashlib
import os
import urllib.error
import urllib.request
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path

from spaces.errors import YoloRetError

_PATIENCE_S = 20.0
_CHUNK = 2**20
_ATTEMPTS = 5
_PARTIAL_CONTENT, _RANGE_NOT_SATISFIABLE = 206, 416

ReportBytes = Callable[[int, int | None], None]
"""Told how many bytes there are, and of how many (None where the server does not say)."""


class DownloadError(YoloRetError):
    """A file cannot be fetched, or is not what it should be."""


def fetch_file(
    url: str, path: Path, *, checksum: str, report: ReportBytes = lambda done, whole: None, hint: str = ""
) -> Path:
    """Fetch a file unless it is there; what a broken fetch left (``….partial``) is gone on with.

    Args:
        url: Where it is.
        path: Where to put it; its folder is made.
        checksum: ``md5:…`` or ``sha256:…`` in hexadecimal digits, a whole digest or the head of one.
        report: Told how it goes.
        hint: The way out, for the error.

    Raises:
        DownloadError: it cannot be reached, or its content is another; nothing is left but the partial file of a fetch
            that can go on.
    """
    if path.is_file():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.partial")
    for attempt in range(_ATTEMPTS):
        before = _size(partial)
        try:
            _append(url, partial, report)
            break
        except urllib.error.HTTPError as error:
            raise DownloadError(f"{url} cannot be fetched: {error.code} {error.reason}", hint=hint) from error
        except (OSError, HTTPException) as error:
            # One that got further deserves another attempt; one that got nowhere is out of reach.
            if _size(partial) == before or attempt == _ATTEMPTS - 1:
                raise DownloadError(
                    f"{url} cannot be fetched: {getattr(error, 'reason', error) or type(error).__name__}", hint=hint
                ) from error
    kind, _, wanted = checksum.partition(":")
    found = _digest(partial, kind)
    if not found.startswith(wanted):
        partial.unlink()
        raise DownloadError(f"{url} is not what was expected: its {kind} is {found}, not {wanted}", hint=hint)
    os.replace(partial, path)
    return path


def _append(url: str, partial: Path, report: ReportBytes) -> None:
    done = _size(partial)
    headers = {"User-Agent": "yoloret-nas", **({"Range": f"bytes={done}-"} if done else {})}
    try:
        response = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=_PATIENCE_S)
    except urllib.error.HTTPError as error:
        if done and error.code == _RANGE_NOT_SATISFIABLE:  # all of it is there; the checksum tells
            return
        raise
    with response, partial.open("ab") as file:
        if done and response.status != _PARTIAL_CONTENT:  # a server that knows no ranges begins anew
            file.truncate(0)
            done = 0
        length = response.headers.get("Content-Length")
        whole = done + int(length) if length else None
        while chunk := response.read(_CHUNK):
            file.write(chunk)
            done += len(chunk)
            report(done, whole)
        if whole is not None and done < whole:
            raise ConnectionError(f"it broke off after {done} of {whole} bytes")


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _digest(path: Path, kind: str) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, kind).hexdigest()
