"""A session on the stand-in board that may fail: with ``failing`` in faults.json, that share of all sessions does."""

import json
import os
import random
import signal
import sys
import time
from pathlib import Path


def main(board: Path) -> None:
    misbehave(board)
    os.execv("/bin/sh", ["sh", "-c", os.environ.get("SSH_ORIGINAL_COMMAND", "true")])


def misbehave(board: Path) -> None:
    faults = json.loads((board / "faults.json").read_text())
    share = faults.get("failing", 0.0)
    if random.random() < share:
        way = random.choice(["refuse", "cut", "cut_later"])
        with (board / "failures.txt").open("a") as record:
            record.write(f"{way}\n")
        if way == "refuse":
            sys.exit(255)
        if way == "cut" or os.fork() == 0:
            time.sleep(0 if way == "cut" else random.uniform(0, 0.5))
            cut_connection()
            os._exit(0)


def cut_connection() -> None:
    """Kill the sshd process that serves this session, as a pulled cable would end it."""
    os.kill(connection(), signal.SIGKILL)


def connection() -> int:
    """Find the sshd among this process's ancestors."""
    pid = os.getppid()
    while pid > 1:
        stat = Path(f"/proc/{pid}/stat").read_text()
        if "(sshd" in stat:
            return pid
        pid = int(stat.rsplit(")", 1)[1].split()[1])
    raise ProcessLookupError("no sshd above this process")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
