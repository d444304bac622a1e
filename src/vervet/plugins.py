"""Short name -> "module:Class", loaded when it is used.

Everything that can be chosen by name is in the tables below; third parties add names by entry points in the groups
`vervet.tasks`, `vervet.samplers`, `vervet.verifiers`, `vervet.policies`, `vervet.executors`, `vervet.scorers` and
`vervet.selectors`. On the command line and in Python a dotted path `module:Class` works too; a name that comes out of a
ledger or a request does not get that far.
"""

from __future__ import annotations

import difflib
import functools
import importlib
import importlib.metadata
import inspect
import typing
from collections.abc import Mapping
from typing import Any

from vervet.errors import BadOption, MissingPart, UnknownName, UserError, boundary

TABLES: dict[str, dict[str, str]] = {
    "tasks": {
        "humaneval": "vervet.tasks.humaneval:HumanEval",
        "codecontests": "vervet.tasks.codecontests:CodeContests",
        "gsm8k": "vervet.tasks.gsm8k:Gsm8k",
        "minif2f": "vervet.tasks.minif2f:MiniF2F",
        "jsonl": "vervet.tasks.jsonl:Jsonl",
        "math": "vervet.tasks.math:CompetitionMath",
        "mbpp": "vervet.tasks.mbpp:Mbpp",
        "reasoning-gym": "vervet.tasks.reasoning_gym:ReasoningGym",
        "prompt": "vervet.tasks.prompt:OnePrompt",
        "swebench-lite": "vervet.tasks.swebench_lite:SWEBenchLite",
    },
    "samplers": {
        "openai": "vervet.samplers.openai:OpenAI",
        "anthropic": "vervet.samplers.openai:Anthropic",
        "google": "vervet.samplers.openai:Google",
        "together": "vervet.samplers.openai:Together",
        "deepseek": "vervet.samplers.openai:DeepSeek",
        "openrouter": "vervet.samplers.openai:OpenRouter",
        "vllm": "vervet.samplers.openai:VLLM",
        "sglang": "vervet.samplers.openai:SGLang",
        "ollama": "vervet.samplers.openai:Ollama",
        "command": "vervet.samplers.command:Command",
        "hf": "vervet.samplers.hf:HF",
        "fake": "vervet.samplers.fake:Fake",
        "local": "vervet.samplers.local:Local",
        "replay": "vervet.samplers.replay:Replay",
        "tactics": "vervet.samplers.tactics:Tactics",
    },
    "verifiers": {
        "command": "vervet.verifiers.command:Command",
        "exact": "vervet.verifiers.exact:Exact",
        "judge": "vervet.verifiers.judge:Judge",
        "math": "vervet.verifiers.math:Math",
        "number": "vervet.verifiers.number:Number",
        "python_tests": "vervet.verifiers.python_tests:PythonTests",
        "reasoning_gym": "vervet.verifiers.reasoning_gym:ReasoningGym",
        "regex": "vervet.verifiers.regex:Regex",
        "lean": "vervet.verifiers.lean:Lean",
        "rocq": "vervet.verifiers.rocq:Rocq",
        "stdio_tests": "vervet.verifiers.stdio_tests:StdioTests",
        "swebench": "vervet.verifiers.swebench:SWEBench",
    },
    "policies": {
        "fixed": "vervet.policies.fixed:Fixed",
        "first-pass": "vervet.policies.m_passes:FirstPass",
        "solve": "vervet.policies.solve:Solve",
        "m-passes": "vervet.policies.m_passes:MPasses",
        "adaptive": "vervet.policies.adaptive:Adaptive",
        "adaptive-consistency": "vervet.policies.votes:AdaptiveConsistencyPolicy",
        "early-stopping": "vervet.policies.votes:EarlyStoppingPolicy",
    },
    "executors": {"local": "vervet.executors.local:Local", "ray": "vervet.executors.ray:Ray"},
    "scorers": {
        "judge": "vervet.scorers.judge:Judge",
        "served": "vervet.scorers.served:Served",
        "hf": "vervet.scorers.hf:SequenceClassifier",
        "logprob": "vervet.scorers.logprob:MeanLogProbability",
    },
    "selectors": {
        "majority": "vervet.selectors.majority:Majority",
        "weighted-majority": "vervet.selectors.majority:WeightedMajority",
        "best-of-k": "vervet.selectors.single:BestOfK",
        "verified": "vervet.selectors.majority:Verified",
        "first": "vervet.selectors.single:First",
        "oracle": "vervet.selectors.single:Oracle",
    },
}


def names(shelf: str) -> list[str]:
    """Every short name on a shelf ("tasks", "samplers", ...), built-ins first."""
    return [*TABLES[shelf], *(n for n in sorted(_entry_points(shelf)) if n not in TABLES[shelf])]


def resolve(shelf: str, name: str, *, dotted: bool = False) -> type[Any]:
    """The class behind a name. `dotted` also takes "module:Class".

    Raises: UnknownName that lists what there is, MissingPart where an extra is not installed, PluginError.
    """
    target = TABLES[shelf].get(name)
    if target is None and name in _entry_points(shelf):
        with boundary(f"plug-in {name!r}"):
            loaded: type[Any] = _entry_points(shelf)[name].load()
            return loaded
    if target is None:
        if dotted and ":" in name:
            return _load(shelf, name)
        raise UnknownName(f"unknown {_singular(shelf)} {name!r}{_hint(name, names(shelf))}")
    return _load(shelf, target)


def member(shelf: str, name: str) -> tuple[str, dict[str, str]]:
    """ "reasoning-gym/chain_sum" -> ("reasoning-gym", {"dataset": "chain_sum"}): a family's name, and the option that its
    class's `member_option` says. Any other name comes back as it is, with no option."""
    family, sign, tail = name.partition("/")
    if sign and family in names(shelf):
        option = getattr(resolve(shelf, family), "member_option", None)
        if option:
            return family, {option: tail}
    return name, {}


def _load(shelf: str, target: str) -> type[Any]:
    module_name, _, attribute = target.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and (module_name == error.name or module_name.startswith(error.name + ".")):
            raise UnknownName(f"no module {module_name!r} for {_singular(shelf)} {target!r}: check the path") from error
        raise MissingPart(f"{target} needs the package {error.name!r}: pip install it") from error
    found: type[Any] | None = getattr(module, attribute, None)
    if found is None:
        raise UnknownName(f"module {module_name!r} has no {attribute!r}: check {_singular(shelf)} {target!r}")
    return found


def build(target: type[Any], what: str, *args: Any, options: Mapping[str, Any]) -> Any:
    """`target(*args, **options)`, each option converted by the constructor's annotation.

    Options may be text (-T, -M) or values (Python). Raises: BadOption that names the option and what it takes.
    """
    known = parameters(target)
    for key in options:
        if key not in known:
            raise BadOption(f"{what} has no option {key!r}{_hint(key, list(known)) if known else ' (it has none)'}")
    return target(*args, **{key: _convert(what, key, value, known[key]) for key, value in options.items()})


def parameters(target: type[Any]) -> dict[str, inspect.Parameter]:
    """The constructor's keyword-only parameters: a component's options."""
    try:
        signature = inspect.signature(target, eval_str=True)
    except NameError:
        signature = inspect.signature(target)
    return {n: p for n, p in signature.parameters.items() if p.kind is inspect.Parameter.KEYWORD_ONLY}


def _convert(what: str, key: str, value: Any, parameter: inspect.Parameter) -> Any:
    from pydantic import TypeAdapter, ValidationError  # noqa: PLC0415  settings only, and slow to import

    annotation = Any if parameter.annotation is inspect.Parameter.empty else parameter.annotation
    try:
        adapter: TypeAdapter[Any] = TypeAdapter(annotation)
        return adapter.validate_python(value)
    except ValidationError as error:
        expected = error.errors()[0]["msg"].removeprefix("Input should be ").removeprefix("a valid ")
        shown = typing.get_args(annotation) if typing.get_origin(annotation) is typing.Literal else None
        detail = f"one of {', '.join(map(str, shown))}" if shown else expected
        raise BadOption(f"{what} option {key}={value!r}: should be {detail}") from error


@functools.cache
def _entry_points(shelf: str) -> dict[str, importlib.metadata.EntryPoint]:
    return {point.name: point for point in importlib.metadata.entry_points(group=f"vervet.{shelf}")}


def _singular(shelf: str) -> str:
    return {"policies": "policy", "samplers": "model provider"}.get(shelf, shelf.removesuffix("s"))


def _hint(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f": did you mean {close[0]!r}?" if close else f": choose from {', '.join(known)}"


def parse_options(pairs: list[str], flag: str) -> dict[str, str]:
    """["a=1", "b=x=y"] -> {"a": "1", "b": "x=y"}. Raises: BadOption."""
    out: dict[str, str] = {}
    for pair in pairs:
        key, sign, value = pair.partition("=")
        if not sign or not key:
            raise BadOption(f"{flag} {pair!r}: write {flag} name=value")
        out[key.strip().replace("-", "_")] = value
    return out


def split_model(model: str) -> tuple[str, str]:
    """ "provider/name" -> (provider, name). Raises: UserError."""
    provider, sign, name = model.partition("/")
    if not sign or not provider or not name:
        raise UserError(f"model {model!r}: write provider/name, such as local/smollm2-135m or fake/p=0.03")
    return provider, name
