from pathlib import Path

from search.study.next_command import dir_option, trial_commands


def test_a_folder_is_quoted_for_the_shell() -> None:
    assert dir_option(Path("runs")) == ""
    assert dir_option(Path("studies")) == " --dir studies"
    assert dir_option(Path("odd dir?a%20b")) == " --dir 'odd dir?a%20b'"


def test_a_trial_s_commands_name_its_study_and_folder() -> None:
    assert trial_commands("s", 7, root=Path("runs"), has_weights=True) == (
        "yoloret-nas export --study s --trial 7",
        "yoloret-nas predict s:7 IMAGE.jpg",
    )
    assert trial_commands("s", 7, root=Path("my runs"), has_weights=True) == (
        "yoloret-nas export --study s --trial 7 --dir 'my runs'",
        "yoloret-nas predict s:7 IMAGE.jpg --dir 'my runs'",
    )
    assert trial_commands("s", 7, root=Path("my runs"), has_weights=False) == (
        "yoloret-nas export --study s --trial 7 --refit EPOCHS --dir 'my runs'",
    )
