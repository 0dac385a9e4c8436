"""What is seen while a search opens its data, and while it trains shared weights."""

from collections.abc import Callable
from io import StringIO

import pytest
from rich.console import Console

from search.front.pareto import Reference
from search.front.summary import Summary
from spaces import Architecture
from trials.progress import Progress
from yoloret_nas.options.data import fetch_data, showing_check, showing_images
from yoloret_nas.terminal.live_view import LiveView


def seen(*, is_terminal: bool) -> tuple[LiveView, Console, StringIO]:
    file = StringIO()
    console = Console(file=file, force_terminal=is_terminal, width=100)
    return LiveView(console), console, file


def test_a_terminal_shows_how_many_images_are_decoded() -> None:
    view, console, file = seen(is_terminal=True)
    for done in (0, 1, 3):
        view.checking_images(done, 5000)
    console.print(view._render())
    assert "3/5000 images decoded" in file.getvalue()
    view.checking_images(5000, 5000)
    console.print(view._render())
    assert "opening the study" in file.getvalue()


def test_a_file_says_once_that_images_are_decoded() -> None:
    view, _, file = seen(is_terminal=False)
    for done in range(4):
        view.checking_images(done, 3)
    assert file.getvalue() == "note: decoding 3 images once, to find broken ones before the first trial\n"


def test_the_other_commands_show_a_bar_on_a_terminal() -> None:
    _, console, file = seen(is_terminal=True)
    with showing_check(console) as report:
        report(0, 9)
        report(4, 9)
    assert "decoding images" in file.getvalue()
    assert "4/9" in file.getvalue()


def test_a_bar_takes_a_file_s_name_for_no_format() -> None:
    _, console, file = seen(is_terminal=True)
    with showing_images(console, "clip{1}[b].mp4: detecting in", noun="frame(s)") as report:
        report(4, 9)
    assert "clip{1}[b].mp4: detecting in frames" in file.getvalue()


def test_a_terminal_shows_how_far_shared_weights_are() -> None:
    view, console, file = seen(is_terminal=True)
    view.opened(Summary(records=(), reference=Reference(ap=0.0, latency_ms=1.0)), budget=20)
    view.started(-1, Architecture(backbone="mobilenetv2_050", truncation=16))
    for progress, shown in (
        (Progress(phase="build"), "shared weights: building"),
        (
            Progress(phase="train", epoch=2, num_epochs=24, step=3, num_steps=9, loss=1.25),
            "shared weights: training, epoch 2/24 step 3/9, loss 1.250",
        ),
        (Progress(phase="score", step=7, num_steps=64), "shared weights: scoring networks, 7/64"),
    ):
        view.progressed(-1, progress)
        console.print(view._render())
        assert shown in file.getvalue()
        assert "trial -1" not in file.getvalue()
    view.put_back(-1)
    assert view._running == {}


def test_a_file_names_each_archive_that_is_fetched_once(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fetch(name: str, report: Callable[[str, int, int | None], None]) -> None:
        for done in (0, 1, 2):
            report("first.tar", done, 2_800_000_000)
        report("second.tar", 1, None)

    monkeypatch.setattr("trials.data.known_datasets.fetch_known", fetch)
    for is_terminal in (True, False):
        _, console, file = seen(is_terminal=is_terminal)
        fetch_data("voc", console)
        assert ("first.tar" in file.getvalue()) == is_terminal
        assert capsys.readouterr().err == ("" if is_terminal else "fetching first.tar (2.8 GB)\nfetching second.tar\n")
    fetch_data("voc", Console(quiet=True, force_terminal=False))
    assert capsys.readouterr() == ("", "")
