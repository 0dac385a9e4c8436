"""A board on loopback: a real sshd, and behind it a stand-in for trtexec."""
