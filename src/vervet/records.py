"""What flows between rooms: frozen, slotted dataclasses that hold data and no behaviour worth a test of its own.

Problem --Sampler--> Sample --extract--> answer --Verifier--> Verdict --count--> Counts --estimate--> Curve
"""

from __future__ import annotations

import dataclasses
import enum
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import orjson
from numpy.typing import NDArray

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]
PromptForm = Literal["chat", "completion"]


def canonical_json(value: object) -> bytes:
    """Bytes of `value` as JSON with sorted keys and no spaces: equal values give equal bytes."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS | orjson.OPT_SERIALIZE_NUMPY)


def fingerprint(*parts: object) -> str:
    """32 hex digits (16 bytes of BLAKE2b) that identify the parts' canonical JSON."""
    return hashlib.blake2b(canonical_json(list(parts)), digest_size=16).hexdigest()


# ---------------------------------------------------------------------------------------------- problems and prompts


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a chat prompt."""

    role: str
    # "system", "user" or "assistant"
    content: str


Prompt = tuple[Message, ...] | str
"""Chat messages, or the raw text that a completion continues."""


def prompt_to_json(prompt: Prompt) -> Any:
    """A string, or a list of {"role", "content"} objects."""
    return prompt if isinstance(prompt, str) else [{"role": m.role, "content": m.content} for m in prompt]


def prompt_from_json(value: Any) -> Prompt:
    """Inverse of :func:`prompt_to_json`."""
    return value if isinstance(value, str) else tuple(Message(m["role"], m["content"]) for m in value)


@dataclass(frozen=True, slots=True)
class Problem:
    """One task instance."""

    id: str
    # unique within its task; any text
    check: Mapping[str, Any]
    # plain JSON for the task's verifier, which parses it into its own frozen dataclass at load
    data: Mapping[str, Any] = field(default_factory=dict)
    # plain JSON that the task renders prompts from
    reference: str | None = None
    # an answer that is known to be right, where there is one

    @property
    def check_fingerprint(self) -> str:
        """Identifies what decides an answer: id, check and reference, never the prompt."""
        return fingerprint(self.id, self.check, self.reference)


@dataclass(frozen=True, slots=True)
class DataSource:
    """Where a task's problems come from."""

    id: str
    # public name or path of the data set
    revision: str
    # version, commit or "" where there is none
    fingerprint: str
    # hash of the whole data set, before any limit


# ------------------------------------------------------------------------------------------------------ sampling


@dataclass(frozen=True, slots=True)
class Params:
    """Sampling parameters, all of which can change a sample's text."""

    temperature: float
    # >= 0; 0 is greedy
    top_p: float | None
    # (0, 1]; None leaves it to the model
    max_tokens: int
    # completion tokens at most, >= 1
    stop: tuple[str, ...] = ()
    # texts at which generation ends; not part of the sample
    extra: Mapping[str, Any] = field(default_factory=dict)
    # further fields for the sampler, plain JSON

    @property
    def recorded(self) -> bool:
        """False of samples that were imported: how they were drawn is not known, and the other values only stand in."""
        return self.extra.get("recorded") is not False


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a published run was made, beyond its sampling parameters: what `-T protocol=paper` brings."""

    source: str
    # the publication
    n: int
    # samples a problem
    form: PromptForm
    # the form of its prompts, whatever the model was trained for
    guesses: tuple[str, ...] = ()
    # what the publication leaves open, and what is taken here


@dataclass(frozen=True, slots=True)
class Config:
    """Everything that can change a sample's text; a plain run has exactly one."""

    task: str
    task_options: Mapping[str, Any]
    data_fingerprint: str
    model: str
    model_options: Mapping[str, Any]
    model_fingerprint: str
    # hash of the weights where they are at hand, else ""
    prompt_form: PromptForm
    params: Params
    seed: int | None
    # the run seed that the user gave; None: one was drawn, see the ledger's `run_seed`

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Config:
        params = dict(value["params"])
        params["stop"] = tuple(params["stop"])
        return cls(**{**value, "params": Params(**params)})

    @property
    def digest(self) -> str:
        """32 hex digits; its first eight name the run's folder."""
        return fingerprint(self.to_dict())


def derive_seed(run_seed: int, problem_id: str, index: int) -> int:
    """A 63-bit seed for the sample `index` of a problem: distinct (problem, index) pairs give unrelated seeds."""
    raw = hashlib.blake2b(canonical_json([run_seed, problem_id, index]), digest_size=8).digest()
    return int.from_bytes(raw, "big") >> 1


@dataclass(frozen=True, slots=True)
class Request:
    """One call to a model for samples [first, first + n) of one problem. Holds no test and no reference."""

    problem_id: str
    prompt: Prompt
    params: Params
    first: int
    # index of the first sample
    n: int
    # samples wanted, >= 1
    run_seed: int
    # the run's 63-bit seed

    @property
    def seed(self) -> int:
        """Seed of the request: that of its first sample."""
        return derive_seed(self.run_seed, self.problem_id, self.first)

    def seed_of(self, choice: int) -> int:
        """Seed of one of the request's samples, the same however the samples are grouped into requests."""
        return derive_seed(self.run_seed, self.problem_id, self.first + choice)


@dataclass(frozen=True, slots=True)
class Completion:
    """One text out of a model."""

    text: str
    finish_reason: str = "stop"
    # "stop", "length" (cut off at max_tokens), "content_filter", "error", ...
    completion_tokens: int | None = None
    # tokens of this text; None where nobody counted
    reasoning: str = ""
    # thinking that the model keeps apart from its text
    logprob: float | None = None
    # sum of the text's token log-probabilities (natural log)
    trace: str | None = None
    # an agent's trajectory, opaque


@dataclass(frozen=True, slots=True)
class Usage:
    """What a request consumed. Money and prompt tokens belong to requests, never to samples."""

    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    # the part of prompt_tokens that a prefix cache served
    completion_tokens: int | None = None
    # over all choices
    counted_by: str = "server"
    # "server" or "vervet"
    cost_usd: float | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """A sampler's answer to a Request: exactly `n` completions, or fewer when the server gave fewer."""

    completions: tuple[Completion, ...]
    usage: Usage = Usage()
    server: str = ""
    # which server, replica or file answered; never holds a key


@dataclass(frozen=True, slots=True)
class Sample:
    """One independent attempt, as it is stored."""

    problem_id: str
    index: int
    # 0-based, unique within (run, config, problem)
    text: str
    finish_reason: str
    completion_tokens: int | None
    seed: int
    # the seed its draw was derived from
    reasoning: str = ""
    logprob: float | None = None
    trace: str | None = None
    answer: str | None = None
    # what the task extracted; None: no answer found
    outcome: Outcome | None = None
    # effective verdict of the run's current verifier; None: pending
    reason: str = ""
    # see Reason
    key: str | None = None
    # under which equal answers meet; None: the answer itself is its key
    score: float | None = None
    # by the scorer in use, higher is better; None: no score


# ------------------------------------------------------------------------------------------------------ verifying


class Outcome(enum.StrEnum):
    """FAIL is a statement about the answer; UNKNOWN is a statement about us."""

    PASS = "PASS"  # noqa: S105  not a password
    FAIL = "FAIL"
    UNKNOWN = "UNKNOWN"


class Reason(enum.StrEnum):
    """Why a verdict is what it is: a closed list."""

    # PASS
    ACCEPTED = "accepted"
    # FAIL: statements about the answer
    NO_ANSWER = "no_answer"  # nothing could be extracted from the text
    WRONG = "wrong_answer"  # it ran, or parsed, and is not right
    SYNTAX = "syntax_error"
    EXCEPTION = "exception"
    MISSING = "missing_entry_point"
    CPU_TIME = "cpu_time"  # its own processor time ran out
    WALL_TIME = "wall_time"  # it slept or waited although it was not starved
    MEMORY = "memory"
    OUTPUT = "output_limit"
    EXITED = "exited"  # it ended its process before the tests were through
    CRASHED = "crashed"  # it died by a signal
    FORBIDDEN = "forbidden"  # it tried what the sandbox does not allow, or forged a result
    REJECTED = "rejected"  # the checker said no
    NOT_APPLIED = "patch_not_applied"  # a patch that does not fit the code it is for
    # UNKNOWN: statements about us
    SANDBOX = "sandbox_failed"
    STARVED = "starved"  # out of time while others held the processor
    VERIFIER = "verifier_failed"
    UNAVAILABLE = "unavailable"  # a service or a program that the verifier needs is not there
    NO_TESTS = "no_tests"
    NO_VERDICT = "no_verdict"  # the trials are tied, or a judge gave no answer


class Strength(enum.StrEnum):
    """What a PASS rests on, strongest first."""

    PROOF = "proof"
    EXACT = "exact"
    SEPARATE_PROCESS = "separate-process"  # tests in a process that never held the answer's code
    SAME_PROCESS = "same-process"  # tests ran beside the answer's code, which could have tampered with them
    JUDGE = "judge"
    IMPORTED = "imported"


@dataclass(frozen=True, slots=True)
class Verdict:
    """A verifier's judgement of one answer."""

    outcome: Outcome
    reason: Reason
    strength: Strength
    isolation: str = ""
    # "namespaces", "docker", "none"; "" where nothing was executed
    cpu_s: float | None = None
    # processor time that the answer used
    log: str = ""
    # what a person needs to see why, at most a few kB


@dataclass(frozen=True, slots=True)
class VerifierSpec:
    """Names a verifier and every setting that can change a verdict; picklable, built on the worker."""

    name: str
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Job:
    """Verification work for an executor: distinct answers to one problem."""

    verifier: VerifierSpec
    problem: Problem
    answers: tuple[str, ...]
    keys: tuple[int, ...] = ()
    # the caller's names for the answers; they come back untouched
    tries: int = 0
    # earlier tries at these answers in this run


@dataclass(frozen=True, slots=True)
class JobResult:
    """One verdict an answer, in the job's order."""

    job: Job
    verdicts: tuple[Verdict, ...]


# ------------------------------------------------------------------------------------------------------ counting


@dataclass(frozen=True, slots=True)
class Counts:
    """Per-problem counts and the design that produced them: what every statistic is a function of."""

    problem_ids: tuple[str, ...]
    n: IntArray
    # decided samples, PASS + FAIL, shape (problems,)
    c: IntArray
    # PASS, 0 <= c <= n
    unknown: IntArray
    # pending + UNKNOWN
    design: str = "fixed"
    # "fixed", "first-pass", "m-passes=M", "adaptive", ...
    source: str = ""
    # where the counts come from, for people

    def __init__(
        self,
        problem_ids: Sequence[str],
        n: Any,
        c: Any,
        unknown: Any = None,
        design: str = "fixed",
        source: str = "",
    ) -> None:
        """Check and convert. Raises: BadData that names the first problem whose counts are impossible."""
        from vervet.errors import BadData  # noqa: PLC0415  errors imports nothing; records stays importable on its own

        ids = tuple(str(p) for p in problem_ids)
        arrays = {"n": n, "c": c, "unknown": np.zeros(len(ids), np.int64) if unknown is None else unknown}
        for name, value in arrays.items():
            array = np.asarray(value)
            if array.shape != (len(ids),):
                raise BadData(f"{name} has shape {array.shape}, expected ({len(ids)},): one entry a problem")
            if array.dtype.kind not in "iu" and not (array.dtype.kind == "f" and np.all(array == np.floor(array))):
                raise BadData(f"{name} must hold whole numbers, not {array.dtype}")
            arrays[name] = array.astype(np.int64)
        if not ids:
            raise BadData("no problems: there is nothing to count")
        if len(set(ids)) != len(ids):
            twice = next(p for i, p in enumerate(ids) if p in ids[:i])
            raise BadData(f"problem {twice!r} appears twice: one row a problem")
        for name, bad in (
            ("a negative count", (arrays["n"] < 0) | (arrays["c"] < 0) | (arrays["unknown"] < 0)),
            ("c > n", arrays["c"] > arrays["n"]),
        ):
            if bad.any():
                i = int(np.argmax(bad))
                raise BadData(f"problem {ids[i]!r} has {name}: n={arrays['n'][i]}, c={arrays['c'][i]}")
        for name, value in {"problem_ids": ids, **arrays, "design": design, "source": source}.items():
            object.__setattr__(self, name, value)

    def __len__(self) -> int:
        return len(self.problem_ids)


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """Coverage at one k. Shares in [0, 1]; None where no problem has n >= k."""

    k: int
    coverage: float | None
    low: float | None
    high: float | None
    # interval for the population that the problems are drawn from
    draws_low: float | None
    draws_high: float | None
    # interval for these very problems
    se: float | None
    # standard error behind low/high
    problems: int
    # problems with n >= k
    censored: int
    # the rest
    floor: float
    ceiling: float
    # all problems: censored ones at pass@n and at 1, unknowns as FAIL and as PASS
    band_low: float | None = None
    band_high: float | None = None
    # for the population like low and high, but holding at every k of the curve at once


@dataclass(frozen=True, slots=True)
class Curve:
    """Coverage against k, with what a reader must know beside it."""

    source: str
    problems: int
    n_min: int
    n_max: int
    samples: int
    unknown: int
    never_solved: int
    design: str
    level: float
    points: tuple[CurvePoint, ...]
    warnings: tuple[str, ...] = ()
    tau: float | None = None
    # share of k draws that must pass, where `coverage` is G-Pass@k; None: one PASS is enough

    def to_dict(self) -> dict[str, Any]:
        """The document vervet.coverage/1 of this one source."""
        return {"schema": "vervet.coverage/1", "sources": [self.entry()]}

    def entry(self) -> dict[str, Any]:
        """One entry of `sources` in vervet.coverage/1."""
        plain = {"points": [dataclasses.asdict(p) for p in self.points], "warnings": list(self.warnings)}
        return dataclasses.asdict(self) | plain
