"""Containers of an engine: Docker, or podman's service, over its socket; gVisor's runtime where the engine has it.

The engine isolates the container from the host. Within, everything is as in a container of ours but for the pid
namespaces: see `inside.runner`. All code that runs there comes over the container's standard input, so the engine may
be on another machine and an image needs nothing but Python 3.11 or later.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import struct
import threading
from pathlib import Path
from typing import Any

from vervet.errors import MissingPart
from vervet.sandbox import inside
from vervet.sandbox.inside import bridge

IMAGE = "python:3.12-slim"
"""What `--sandbox docker` runs in; `--sandbox docker:IMAGE` names another."""
_EXTRA_MB = 2560
# the tester's own limit, and the zygote
_PROCESSES = 160
_STDOUT = 1
_GVISOR = "runsc"
_CAPABILITIES = ("SETUID", "SETGID", "KILL", "CHOWN", "DAC_OVERRIDE", "FOWNER")
# another identity for each candidate, the end of it, and its folder; candidates themselves have none
_BOOT = """
import os, sys, json
from importlib.machinery import ModuleSpec
def take(n):
    data = b""
    while len(data) < n:
        part = os.read(0, n - len(data))
        if not part: os._exit(1)
        data += part
    return data
if sys.version_info < (3, 11):
    sys.exit("its Python is older than 3.11")
sent = json.loads(take(int.from_bytes(take(4), "little")))
class Sent:
    def find_spec(name, path=None, target=None):
        return ModuleSpec(name, Sent, is_package=name in sent["packages"]) if name in sent["sources"] else None
    def create_module(spec): return None
    def exec_module(module): exec(compile(sent["sources"][module.__name__], module.__name__, "exec"), module.__dict__)
sys.meta_path.insert(0, Sent)
from vervet.sandbox.inside import bridge
bridge.main(sent["config"])
"""


def _sources() -> dict[str, Any]:
    """All modules of `inside`, for a Python that has none of ours."""
    folder = Path(inside.__file__).parent
    package = "vervet.sandbox.inside"
    found = {f"{package}.{path.stem}": path.read_text() for path in folder.glob("*.py") if path.stem != "__init__"}
    packages = ["vervet", "vervet.sandbox", package]
    return {"packages": packages, "sources": {**dict.fromkeys(packages, ""), **found}}


def _client() -> Any:
    """The engine's API. Raises: MissingPart."""
    try:
        import docker  # type: ignore[import-untyped, unused-ignore]  # noqa: PLC0415  an extra
        from docker.errors import DockerException  # type: ignore[import-untyped, unused-ignore]  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise MissingPart("--sandbox docker needs a package: pip install 'vervet[docker]'") from error
    try:
        _reach()
        client = docker.from_env(timeout=60)
    except (DockerException, OSError) as error:
        raise MissingPart(
            "no container engine answers: start Docker, or `podman system service` with DOCKER_HOST at its socket"
            f" ({str(error).splitlines()[0][:200]})"
        ) from error
    return client


def _reach() -> None:
    """Try a local socket: the package leaks one where nobody answers. Raises: OSError."""
    scheme, _, path = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock").partition("://")
    if scheme == "unix":
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(path)


def available() -> str:
    """What the engine is. Raises: MissingPart with the reason why there is none."""
    client = _client()
    try:
        return f"engine {client.version().get('Version', '')}; verdicts say so where gVisor runs them"
    finally:
        client.close()


def _gvisor(client: Any) -> bool:
    return _GVISOR in (client.info().get("Runtimes") or {})


class EngineProcess:
    """A container, as `Container` wants its process: something to wait for and to kill."""

    def __init__(self, image: str, config: dict[str, Any], theirs: dict[str, socket.socket], disk_mb: int) -> None:
        """Make, attach and start it. Blocks. Raises: MissingPart."""
        from docker.errors import APIError, ImageNotFound  # noqa: PLC0415  an extra

        self._client = _client()
        try:
            self._id = self._create(image, int(config["memory_mb"]), disk_mb)
        except ImageNotFound as error:
            self._client.close()
            raise MissingPart(
                f"the container engine has no image {image!r}: pull it, or name another with --sandbox docker:IMAGE"
            ) from error
        except (APIError, OSError) as error:
            self._client.close()
            raise MissingPart(f"the container engine makes no container: {error}") from error
        try:
            self.gvisor = self._runtime() == _GVISOR
            self._attached = self._attach()
            self._client.api.start(self._id)
            text = json.dumps({**_sources(), "config": {**config, "kind": "engine"}}).encode()
            self._attached.sendall(len(text).to_bytes(4, "little") + text)
        except (APIError, OSError) as error:
            self.kill()
            raise MissingPart(f"the container does not start: {error}") from error
        ours = [theirs[name].dup() for name in bridge.CHANNELS]
        self._thread = threading.Thread(target=self._relay, args=(ours,), daemon=True)
        self._thread.start()

    def _create(self, image: str, memory_mb: int, disk_mb: int) -> str:
        api = self._client.api
        memory = (memory_mb + _EXTRA_MB) << 20
        limits = api.create_host_config(
            network_mode="none",
            read_only=True,
            cap_drop=["ALL"],
            cap_add=list(_CAPABILITIES),
            security_opt=["no-new-privileges"],
            mem_limit=memory,
            memswap_limit=memory,
            pids_limit=_PROCESSES,
            ipc_mode="private",
            tmpfs={"/box": f"rw,exec,nosuid,nodev,size={disk_mb}m,mode=755"},
            auto_remove=True,
            runtime=_GVISOR if _gvisor(self._client) else None,
        )
        command = ["python3", "-s", "-S", "-P", "-B", "-X", "utf8", "-c", _BOOT]
        made = api.create_container(
            image,
            command,
            stdin_open=True,
            detach=False,
            user="0:0",
            hostname="vervet",
            working_dir="/",
            entrypoint=[],
            environment={"PYTHONHASHSEED": "0"},
            labels={"vervet": "sandbox"},
            host_config=limits,
        )
        return str(made["Id"])

    def _runtime(self) -> str:
        """What really runs it: podman lists runtimes that are not there, and takes another."""
        found = self._client.api.inspect_container(self._id)
        return str(found.get("OCIRuntime") or found["HostConfig"].get("Runtime") or "")

    def _attach(self) -> socket.socket:
        stream = self._client.api.attach_socket(
            self._id, params={"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1, "logs": 0}
        )
        raw: socket.socket = getattr(stream, "_sock", stream)
        self._stream = stream
        raw.settimeout(None)
        return raw

    def _relay(self, sockets: list[socket.socket]) -> None:
        fd = self._attached.fileno()
        bridge.relay(sockets, fd, fd, alive=True, decode=_Demultiplexed())
        for end in (self._stream, self._attached):
            with contextlib.suppress(OSError):
                end.close()

    def wait(self, timeout: float | None = None) -> int:
        """Its channels are closed: remove it and wait until it is gone."""
        self._thread.join(timeout)
        self.kill()
        return 0

    def kill(self) -> None:
        """Remove the container whatever it does."""
        from docker.errors import APIError  # noqa: PLC0415  an extra

        with contextlib.suppress(APIError, OSError):
            self._client.api.remove_container(self._id, force=True)
        self._client.close()


class _Demultiplexed:
    """Standard output out of the engine's stream: an eight-byte head says which output, and how much."""

    _head = struct.Struct(">BxxxI")

    def __init__(self) -> None:
        self._data = bytearray()

    def __call__(self, data: bytes) -> bytes:
        self._data += data
        out, done = bytearray(), 0
        while len(self._data) - done >= self._head.size:
            kind, size = self._head.unpack_from(self._data, done)
            end = done + self._head.size + size
            if len(self._data) < end:
                break
            if kind == _STDOUT:
                out += self._data[done + self._head.size : end]
            done = end
        del self._data[:done]
        return bytes(out)
