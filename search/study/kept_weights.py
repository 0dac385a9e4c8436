"""Which trials' weights a study keeps: those of its front, or all.

A trial that another one beats in AP and latency never returns to the front, so its weights are hardly ever wanted, and they
are most of what a trial leaves: its checkpoint and its ONNX file. Its figures, its architecture and its picture stay.
"""

from search.front.summary import Summary
from search.study.settings import StudySettings
from trials.training import CHECKPOINT_FILE
from trials.trial_result import ONNX_FILE

WEIGHTS = (CHECKPOINT_FILE, ONNX_FILE)


def delete_weights(settings: StudySettings, summary: Summary) -> int:
    """Delete the weights of trials that are not on the front; those of failed trials stay.

    Args:
        settings: The study.
        summary: Its finished trials.

    Returns:
        How many trials had weights.
    """
    front = {record.number for record in summary.front}
    num_deleted = 0
    for record in summary.records:
        if record.number not in front and record.result.state != "failed":
            paths = [settings.trial_folder(record.number) / name for name in WEIGHTS]
            num_deleted += any(path.is_file() for path in paths)
            for path in paths:
                path.unlink(missing_ok=True)
    return num_deleted
