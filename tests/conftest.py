"""Fixtures that tests of several packages share."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.trials.board.loopback import LoopbackBoard, loopback_board, missing

PutUpBoard = Callable[..., LoopbackBoard]


@pytest.fixture
def put_up_board(tmp_path: Path) -> Iterator[PutUpBoard]:
    """Puts up stand-in boards behind a real sshd on loopback; takes them down at the end."""
    if reason := missing():
        pytest.skip(reason)
    with contextlib.ExitStack() as stack:

        def put_up(name: str = "board", **settings: Any) -> LoopbackBoard:
            return stack.enter_context(loopback_board(tmp_path / name, **settings))

        yield put_up


@pytest.fixture
def board(put_up_board: PutUpBoard, monkeypatch: pytest.MonkeyPatch) -> LoopbackBoard:
    """A stand-in Jetson Nano with TensorRT 8.2.1 that ``ssh://board`` reaches, in this process and its children."""
    found = put_up_board()
    monkeypatch.setenv("YOLORET_NAS_SSH_CONFIG", str(found.config))
    return found
