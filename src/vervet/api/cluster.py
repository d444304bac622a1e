"""What a Ray cluster offers: asked of every node itself."""

from __future__ import annotations

import platform
from types import ModuleType
from typing import Any

from vervet.executors import _ray_cluster as cluster
from vervet.version import __version__

_WAIT_S = 60.0
# for a node's word; the first task there starts a process
_PLAIN = ("CPU", "GPU", "memory", "object_store_memory")


def doctor_of_cluster(address: str | None) -> dict[str, Any]:
    """Every node's resources, versions and sandbox: vervet.cluster/1. `sandbox`: some node can isolate untrusted code.

    Raises: MissingPart, BadOption, ServiceError, UserError with one line about what is wrong with the cluster.
    """
    ray, mine = cluster.connect(address)
    try:
        rows = _asked(ray, cluster.nodes(ray))
    finally:
        if mine:
            ray.shutdown()
    return {"schema": "vervet.cluster/1", "sandbox": any(row["ok"] for row in rows), "nodes": rows}


def _asked(ray: ModuleType, nodes: list[cluster.Node]) -> list[dict[str, Any]]:
    strategy: Any = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy
    ask = ray.remote(num_cpus=0, max_retries=0)(facts_of_this_node)
    asked = [ask.options(scheduling_strategy=strategy(node.id, soft=False)).remote() for node in nodes]
    ray.wait(asked, num_returns=len(asked), timeout=_WAIT_S)
    return [_row(node, _word(ray, reference)) for node, reference in zip(nodes, asked, strict=True)]


def _word(ray: ModuleType, reference: Any) -> dict[str, Any]:
    try:
        said: dict[str, Any] = ray.get(reference, timeout=0.1)
    except Exception as error:
        lines = [line.strip() for line in str(error).splitlines() if "Error" in line]
        return {"vervet": "", "python": "", "sandbox": False, "detail": (lines or ["it does not answer"])[-1][:200]}
    return said


def _row(node: cluster.Node, said: dict[str, Any]) -> dict[str, Any]:
    special = {
        k: v for k, v in node.resources.items() if k not in _PLAIN and not k.startswith(("node:", "accelerator_"))
    }
    detail = said["detail"]
    if said["vervet"] not in ("", __version__):
        detail = f"vervet {said['vervet']} is installed there, {__version__} here: install the same"
    return {
        "node": node.id,
        "address": node.address,
        "cpus": node.resources.get("CPU", 0.0),
        "gpus": node.resources.get("GPU", 0.0),
        "offers": special,
        "vervet": said["vervet"],
        "python": said["python"],
        "ok": said["sandbox"] and said["vervet"] == __version__,
        "detail": detail,
    }


def facts_of_this_node() -> dict[str, Any]:
    """Run on a node: what is installed there, and whether it can isolate untrusted code."""
    from vervet.sandbox import capabilities  # noqa: PLC0415  looks at the kernel

    found = capabilities()
    lacking = [f"no {layer.name}: {layer.detail}" for layer in found.layers if not layer.available]
    detail = "; ".join(lacking) or "every layer"
    return {"vervet": __version__, "python": platform.python_version(), "sandbox": found.namespaces, "detail": detail}
