"""Runs untrusted code. Used by verifiers only.

A container is assembled by Vervet itself, without root where the host allows that and without any other program: its
own user, mount, pid, network, IPC, UTS and cgroup namespaces; a root that shows /usr, /lib*, /bin and the Python
interpreter, read-only, and nothing else of the host; an allow-list of system calls; Landlock rules; resource limits; a
control group where one can be made. Each candidate in it is a process of its own, in its own pid namespace, with its
own uid and no capability, that ends by SIGKILL. `capabilities()` says which layers this host has. What is missing is
named by every verdict's isolation; without namespaces or seccomp the sandbox does not start.

With `--sandbox docker` the container is an engine's (Docker, or podman's service; gVisor where it has it), which isolates
it from the host; within, candidates differ in uid instead of pid namespace, and everything else is the same.

What it does NOT stop:

- bugs of the kernel: host and candidates share one. Use gVisor or a virtual machine against people who attack kernels;
- with `--sandbox docker`: reading all of the image, and which processes the container has; several programs' files
  together are limited by the largest limit that any job had, their number by memory alone, and an engine that is not
  yours can do what it likes;
- reading what the allow-list shows: everything below /usr and the interpreter's folder, secrets kept there included;
- learning about the host from the processor, the clock and the kernel: model, load, uptime, caches, timing;
- slowing others down: candidates share processors, memory bandwidth and caches with all that runs here;
- knowing the answers: an answer may hold a table of them, and sees each call's arguments before the next call;
- an answer that ends well and is wrong where the tests do not look;
- tests that run beside the answer (`strength: same-process`): such an answer can find and change them;
- a data set that lies: tests and preludes are trusted as to the verdict (they run in the container all the same);
- with `--sandbox none`: anything. Code then runs as you, with limits on time and memory only, and a program that
  starts a session of its own outlives it.
"""

from __future__ import annotations

from vervet.errors import BadOption
from vervet.protocols import Sandbox
from vervet.sandbox._capabilities import Capabilities, Layer, capabilities

KINDS = ("auto", "namespaces", "docker", "docker:IMAGE", "none")
"""What `--sandbox` may say. `auto` means `namespaces`; the others are never chosen for anybody."""


def resolve(kind: str) -> str:
    """The isolation that a `--sandbox` value stands for. Raises: BadOption."""
    if kind not in KINDS and not (kind.startswith("docker:") and kind != "docker:"):
        raise BadOption(f"no sandbox {kind!r}: choose one of {', '.join(KINDS)}")
    return "namespaces" if kind == "auto" else kind


def engine() -> str:
    """Version of the container engine that `docker` would use. Raises: MissingPart with the reason why there is none."""
    from vervet.sandbox import _engine  # noqa: PLC0415  keeps `import vervet.sandbox` light

    return _engine.available()


def open_sandbox(kind: str = "auto", *, memory_mb: int = 512) -> Sandbox:
    """A sandbox for whole programs; it starts with its first job, which raises MissingPart where it cannot.

    Args: memory_mb: the largest memory limit that its jobs will have.
    Raises: BadOption.
    """
    from vervet.sandbox.programs import ProgramSandbox  # noqa: PLC0415  keeps `import vervet.sandbox` light

    return ProgramSandbox(resolve(kind), memory_mb)


__all__ = ["KINDS", "Capabilities", "Layer", "capabilities", "engine", "open_sandbox", "resolve"]
