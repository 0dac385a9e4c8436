"""Studies in MLflow: a parent run for the study, a child run for each trial.

MLflow is what people look at; the study's own record is complete without it, and can be written here again.
"""

from search.tracking.runs import Tracking, log_report
from search.tracking.store import experiment_pages, tracking_uri

__all__ = ["Tracking", "experiment_pages", "log_report", "tracking_uri"]
