"""The page that MLflow's UI opens on: columns, order and charts of a study, prepared as its Share button would.

MLflow keeps a shared view as a tag of the experiment, and a link names it. Its form is not documented: this is what MLflow
3.14 to 3.17 read. Where another version does not, its UI says that the view cannot be loaded, and shows its own page.
"""

import json
from collections.abc import Sequence
from typing import Any

VIEW_TAG = "mlflow.sharedViewState.yoloret"
"""Name of the experiment's tag."""
SHARE_KEY = "&viewStateShareKey=yoloret"
"""What to add to the path of an experiment's page."""
CHARTS = "&compareRunsMode=CHART"
"""What to add for charts instead of the table: AP against latency, every axis at once, AP by epoch."""

_TAGS = ("yoloret.state", "yoloret.front")
_METRICS = ("ap", "ap_estimate", "ap50", "latency_ms", "latency_p99_ms", "macs_m", "params_m")
_SECTION = "yoloret-section"


def view_state(open_axes: Sequence[str]) -> str:
    """Return the tag's value.

    Args:
        open_axes: Axes with several values, which get a column each and a place in the chart of all axes.
    """
    common = {"metricSectionId": _SECTION, "deleted": False, "isGenerated": False}
    charts: list[dict[str, Any]] = [
        {
            **common,
            "type": "SCATTER",
            "uuid": "yoloret-scatter",
            "runsCountToCompare": 500,
            "xaxis": {"key": "latency_ms", "type": "METRIC"},
            "yaxis": {"key": "ap", "type": "METRIC"},
        },
        {
            **common,
            "type": "PARALLEL",
            "uuid": "yoloret-parallel",
            "runsCountToCompare": 500,
            "selectedParams": list(open_axes),
            "selectedMetrics": ["latency_ms", "ap"],
            "showAllRuns": False,
        },
        {
            **common,
            "type": "LINE",
            "uuid": "yoloret-curves",
            "runsCountToCompare": 500,
            "metricKey": "val_ap",
            "selectedMetricKeys": ["val_ap"],
            "xAxisKey": "step",
        },
    ]
    section = {
        "uuid": _SECTION,
        "name": "Study",
        "display": True,
        "isReordered": False,
        "deleted": False,
        "isGenerated": False,
    }
    columns = [
        *(f"tags.`{name}`" for name in _TAGS),
        *(f"metrics.`{name}`" for name in _METRICS),
        *(f"params.`{name}`" for name in open_axes),
    ]
    if not open_axes:
        charts = [chart for chart in charts if chart["type"] != "PARALLEL"]
    return json.dumps(
        {
            # In the order of start times MLflow folds trials under their study; in any other it lists them.
            "orderByKey": "metrics.`latency_ms`",
            "orderByAsc": True,
            "selectedColumns": columns,
            "runsHiddenMode": "SHOW_ALL",
            "compareRunCharts": charts,
            "compareRunSections": [section],
        }
    )
