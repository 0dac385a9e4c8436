"""Studies in MLflow: a parent run for the study, a child run for each trial.

`Tracking` (`search.tracking.tracking`) writes them from a thread of its own, by `StudyRuns` (`search.tracking.runs`). MLflow
is what people look at; the study's own record is complete without it, and can be written here again.
"""
