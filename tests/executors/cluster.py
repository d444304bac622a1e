"""A Ray cluster of several nodes on this machine, as small as they come."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from typing import Any

import pytest

NODE = {"num_cpus": 1, "object_store_memory": 80 * 1024 * 1024, "include_dashboard": False}


@contextlib.contextmanager
def cluster(nodes: int = 2) -> Iterator[Any]:
    """A head without processors, and nodes with one each."""
    pytest.importorskip("ray", reason="needs the extra ray")
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    from ray.cluster_utils import Cluster

    with tempfile.TemporaryDirectory(prefix="vr-", ignore_cleanup_errors=True) as folder:
        made = Cluster(initialize_head=True, head_node_args={**NODE, "num_cpus": 0, "temp_dir": folder})
        try:
            for _ in range(nodes):
                made.add_node(**NODE)
            yield made
        finally:
            made.shutdown()
