import pytest

from trials.latency import DeviceAwayError, DeviceError
from trials.latency.retry import retry_while_away


class _Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class _Away:
    """Is away so many times, each attempt taking so long."""

    def __init__(self, clock: _Clock, times: int, *, seconds: float = 0.0) -> None:
        self.clock, self.left, self.seconds, self.num_reset = clock, times, seconds, 0

    def __call__(self) -> str:
        self.clock.now += self.seconds
        if self.left:
            self.left -= 1
            raise DeviceAwayError("nano is away", hint="switch it on")
        return "here"

    def reset(self) -> None:
        self.num_reset += 1


def _try(times: int, *, patience_s: float, seconds: float = 0.0) -> tuple[str, _Away]:
    clock = _Clock()
    away = _Away(clock, times, seconds=seconds)
    return retry_while_away(away, patience_s=patience_s, reset=away.reset, clock=clock, sleep=clock.sleep), away


def test_it_waits_for_a_minute() -> None:
    result, away = _try(8, patience_s=300)
    assert (result, away.num_reset) == ("here", 8)
    assert 60 < away.clock.now < 120


def test_without_patience_there_is_one_attempt() -> None:
    with pytest.raises(DeviceAwayError, match=r"^nano is away\n"):
        _try(1, patience_s=0)


def test_it_gives_up_and_says_how_long_it_tried() -> None:
    with pytest.raises(DeviceAwayError, match=r"nano is away \(\d+ attempts in 3\d\d s\)") as caught:
        _try(100, patience_s=300)
    assert caught.value.hint == "switch it on"


def test_long_attempts_are_made_a_few_times_all_the_same() -> None:
    assert _try(3, patience_s=300, seconds=1200)[0] == "here"
    with pytest.raises(DeviceAwayError, match="4 attempts"):
        _try(4, patience_s=300, seconds=1200)


def test_a_reboot_in_the_middle_of_a_long_attempt_is_waited_for() -> None:
    """A board builds for minutes; then it is away for one, as long as it takes to start again."""
    clock, seconds = _Clock(), iter([1200.0])

    def build() -> str:
        clock.now += next(seconds, 0.0)
        if clock.now < 1260:
            raise DeviceAwayError("nano is away")
        return "here"

    assert retry_while_away(build, patience_s=300, reset=lambda: None, clock=clock, sleep=clock.sleep) == "here"


def test_a_board_that_each_build_ends_is_not_tried_for_ever() -> None:
    clock, attempts = _Clock(), list[float]()

    def build() -> str:
        clock.now += 1200
        attempts.append(clock.now)
        raise DeviceAwayError("nano is away")

    with pytest.raises(DeviceAwayError, match="4 attempts in 48"):
        retry_while_away(build, patience_s=300, reset=lambda: None, clock=clock, sleep=clock.sleep)
    assert len(attempts) == 4


def test_other_errors_are_final() -> None:
    def fail() -> str:
        raise DeviceError("no operator")

    with pytest.raises(DeviceError, match="no operator"):
        retry_while_away(fail, patience_s=300, reset=lambda: None)
