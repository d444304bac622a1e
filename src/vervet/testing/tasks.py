"""What every task promises, as checks: see `vervet.protocols.Task`.

`build` makes a new task each time it is called.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from vervet.protocols import Task, Verifier
from vervet.records import DataSource, Message, Outcome, Params, Problem, PromptForm, Verdict, VerifierSpec
from vervet.testing import hostile
from vervet.testing._suite import call, is_plain_json, opened, require, run, run_all, short
from vervet.testing.network import no_network

Build = Callable[[], Task]
FORMS: tuple[PromptForm, PromptForm] = ("chat", "completion")
_ROLES = {"system", "user", "assistant"}


def conform_to_task(
    build: Build,
    *,
    verifier: Callable[[VerifierSpec], Verifier] | None = None,
    without_data: Build | None = None,
    references: bool = True,
    examples: int = 3,
    size: int = hostile.MEGABYTE,
) -> None:
    """Run every check of a task.

    Args: verifier: builds the task's default verifier, which then judges the examples; None: they are only extracted.
        without_data: builds the task as a resumed run does where its data set is gone; None: as `build`.
        references: every problem has one.  examples: so many problems' examples are judged, evenly spread.
        size: of the hostile texts, characters.
    Raises: AssertionError that lists the broken promises.
    """
    checks = [
        call(check_names, build),
        call(check_problems, build, references=references),
        call(check_source, build),
        call(check_params, build),
        call(check_prompts, build),
        call(check_extract, build, size=size),
        call(check_linear, build, size=size),
        call(check_canonical, build, size=size),
        call(check_needs_no_data, without_data or build),
        call(check_examples, build, verifier=verifier, examples=examples),
    ]
    run_all("task", *checks)


# ------------------------------------------------------------------------------------------------------ the data


def check_names(build: Build) -> None:
    """`name`, `extractor` and `verifier` are there without any data."""
    task = build()
    require(isinstance(task.name, str) and task.name, "a task has a name")
    stem, slash, version = str(task.extractor).rpartition("/")
    require(stem and slash and version, f"extractor is name and version of `extract`, 'mine/1', not {task.extractor!r}")
    require(isinstance(task.verifier, VerifierSpec), f"verifier is a VerifierSpec, not {short(task.verifier)}")
    require(is_plain_json(task.verifier.settings), "the verifier's settings are plain JSON")


def check_problems(build: Build, *, references: bool = True) -> None:
    """Problems are the same each time, with ids that are unique and checks that are plain JSON."""
    task = build()
    problems = list(task.problems())
    require(problems, "a task has problems")
    for problem in problems:
        require(isinstance(problem, Problem), f"problems() gives Problem records, not {short(problem)}")
        require(isinstance(problem.id, str) and problem.id, f"a problem's id is text: {short(problem.id)}")
        for name in ("check", "data"):
            value = getattr(problem, name)
            require(is_plain_json(value), f"{name} of problem {problem.id!r} is plain JSON, not {short(value)}")
        require(
            isinstance(problem.reference, str) or (problem.reference is None and not references),
            f"problem {problem.id!r} has no reference as text: {short(problem.reference)} (references=False allows None)",
        )
    ids = [p.id for p in problems]
    require(len(set(ids)) == len(ids), f"problem ids are unique: {_twice(ids)!r} comes twice")
    require([p.id for p in task.problems()] == ids, "problems() gives the same problems in the same order each time")
    marks = [(p.id, p.check_fingerprint) for p in problems]
    require(
        [(p.id, p.check_fingerprint) for p in build().problems()] == marks, "two tasks built alike have equal problems"
    )


def _twice(ids: Sequence[str]) -> str:
    seen: set[str] = set()
    return next((i for i in ids if i in seen or seen.add(i)), "")  # type: ignore[func-returns-value]


def check_source(build: Build) -> None:
    """The data's identity does not change from one construction to the next."""
    task = build()
    source = task.source()
    require(isinstance(source, DataSource), f"source() gives a DataSource, not {short(source)}")
    require(source.id and source.fingerprint, "source() has an id and a fingerprint")
    require(task.source() == source, "source() says the same each time")
    other = build()
    other.problems()
    require(
        other.source().fingerprint == source.fingerprint, "the fingerprint is the same for another task built alike"
    )


def check_params(build: Build) -> None:
    """There are default sampling parameters for both forms."""
    task = build()
    for form in FORMS:
        params = task.params(form)
        require(isinstance(params, Params), f"params({form!r}) gives Params, not {short(params)}")
        require(params.temperature >= 0 and params.max_tokens >= 1, f"params({form!r}): {short(params)}")
        require(params.top_p is None or 0 < params.top_p <= 1, f"params({form!r}).top_p is in (0, 1] or None")
        require(
            isinstance(params.stop, tuple) and all(isinstance(s, str) and s for s in params.stop),
            f"params({form!r}).stop is a tuple of texts that are not empty",
        )
        require(is_plain_json(params.extra), f"params({form!r}).extra is plain JSON")


def check_prompts(build: Build) -> None:
    """Every problem has a prompt in both forms, the same each time."""
    task = build()
    for problem in task.problems():
        chat, raw = task.prompt(problem, "chat"), task.prompt(problem, "completion")
        require(
            isinstance(chat, tuple) and chat and all(isinstance(m, Message) for m in chat),
            f"the chat prompt of {problem.id!r} is a tuple of Messages, not {short(chat)}",
        )
        require(all(m.role in _ROLES for m in chat if isinstance(m, Message)), "roles: system, user, assistant")
        require(isinstance(raw, str) and raw, f"the completion prompt of {problem.id!r} is text, not {short(raw)}")
        same = task.prompt(problem, "chat") == chat and task.prompt(problem, "completion") == raw
        require(same, f"the prompt of {problem.id!r} is the same each time")


# ------------------------------------------------------------------------------------------------------ texts and answers


def check_extract(build: Build, *, size: int = hostile.MEGABYTE) -> None:
    """`extract` is total and repeatable: it gives an answer or None for any text, and None for the empty one."""
    task = build()
    for name, text in hostile.texts(size).items():
        answer = _total(task.extract, text, f"extract() on a text of {name}")
        require(answer is None or isinstance(answer, str), f"extract() gives text or None, not {short(answer)}: {name}")
        require(task.extract(text) == answer, f"extract() finds the same answer each time; not so in a text of {name}")
    require(task.extract("") is None, "an empty text holds no answer: extract('') is None")


def check_linear(build: Build, *, size: int = hostile.MEGABYTE) -> None:
    """The time that `extract` and `canonical` take is linear in the text: it meets hostile text in the driver."""
    task = build()
    for function in (task.extract, task.canonical):
        for name, grow in hostile.FAMILIES.items():
            found = hostile.growth(function, grow, size)
            require(not found, f"{function.__name__}() is linear in its text; on {name} it took {found}")


def check_canonical(build: Build, *, size: int = hostile.MEGABYTE) -> None:
    """`canonical` gives a text for any answer, and its own result again for its result."""
    task = build()
    for name, text in hostile.texts(size).items():
        for answer in {text, task.extract(text) or ""}:
            key = _total(task.canonical, answer, f"canonical() on an answer of {name}")
            if not isinstance(key, str):
                raise AssertionError(f"canonical() gives text, not {short(key)}")
            require(
                task.canonical(key) == key,
                f"canonical() of its own result is that result; not so for {name}: {short(key)}",
            )
    for problem in task.problems()[:50]:
        for right in (True, False):
            answer = task.extract(task.example(problem, right) or "") or ""
            key = task.canonical(answer)
            require(task.canonical(key) == key, f"canonical() is idempotent; not so for {short(answer)}")


def _total(function: Callable[[str], str | None], text: str, what: str) -> str | None:
    try:
        return function(text)
    except Exception as error:
        raise AssertionError(f"{what} raised {error!r}: it has to take any text") from error


def check_needs_no_data(build: Build) -> None:
    """Constructing, `extract` and `canonical` need no data set and no network: a resumed run has neither."""
    with no_network() as guard:
        try:
            task = build()
            task.extract("Answer: 4")
            task.canonical("4")
        except Exception as error:
            raise AssertionError(f"without its data set a task still extracts; this one raised {error!r}") from error
    require(not guard.attempts, f"construction, extract() and canonical() open no connection: {guard.attempts}")


# ------------------------------------------------------------------------------------------------------ examples


def check_examples(
    build: Build, *, verifier: Callable[[VerifierSpec], Verifier] | None = None, examples: int = 3
) -> None:
    """From `example(problem, right)` the task extracts an answer that its verifier accepts, or refuses.

    Where a problem has no reference there is no example. Every problem's examples are extracted, `examples` are judged.
    """
    task = build()
    problems = [p for p in task.problems() if _has_examples(task, p)]
    answers = {p.id: tuple(_extracted(task, p, right) for right in (True, False)) for p in problems}
    if verifier is None or not problems:
        return
    chosen = problems[:: max(1, len(problems) // examples)][:examples]

    async def work() -> None:
        async with opened(lambda: verifier(task.verifier)) as judge:
            for problem in chosen:
                judge.load(problem)
                for verdict, wanted in zip(
                    await judge.verify(problem, answers[problem.id]), (Outcome.PASS, Outcome.FAIL), strict=True
                ):
                    _require_outcome(problem, verdict, wanted)

    run(work)


def _has_examples(task: Task, problem: Problem) -> bool:
    texts = [task.example(problem, right) for right in (True, False)]
    if problem.reference is None:
        require(texts == [None, None], f"problem {problem.id!r} has no reference, and yet an example")
        return False
    require(None not in texts, f"problem {problem.id!r} has a reference, and no example")
    return True


def _extracted(task: Task, problem: Problem, right: bool) -> str:
    text = task.example(problem, right)
    answer = task.extract(text or "")
    if answer is None:
        raise AssertionError(f"extract() finds no answer in example({problem.id!r}, right={right}): {short(text)}")
    return answer


def _require_outcome(problem: Problem, verdict: Verdict, wanted: Outcome) -> None:
    kind = "right" if wanted is Outcome.PASS else "wrong"
    require(
        verdict.outcome is wanted,
        f"the {kind} example of {problem.id!r} is judged {verdict.outcome} ({verdict.reason}), not {wanted}: "
        f"{verdict.log[:200]}",
    )
