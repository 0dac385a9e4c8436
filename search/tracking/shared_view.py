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
"""What to add for charts instead of the table: AP against latency, AP by epoch, every axis at once."""

_TAGS = ("yoloret.state", "yoloret.front")
_RANK = "yoloret.rank"
_METRICS = ("ap", "latency_ms", "ap_estimate", "ap50", "latency_p99_ms", "macs_m", "params_m")
_NAME = "attributes.`Run Name`"
_NAME_PX, _FIGURE_PX = 300, 88
"""Widths with which all columns fit a window of 1600 pixels; beside MLflow's assistant, the first three figures do."""
_STUDY, _AXES = "yoloret-study", "yoloret-axes"


def view_state(open_axes: Sequence[str]) -> str:
    """Return the tag's value.

    Args:
        open_axes: Axes with several values, which get a place in the chart of all axes.
    """
    charts: list[dict[str, Any]] = [
        {
            **_chart("SCATTER", _STUDY),
            "xaxis": {"key": "latency_ms", "type": "METRIC"},
            "yaxis": {"key": "ap", "type": "METRIC"},
        },
        {
            **_chart("LINE", _STUDY),
            "metricKey": "val_ap",
            "selectedMetricKeys": ["val_ap"],
            "xAxisKey": "step",
        },
    ]
    sections = [_section("AP and latency", _STUDY, columns=2)]  # MLflow shows them by name
    if open_axes:
        sections.append(_section("Axes", _AXES, columns=1))
        charts.append(
            {
                **_chart("PARALLEL", _AXES),
                "selectedParams": list(open_axes),
                "selectedMetrics": ["latency_ms", "ap"],
                "showAllRuns": False,
            }
        )
    # The axes have no columns: they would take the width of the figures, and the runs' names tell them.
    columns = [*(f"metrics.`{name}`" for name in _METRICS[:3]), *(f"tags.`{name}`" for name in _TAGS)]
    columns += [f"metrics.`{name}`" for name in _METRICS[3:]]
    return json.dumps(
        {
            # A page loads 100 runs at first, and its charts show these: the front, the fastest first, then the newest.
            # In the order of start times alone MLflow would fold trials under their study.
            "orderByKey": f"tags.`{_RANK}`",
            "orderByAsc": True,
            "selectedColumns": columns,
            "columnOrder": [_NAME, *columns],
            "columnWidths": {_NAME: _NAME_PX, **dict.fromkeys(columns, _FIGURE_PX)},
            "runsHiddenMode": "SHOW_ALL",
            "compareRunCharts": charts,
            "compareRunSections": sections,
        }
    )


def _chart(kind: str, section: str) -> dict[str, Any]:
    return {
        "type": kind,
        "uuid": f"yoloret-{kind.lower()}",
        "metricSectionId": section,
        "runsCountToCompare": 500,
        "deleted": False,
        "isGenerated": False,
    }


def _section(name: str, uuid: str, *, columns: int) -> dict[str, Any]:
    return {
        "uuid": uuid,
        "name": name,
        "columns": columns,
        "display": True,
        "isReordered": False,
        "deleted": False,
        "isGenerated": False,
    }
