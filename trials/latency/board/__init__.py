"""A Jetson, or another machine with trtexec, as a latency device over the system's ssh.

A session holds the board's queue; in it TensorRT engines are built, kept and timed, and trtexec's output is read.
"""

from trials.latency.board.address import parse_address
from trials.latency.board.probe import Board
from trials.latency.board.settings import SshSettings
from trials.latency.board.ssh_device import SshDevice

__all__ = ["Board", "SshDevice", "SshSettings", "parse_address"]
