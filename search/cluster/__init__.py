"""Trials on a Ray cluster: the same search, with trainings on its nodes and each latency device measured from one host.

The driver stays as it is and runs where the user started it; `RayExecutor` takes the place of the executor of local
processes, and `ClusterDevices` of this machine's devices.
"""

from search.cluster.connection import ClusterError, Resources, connected, whole_cluster
from search.cluster.devices import ClusterDevices, check_host
from search.cluster.ray_executor import RayExecutor

__all__ = ["ClusterDevices", "ClusterError", "RayExecutor", "Resources", "check_host", "connected", "whole_cluster"]
