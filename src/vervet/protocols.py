"""The seams: what each room promises the engine. Read this file first.

Every seam has a fake or reference implementation and a conformance suite in :mod:`vervet.testing`.
Samplers, verifiers, scorers, executors and sandboxes are async; tasks, selectors and policies are plain.
What has a life also has `aclose()`.

Plug-ins raise ordinary Python errors, `ConnectionError` where a service is out of reach; whoever calls them attributes
the failure once (:func:`vervet.errors.boundary`).
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from vervet.records import (
    Completion,
    DataSource,
    Job,
    JobResult,
    Params,
    Problem,
    Prompt,
    PromptForm,
    Reply,
    Request,
    Sample,
    Usage,
    Verdict,
    VerifierSpec,
)


@runtime_checkable
class Task(Protocol):
    """A data set, its prompts, and how an answer is found in a text. One file a benchmark in `vervet.tasks`."""

    name: str
    # the short name, "humaneval"
    extractor: str
    # name and version of `extract`, "humaneval/1": stored with every answer
    verifier: VerifierSpec
    # what judges answers unless the user names another

    def source(self) -> DataSource:
        """Identity of the data. May read files; raises MissingPart or BadData with what to do."""
        ...

    def problems(self) -> Sequence[Problem]:
        """All problems in the data set's order."""
        ...

    def params(self, form: PromptForm) -> Params:
        """Default sampling parameters for a prompt form."""
        ...

    def prompt(self, problem: Problem, form: PromptForm) -> Prompt:
        """The rendered prompt. Chat gives messages, completion gives raw text."""
        ...

    def extract(self, text: str) -> str | None:
        """The answer in a sample's text, None where there is none.

        Total and linear in its input; needs no data set; parses no code: the text is hostile.
        """
        ...

    def canonical(self, answer: str) -> str:
        """A key under which equal answers meet. Cheap, total, idempotent."""
        ...

    def example(self, problem: Problem, right: bool) -> str | None:
        """A model's text from which `extract` finds the reference (right) or a wrong answer of the task's kind.

        None where the task has no reference. The fake sampler and `vervet audit` use it.
        """
        ...

    # optional:
    #   recipe: Recipe | None, a published run's number of samples and prompt form, which hold unless the user says others
    #   def solutions(self, problem, most) -> list: (answer, right) of the data set's own, for `vervet audit`


class History(Protocol):
    """The stored samples of another run; `replay` serves them again."""

    form: PromptForm
    # of its prompts
    fingerprint: str
    # identifies the run: its config and its seed

    def completions(self, problem_id: str, first: int, n: int) -> Sequence[Completion]:
        """Up to `n` samples in index order from the `first`-th on."""
        ...

    def close(self) -> None: ...


class Purse(Protocol):
    """A run's budget, as a sampler sees it that may try a Request several times, each of which may cost.

    Its class says `meters_attempts = True`; for all others the engine reserves once a Request.
    """

    async def reserve(self, request: Request, n: int, prompt_tokens: int) -> object | None:
        """A ticket once the worst case of an attempt at `n` samples is durably reserved; None: send nothing more.

        Args: prompt_tokens: an upper bound.
        """
        ...

    def settle(self, ticket: object, usage: Usage | None, samples: int = 0) -> None:
        """What the attempt consumed and how many samples it brought. None: nobody knows, it is charged at its worst case;
        `Usage(0, 0, 0)`: nothing was generated."""
        ...


@dataclass(frozen=True, slots=True)
class SamplerSetup:
    """What a sampler may need at construction and a Request does not carry."""

    run_dir: Path | None = None
    # where the sampler may keep a log of its own
    example: Callable[[str, bool], str | None] | None = None
    # (problem id, right) -> text; given to the fake only
    progress: Callable[[str], None] | None = None
    # one line about slow preparations such as a download
    notice: Callable[[str], None] | None = None
    # one line that belongs to the run's result: what a server does not do, what was drawn again
    base_urls: tuple[str, ...] = ()
    # servers to use instead of the provider's own; several are replicas of one model. May hold keys: never stored, never shown
    send_seed: bool = False
    # the user gave the run a seed: pass seeds on to a server
    max_in_flight: int | None = None
    # requests at once that the user allows
    history: Callable[[str], History] | None = None
    # run folder -> its samples; raises UserError where there is no run
    purse: Purse | None = None
    # the run's budget where it has one


@dataclass(frozen=True, slots=True)
class SamplerTraits:
    """How a sampler likes to be used."""

    form: PromptForm
    # what the model was trained for: instruct models take chat
    max_n: int = 1
    # samples in one request at most
    max_in_flight: int = 64
    # requests at once at most
    fingerprint: str = ""
    # hash of the weights where they are at hand
    parameters: int | None = None
    # number of weights, where known
    in_flight: int | None = None
    # requests at once unless the user says otherwise; None: max_in_flight


@runtime_checkable
class Sampler(Protocol):
    """Draws independent samples. One file a backend in `vervet.samplers`.

    Constructed as `Class(name, setup, **options)`: `name` is what follows "provider/", `options` come from -M and are
    converted by the constructor's annotations. A class attribute `neutral_options` names those that cannot change a text;
    `takes_base_urls = True` says that it talks to servers which the user may name, `meters_attempts = True` that it asks
    `setup.purse` before each attempt.
    """

    def traits(self) -> SamplerTraits:
        """Cheap; may look at the model file but must not load it."""
        ...

    async def sample(self, request: Request) -> Reply:
        """Draw `request.n` samples. Fewer completions than asked are accepted, more are dropped.

        Raises: ConnectionError (out of reach), TimeoutError, ValueError (this request can never succeed).
        """
        ...

    async def aclose(self) -> None: ...

    # optional, where a server may surprise:
    #   def drain(self) -> None: the run stops; what is out may finish, whatever waits comes back at once, with the
    #       completions there are, possibly none
    #   async def probe(self, form: PromptForm) -> dict: a few questions at a run's start; the plain JSON is kept with the run
    #   def adopt(self, found: Mapping) -> None: sample in the way that a probe, also an earlier run's, has shown to be right
    # optional, for judges:
    #   async def first_tokens(self, prompt: Prompt, top: int) -> dict[str, float]: the likeliest first tokens of an answer, and
    #       their probabilities at temperature 1


@runtime_checkable
class Verifier(Protocol):
    """Judges answers. One file each in `vervet.verifiers`; constructed as `Class(**settings)`."""

    name: str
    version: str
    # rises with every change that can change a verdict
    needs: frozenset[str]
    # "sandbox", "lean", "container", "gpu", ...

    def settings(self) -> Mapping[str, Any]:
        """Every setting that can change a verdict, plain JSON; with name and version it is the fingerprint."""
        ...

    def load(self, problem: Problem) -> None:
        """Parse and validate the problem's check. Raises: BadData that names the problem."""
        ...

    async def verify(self, problem: Problem, answers: Sequence[str]) -> list[Verdict]:
        """One verdict an answer, in order. What cannot be decided is UNKNOWN, never an exception and never FAIL."""
        ...

    async def aclose(self) -> None: ...

    # optional:
    #   def connect(self, open_sampler) -> None: called once before all else with a function (model, base URLs) -> Sampler
    #   def stubs(self, problem) -> Mapping: name -> an answer that is wrong whatever the problem, for `vervet audit`
    #   def without_tests(self, problem) -> Problem | None: the problem with nothing left to decide by
    #   reaches_out: frozenset of settings that name programs, files or addresses. A certificate or a request cannot bring
    #       them; of a class that does not say, it can bring no setting at all


@dataclass(frozen=True, slots=True)
class ScorerSetup:
    """What a scorer may need at construction."""

    base_urls: tuple[str, ...] = ()
    # servers that the user named; may hold keys: never stored, never shown
    sampler: Callable[[str], Sampler] | None = None
    # "provider/name" -> the model behind a judge
    progress: Callable[[str], None] | None = None
    # one line about slow preparations such as a download


@runtime_checkable
class Scorer(Protocol):
    """A number per sample: reward models, judges, log-probability. Fingerprinted like a verifier.

    Constructed as `Class(name, setup, **options)`: `name` is what follows "shelf/" in `-m shelf/name`, "" where there is no
    slash. It sees no verdict, no check and no reference; `problem.data["vervet.prompt"]` is the prompt, as plain JSON.
    """

    name: str
    version: str

    def settings(self) -> Mapping[str, Any]: ...

    async def score(self, problem: Problem, samples: Sequence[Sample]) -> list[float | None]:
        """One finite score a sample, higher is better, None where there is none."""
        ...

    async def aclose(self) -> None: ...


@runtime_checkable
class Selector(Protocol):
    """Picks the one answer to hand back."""

    def choose(self, samples: Sequence[Sample]) -> int | None:
        """Position in `samples`, None where nothing can be picked."""
        ...


@runtime_checkable
class Policy(Protocol):
    """How many samples each problem should get: a pure function of stored rows, in index order."""

    design: str
    # what the estimators must know about the counts, "fixed"

    def want(self, rows: Mapping[str, Sequence[int]]) -> Mapping[str, int]:
        """Wanted samples a problem. `rows`: problem id -> outcome codes in index order
        (1 PASS, 0 FAIL, 2 UNKNOWN or pending, 3 missing)."""
        ...

    # constructed as `Class(n, argument)`: what -n says, and what follows "=" in "--policy name=argument" ("" for nothing)
    # optional:
    #   blind = True: looks at no outcome, so that sampling need not wait for verdicts
    #   uses_classes = True: `want(rows, classes)`; classes: problem id -> keys of the answers' classes in index order, as
    #       long as the row (-1: no answer, -2: missing or not yet looked at). Equal keys: equal answers


@runtime_checkable
class Executor(Protocol):
    """Where verification work runs. Results come in any order; every job gives exactly one result."""

    def run(self, jobs: AsyncIterable[Job]) -> AsyncIterator[JobResult]:
        """Take jobs as there is room for them (back-pressure), yield results as they come."""
        ...

    async def aclose(self) -> None: ...

    # optional, where work goes to other machines; still to be had after aclose():
    #   def facts(self) -> dict: which machine judged how many answers under which isolation; the plain JSON is kept with
    #       the run
    #   notices: list[str], one line each that belongs to the run's result: a machine that cannot be used


@dataclass(frozen=True, slots=True)
class Limits:
    """What one untrusted execution may use."""

    cpu_s: float = 10.0
    wall_s: float = 30.0
    memory_mb: int = 512
    # address space
    output_bytes: int = 65536
    disk_mb: int = 16


@dataclass(frozen=True, slots=True)
class SandboxJob:
    """Run argv, with files and stdin, inside an isolation layer."""

    argv: tuple[str, ...]
    stdin: bytes = b""
    files: Mapping[str, bytes] = field(default_factory=dict)
    # relative path -> content, written into the working folder
    limits: Limits = Limits()


@dataclass(frozen=True, slots=True)
class SandboxOutcome:
    """What happened. `started` separates "we could not start it" from "it failed"."""

    started: bool
    error: str = ""
    # why it could not be started, or why nothing can be said
    exit_code: int | None = None
    signal: int | None = None
    stdout: bytes = b""
    stderr: bytes = b""
    cpu_s: float = 0.0
    wall_s: float = 0.0
    limit: str = ""
    # "" or what ended it: "cpu", "wall", "starved", "memory", "output"


@runtime_checkable
class Sandbox(Protocol):
    """Runs untrusted code. Used by verifiers only."""

    isolation: str
    # "namespaces", "docker", "none": recorded with each verdict

    async def run(self, job: SandboxJob) -> SandboxOutcome: ...

    async def aclose(self) -> None: ...
