"""Studies in MLflow: a parent run for the study, a child run for each trial (`search.tracking.runs`).

MLflow is what people look at; the study's own record is complete without it, and can be written here again.
"""

from search.tracking.store import experiment_pages, tracking_uri

__all__ = ["experiment_pages", "tracking_uri"]
