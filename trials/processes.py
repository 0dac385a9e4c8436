"""Processes by what no other one has: a number is given again, soon in a container."""

import os
from pathlib import Path


def identify(pid: int) -> str | None:
    """Return ``PID-START``, with the time since the machine's start at which it began; None for one that is over."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] == "Z" else f"{pid}-{fields[19]}"  # Z: over, and not waited for yet


def boot() -> str:
    """Return what distinguishes this start of the machine from any other start, and of any other machine."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def container() -> str:
    """Return what processes of one start have in common that see each other."""
    return os.readlink("/proc/self/ns/pid")


def is_alive(identity: str) -> bool:
    """Return whether the process of an `identify` is still there."""
    return identify(int(identity.partition("-")[0])) == identity
