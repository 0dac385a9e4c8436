"""Which trials' weights a study keeps: those of its front, or all.

A trial that another one beats in AP and latency never returns to the front, so its weights are hardly ever wanted, and they
are most of what a trial leaves: its checkpoint and its ONNX file. Its figures, its architecture and its picture stay.
"""

from search.study.settings import StudySettings
from search.study.summary import Summary
from trials.training import CHECKPOINT_FILE
from trials.trial_result import ONNX_FILE

WEIGHTS = (CHECKPOINT_FILE, ONNX_FILE)


def delete_weights(settings: StudySettings, summary: Summary) -> None:
    """Delete the weights of trials that are not on the front, unless the study keeps all; those of failed trials stay.

    Args:
        settings: The study.
        summary: Its finished trials.
    """
    if settings.keep == "all":
        return
    front = {record.number for record in summary.front}
    for record in summary.records:
        if record.number not in front and record.result.state != "failed":
            for name in WEIGHTS:
                (settings.trial_folder(record.number) / name).unlink(missing_ok=True)
