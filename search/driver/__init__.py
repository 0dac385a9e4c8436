"""Runs a study or an experiment: starts trials on an executor, hears how they go, records how they end.

`search.driver.search.run_search` and `search.driver.experiment.run_experiment` are the entry points; one `Driver` runs both.
"""

from search.driver.executor import Died, Event, Executor, Finished, Lost, Progressed

__all__ = ["Died", "Event", "Executor", "Finished", "Lost", "Progressed"]
