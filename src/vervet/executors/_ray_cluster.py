"""Ray itself: coming into a cluster, what its nodes offer, and one clear line for whatever is wrong with it."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from vervet.errors import BadOption, MissingPart, ServiceError, UserError

_PROBE_S = 5.0
_HTTP2 = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
# what every gRPC client begins with; a gRPC server answers with settings of its own
SHARE = 0.001
# of a custom resource that a worker takes: the resource marks a node, it does not count workers
NO_CLUSTER = (
    "no Ray cluster runs on this machine: start one with `ray start --head`, name one with --ray-address HOST:PORT, "
    "or say --ray-address local"
)


def load() -> ModuleType:
    """The package, with usage statistics off. Raises: MissingPart."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    # workers see the accelerators that they ask for; for those that ask for none Ray would otherwise warn
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray  # noqa: PLC0415  an extra, and slow to import
    except ImportError as error:
        raise MissingPart("the executor ray needs a package: pip install 'vervet[ray]'") from error
    module: ModuleType = ray
    return module


def connect(address: str | None) -> tuple[ModuleType, bool]:
    """Ray, connected, and whether it was this call that connected it.

    Args: address: "host:port" of a cluster's head; "auto" or None: the cluster of this machine, or RAY_ADDRESS; "local": a
        small one of this process's own; "ray://host:port": from outside the cluster.
    Raises: MissingPart, BadOption, ServiceError, UserError, with one line each.
    """
    ray = load()
    if ray.is_initialized():
        return ray, False
    target = address or os.environ.get("RAY_ADDRESS") or "auto"
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    if target == "local":
        options["include_dashboard"] = False
    with _plain_environment(), _kept_signals():
        if target == "auto":
            target = _own()
        elif target != "local":
            _probe(target)
        try:
            ray.init(address=target, **options)
        except (Exception, SystemExit) as error:
            with contextlib.suppress(Exception):
                # half connected, where the versions differ
                ray.shutdown()
            raise _said(target, error) from error
    return ray, True


@contextlib.contextmanager
def _plain_environment() -> Iterator[None]:
    """RAY_ADDRESS would win over what the user said."""
    kept = os.environ.pop("RAY_ADDRESS", None)
    try:
        yield
    finally:
        if kept is not None:
            os.environ["RAY_ADDRESS"] = kept


@contextlib.contextmanager
def _kept_signals() -> Iterator[None]:
    """Ray takes SIGTERM for itself; a run that is told to end has to drain and save."""
    main = threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if main and before is not None:
            signal.signal(signal.SIGTERM, before)


def _own() -> str:
    """Address of the cluster that runs on this machine. Raises: ServiceError.

    Ray remembers the last one it started, also when that has ended.
    """
    try:
        from ray._private.services import get_ray_address_from_environment as find  # noqa: PLC0415
    except ImportError:
        return "auto"
    try:
        address = str(find("auto", None))
        _probe(address)
    except (ConnectionError, ServiceError, BadOption) as error:
        raise ServiceError(NO_CLUSTER) from error
    return address


def _probe(address: str) -> None:
    """Whether something that may be Ray answers there. Ray itself would try for two minutes and then end the process."""
    host, sign, port = address.removeprefix("ray://").rpartition(":")
    if not sign or not host or not port.isdigit():
        raise BadOption(f"--ray-address {address!r}: write HOST:PORT, ray://HOST:PORT, auto or local")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=_PROBE_S) as connection:
            connection.settimeout(_PROBE_S)
            connection.sendall(_HTTP2)
            reply = connection.recv(9)
    except TimeoutError:
        reply = b""
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ServiceError(
            f"--ray-address {address}: nothing answers there ({reason}): give the address that `ray start --head` prints"
        ) from error
    if len(reply) < 4 or reply[3] != 4:
        raise ServiceError(
            f"--ray-address {address}: what answers there is no Ray head: give the address that `ray start --head` prints"
        )


def _said(address: str, error: BaseException) -> Exception:
    """Ray's error as one line."""
    text = " ".join(str(error).split())
    if "ersion mismatch" in text:
        found = text.partition("The cluster was started with:")[2] or text
        cluster, _, here = found.partition("This process")
        this = here.partition("was started with:")[2].split(" If ")[0].split(" The ")[0]
        return UserError(
            f"the Ray cluster at {address} runs {_versions(cluster)}, this process {_versions(this)}: "
            "install the same Ray and the same Python on both"
        )
    if address == "auto" and isinstance(error, ConnectionError):
        return ServiceError(NO_CLUSTER)
    if isinstance(error, SystemExit):
        text = "it did not answer as a Ray head does (of a Ray Client port say ray://HOST:PORT)"
    return ServiceError(f"the Ray cluster at {address} cannot be joined: {text[:300]}")


def _versions(text: str) -> str:
    """ "Ray: 2.9.0 Python: 3.11.4" -> "Ray 2.9.0 and Python 3.11.4"."""
    words = text.replace("Ray:", "Ray").replace("Python:", "and Python").split()
    return " ".join(words[:5]).strip(" .,")


# ------------------------------------------------------------------------------------------------------ nodes


@dataclass(frozen=True, slots=True)
class Node:
    """A node that is up."""

    id: str
    address: str
    resources: Mapping[str, float]
    # in all, used or not

    @property
    def label(self) -> str:
        """For people; several nodes may share an address."""
        return f"{self.address} ({self.id[:8]})"

    def offers(self, demand: Mapping[str, float]) -> bool:
        """Whether the node could ever take a worker with this demand."""
        return all(self.resources.get(name, 0.0) >= amount for name, amount in demand.items())


def nodes(ray: ModuleType) -> list[Node]:
    """All nodes that are up, by address."""
    found = [
        Node(entry["NodeID"], entry["NodeManagerAddress"], dict(entry["Resources"]))
        for entry in ray.nodes()
        if entry["Alive"]
    ]
    return sorted(found, key=lambda node: (node.address, node.id))


def demand_of(needs: Iterable[str], cpus: int) -> dict[str, float]:
    """What a worker asks of its node, as Ray counts it: `needs` are a verifier's.

    Every Linux node may have a sandbox, which shows when a worker starts it; a GPU is one of Ray's own; whatever else a
    verifier needs is a resource of that name that the node's owner has declared.
    """
    demand: dict[str, float] = {"CPU": float(cpus)}
    for need in sorted(set(needs) - {"sandbox"}):
        demand["GPU" if need == "gpu" else need] = 1.0 if need == "gpu" else SHARE
    return demand


def require(found: Iterable[Node], demand: Mapping[str, float], verifier: str) -> None:
    """Raises: MissingPart where no node offers what the verifier's workers ask for."""
    everyone = list(found)
    if any(node.offers(demand) for node in everyone):
        return
    special = [n for n in demand if n not in ("CPU", "GPU") and not any(node.resources.get(n) for node in everyone)]
    if special:
        flag = "{" + ", ".join(f'"{name}": 1' for name in special) + "}"
        raise MissingPart(
            f"the verifier {verifier!r} needs {' and '.join(special)}, and none of the cluster's {len(everyone)} nodes offers "
            f"that: start a node that has it with `ray start --address=... --resources='{flag}'`"
        )
    asked = ", ".join(f"{amount:g} {name}" for name, amount in demand.items())
    raise MissingPart(f"no node of the Ray cluster ({len(everyone)} up) offers what a worker asks for: {asked}")
