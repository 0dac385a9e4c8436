"""What is seen while a search opens its data."""

from io import StringIO

from rich.console import Console

from yoloret_nas.options.data import showing_check
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
