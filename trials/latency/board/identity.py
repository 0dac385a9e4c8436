"""What a latency measured on a board holds for."""

from trials.latency.board.probe import Board, BoardState
from trials.latency.device import DeviceIdentity


def identity_of(board: Board, state: BoardState) -> DeviceIdentity:
    """Give the identity of a board in some state."""
    settings = {"L4T": board.l4t, "power mode": state.power_mode, "GPU clock": _clock(state)}
    graph = "CUDA graph" if board.trtexec.uses_cuda_graph else ""
    return DeviceIdentity(
        kind="ssh",
        board=board.model,
        backend=f"TensorRT {board.trtexec.version}",
        precision="fp16",
        settings={name: value for name, value in {**settings, "launch": graph}.items() if value},
    )


def _clock(state: BoardState) -> str:
    if state.is_clock_locked is None or state.gpu_max_mhz is None:
        return ""
    return f"{'locked at' if state.is_clock_locked else 'free up to'} {state.gpu_max_mhz:.0f} MHz"
