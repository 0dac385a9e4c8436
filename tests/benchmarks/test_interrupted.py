"""What an interrupted benchmark leaves, and what one does whose server ends."""

from pathlib import Path

import pytest

from benchmarks import many_trials_in_mlflow, open_dataset


def test_a_dataset_that_was_not_written_to_its_end_is_not_taken_for_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(data: Path, images: list[Path]) -> None:
        data.mkdir()
        raise KeyboardInterrupt

    monkeypatch.setitem(open_dataset._WRITE, "voc", write)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            open_dataset._write(tmp_path, tmp_path / "voc-1", "voc", num_images=1)
        assert not (tmp_path / "voc-1").exists()


def test_a_server_that_ends_before_it_answers_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(many_trials_in_mlflow.sys, "executable", "false")
    with (
        pytest.raises(SystemExit, match=r"^false -m yoloret_nas ui .* ended with 1 before it answered"),
        many_trials_in_mlflow._ui(tmp_path),
    ):
        pass
