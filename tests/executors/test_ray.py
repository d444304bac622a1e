"""The executor `ray` on a real cluster of several nodes: the same as `local`, whatever happens to the nodes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.executors.cluster import cluster
from vervet.executors.ray import Ray
from vervet.protocols import Executor
from vervet.testing.executors import BuildVerifier, conform_to_executor

# Ray's nodes speak to each other by this machine's address, not by the loopback
pytestmark = [pytest.mark.slow, pytest.mark.network]


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with cluster() as made:
        yield made.address


@pytest.fixture
def joined(address: str) -> Iterator[Any]:
    """This process in the cluster, so that executors find it there."""
    import ray

    from vervet.executors._ray_cluster import connect

    connect(address)
    try:
        yield ray
    finally:
        ray.shutdown()


def test_it_conforms(joined: Any) -> None:
    """The suite that `local` passes."""

    def build(make: BuildVerifier) -> Executor:
        return Ray(make)

    conform_to_executor(build, in_process=False)
