"""Certificates: what was found, by whom, and why it counts; enough to judge the answer again without a model.

A certificate is plain JSON, `vervet.certificate/1`. It holds the problem's check and reference, the answer, the verifier with
its version and settings, the verdict, and the sample that the answer comes from. Its digest shows that it was changed by
accident or without care; it is no signature: whoever makes up a certificate computes a digest for it too. What cannot be made
up is the verdict, because a replay judges the answer anew; that the tests are the data set's is seen by naming the task.

What a certificate names resolves to built-ins and installed entry points. Settings that are programs, files or addresses it
cannot bring: who replays it has to name them again, and the verifier's fingerprint shows whether they are the same.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from vervet import plugins
from vervet.api.door import door
from vervet.api.parts import build_verifier
from vervet.errors import BadData, BadOption, UserError, boundary
from vervet.records import Outcome, Problem, Verdict, VerifierSpec, fingerprint
from vervet.version import __version__

SCHEMA = "vervet.certificate/1"
_LARGEST = 64 << 20
# bytes of a certificate file
_PARTS: dict[str, type] = {"problem": dict, "answer": str, "verifier": dict, "verdict": dict, "sample": dict}


def seal(body: Mapping[str, Any]) -> dict[str, Any]:
    """A certificate with its digest. `body` holds the entries of `_PARTS`, and others."""
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    whole = {"schema": SCHEMA, "vervet": __version__, "made": now} | dict(body)
    return whole | {"digest": fingerprint(whole)}


def about_problem(problem: Problem) -> dict[str, Any]:
    """What decides, and its fingerprint."""
    return {
        "id": problem.id,
        "check": dict(problem.check),
        "reference": problem.reference,
        "fingerprint": problem.check_fingerprint,
    }


def about_verifier(spec: VerifierSpec) -> dict[str, Any]:
    """The verifier as it can be built again, and its fingerprint."""
    verifier = build_verifier(spec)
    return {
        "name": spec.name,
        "version": verifier.version,
        "options": {k: v for k, v in spec.settings.items() if k != "sandbox"},
        "fingerprint": fingerprint(verifier.name, verifier.version, verifier.settings()),
    }


def about_verdict(verdict: Verdict) -> dict[str, Any]:
    return {
        "outcome": str(verdict.outcome),
        "reason": str(verdict.reason),
        "strength": str(verdict.strength),
        "isolation": verdict.isolation,
        "cpu_s": verdict.cpu_s,
        "log": verdict.log,
    }


@dataclass(frozen=True, slots=True)
class Replayed:
    """What became of a certificate here."""

    problem: str
    verifier: str
    claimed: str
    verdict: Verdict
    findings: tuple[str, ...] = field(default=())
    # what is not as the certificate says, a line each

    @property
    def outcome(self) -> Outcome:
        """The answer's verdict here and now."""
        return self.verdict.outcome

    @property
    def holds(self) -> bool:
        """Nothing was changed, and the verdict is the same."""
        return not self.findings

    def to_dict(self) -> dict[str, Any]:
        """vervet.replay/1."""
        return {
            "schema": "vervet.replay/1",
            "problem": self.problem,
            "verifier": self.verifier,
            "claimed": self.claimed,
            "outcome": str(self.outcome),
            "holds": self.holds,
            "findings": list(self.findings),
            "verdict": about_verdict(self.verdict),
        }


def read_certificate(source: Path | str | Mapping[str, Any]) -> dict[str, Any]:
    """A certificate out of a file (also a `vervet solve --json` document) or a mapping. Raises: BadData."""
    where = "the certificate" if isinstance(source, Mapping) else str(source)
    value: Any = source
    if not isinstance(source, Mapping):
        path = Path(source)
        try:
            if path.stat().st_size > _LARGEST:
                raise BadData(f"{where} is larger than {_LARGEST >> 20} MB: it is no certificate")
            value = orjson.loads(path.read_bytes())
        except OSError as error:
            raise BadData(f"{where} cannot be read: {error.strerror}") from error
        except orjson.JSONDecodeError as error:
            raise BadData(f"{where} is not JSON: {error}") from error
    if isinstance(value, Mapping) and value.get("schema") == "vervet.solve/1":
        value = value.get("certificate")
        if value is None:
            raise BadData(f"{where} holds no certificate: nothing was verified there")
    if not isinstance(value, Mapping) or value.get("schema") != SCHEMA:
        raise BadData(f"{where} is no certificate ({SCHEMA})")
    for name, kind in _PARTS.items():
        if not isinstance(value.get(name), kind):
            raise BadData(f"{where}: {name!r} is missing or of the wrong kind")
    return dict(value)


def replay(
    source: Path | str | Mapping[str, Any],
    *,
    task: str | Path | None = None,
    task_options: Mapping[str, Any] | None = None,
    verifier_options: Mapping[str, Any] | None = None,
    sandbox: str | None = None,
) -> Replayed:
    """Judge a certificate's answer again, without a model.

    Args: task, task_options: a data set whose problem the check has to equal.  verifier_options: settings that a certificate
    cannot bring, such as a command.  sandbox: where code runs.
    Raises: BadData, UnknownName where the verifier is neither built in nor installed, BadOption, MissingPart.
    """
    return door(
        areplay(source, task=task, task_options=task_options, verifier_options=verifier_options, sandbox=sandbox)
    )


async def areplay(
    source: Path | str | Mapping[str, Any],
    *,
    task: str | Path | None = None,
    task_options: Mapping[str, Any] | None = None,
    verifier_options: Mapping[str, Any] | None = None,
    sandbox: str | None = None,
) -> Replayed:
    """Async twin of :func:`replay`."""
    certificate = read_certificate(source)
    problem, answer = _problem(certificate), str(certificate["answer"])
    findings = _changes(certificate, problem)
    if task is not None:
        findings += _against(task, task_options or {}, problem)
    spec = _spec(certificate["verifier"], verifier_options or {}, sandbox)
    verifier = build_verifier(spec)
    try:
        mark = fingerprint(verifier.name, verifier.version, verifier.settings())
        said = certificate["verifier"]
        if mark != said.get("fingerprint"):
            findings.append(_other_verifier(spec.name, verifier.version, said))
        with boundary(f"verifier {spec.name!r}"):
            verifier.load(problem)
            verdict = (await verifier.verify(problem, [answer]))[0]
    finally:
        await verifier.aclose()
    claimed = str(certificate["verdict"].get("outcome"))
    if str(verdict.outcome) != claimed:
        findings.append(f"the verdict was {claimed} and is {verdict.outcome} here ({verdict.reason})")
    return Replayed(problem.id, spec.name, claimed, verdict, tuple(findings))


def _problem(certificate: Mapping[str, Any]) -> Problem:
    said = certificate["problem"]
    reference = said.get("reference")
    if not (
        isinstance(said.get("id"), str)
        and isinstance(said.get("check"), dict)
        and (reference is None or isinstance(reference, str))
    ):
        raise BadData("the certificate's 'problem' needs an id, a check and a reference")
    return Problem(said["id"], said["check"], {}, reference)


def _changes(certificate: Mapping[str, Any], problem: Problem) -> list[str]:
    """What of the certificate does not go with the rest of it."""
    out = []
    if fingerprint(str(certificate["answer"])) != certificate.get("answer_hash"):
        out.append("the answer is not the one that was certified: its hash differs")
    if problem.check_fingerprint != certificate["problem"].get("fingerprint"):
        out.append("the tests or the reference are not those of the certified verdict: their fingerprint differs")
    body = {k: v for k, v in certificate.items() if k != "digest"}
    if fingerprint(body) != certificate.get("digest"):
        out.append("the certificate was changed after it was made: its digest differs")
    return out


def _against(task: str | Path, options: Mapping[str, Any], problem: Problem) -> list[str]:
    """Whether the data set has this very problem."""
    from vervet.api.parts import resolve_task  # noqa: PLC0415  only where a task is named

    known = resolve_task(task, options)[0]
    with boundary(f"task {task!r}"):
        found = next((p for p in known.problems() if p.id == problem.id), None)
    if found is None:
        return [f"task {task} has no problem {problem.id!r}"]
    if found.check_fingerprint != problem.check_fingerprint:
        return [f"the tests are not those of {problem.id} in task {task}: their fingerprint differs"]
    return []


def _spec(said: Mapping[str, Any], given: Mapping[str, Any], sandbox: str | None) -> VerifierSpec:
    """The verifier that a certificate names, with what only the one who replays can say. Raises: UnknownName, BadOption."""
    name, options = said.get("name"), said.get("options")
    if not isinstance(name, str) or not isinstance(options, dict):
        raise BadData("the certificate's 'verifier' needs a name and options")
    target = plugins.resolve("verifiers", name)
    refuse_reaching_out(target, name, options, given)
    settings = {**options, **given}
    if "sandbox" in plugins.parameters(target):
        settings["sandbox"] = sandbox or "auto"
    elif sandbox is not None:
        raise BadOption(f"--sandbox {sandbox}: the verifier {name!r} runs no code and needs no sandbox")
    return VerifierSpec(name, settings)


def refuse_reaching_out(
    target: type[Any], name: str, brought: Mapping[str, Any], given: Mapping[str, Any] | None = None
) -> None:
    """Raises: UserError where settings from outside are programs, files or addresses that nobody here has named."""
    own = target.__module__.startswith("vervet.")
    out = getattr(target, "reaches_out", frozenset() if own else frozenset(brought))
    missing = sorted(k for k in brought if k in out and k not in (given or {}))
    if missing:
        raise UserError(
            f"verifier {name!r} needs {', '.join(missing)}, which a certificate cannot bring: give "
            + " ".join(f"-V {k}=..." for k in missing)
            + ("" if name != "command" else " (or --check)")
        )


def _other_verifier(name: str, version: str, said: Mapping[str, Any]) -> str:
    if said.get("version") != version:
        return (
            f"the verifier is another one: {name} is version {version} here, {said.get('version')} in the certificate"
        )
    return f"the verifier {name} has other settings or files than the one that was certified: its fingerprint differs"
