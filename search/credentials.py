"""Credentials in texts: a tracking URI may hold a password or a token, and errors of MLflow quote the URI."""

import re

_USER = re.compile(r"(?<=://)\S*@")  # greedy: a password may hold any of / : @
_QUERY = re.compile(r"([?&][^=&\s]+=)[^&\s]*")


def without_credentials(text: str) -> str:
    """Return a text with user, password and query values of all its URIs replaced by ``***``.

    >>> without_credentials("cannot reach https://me:secret@host/path?token=secret")
    'cannot reach https://***@host/path?token=***'
    """
    return _QUERY.sub(r"\1***", _USER.sub("***@", text))
