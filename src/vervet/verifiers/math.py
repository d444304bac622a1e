"""The answer is mathematically equal to the expected one: 1/2 is 0.5, (1, 2) is (1,2) and not (2,1), x = 5 is 5.

Check: {"expected": answer as text, LaTeX or plain; or a list of which any will do}.

Spellings and exact numbers are compared here, at once. Tuples, intervals, sets, lists and matrices are taken apart, and
what is left goes to `math-verify` in processes of its own, which are killed where they take too long: an answer that
cannot be read within the limits is FAIL, a comparison that does not end is UNKNOWN. Each distinct pair is compared once.

Units and a left side ("x =") may be left out by either side; where both have one it has to be the same. 50% is 50, and
0.5. Decimals are exact: 0.333 is not 1/3.
"""

from __future__ import annotations

import asyncio
import functools
import importlib.metadata
import itertools
import re
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

from vervet.errors import BadOption, MissingPart
from vervet.records import Outcome, Problem, Reason, Strength, Verdict
from vervet.text.math import LONGEST, Spelling, spell
from vervet.text.numbers import parse_number
from vervet.text.structure import Shape, shape
from vervet.verifiers import _fields
from vervet.verifiers._math_pool import Compared, Workers

EQUAL = Compared(Outcome.PASS, Reason.ACCEPTED)
DIFFERENT = Compared(Outcome.FAIL, Reason.WRONG)
_KEPT = 100_000
# compared pairs that are remembered
_PARTS = 24
# of a list that is compared part by part


class Math:
    """Equality of mathematical expressions; nothing of an answer is executed."""

    name = "math"
    version: str
    # ours, and those of what compares: each can change a verdict
    needs: frozenset[str] = frozenset()

    def __init__(self, *, cpu_s: float = 5.0, memory_mb: int = 1024, workers: int | None = None) -> None:
        """Args: cpu_s: processor seconds for one comparison; memory_mb: address space; workers: processes at most."""
        if not 0 < cpu_s <= 3600:
            raise BadOption("cpu_s is a number of seconds between 0 and 3600")
        if memory_mb < 512:
            raise BadOption("memory_mb is at least 512: sympy itself needs that")
        self.version = "1" + "".join(f" {package} {number}" for package, number in _versions().items())
        self._cpu_s, self._memory_mb = float(cpu_s), int(memory_mb)
        self._workers = Workers(self._cpu_s, self._memory_mb, workers)
        self._known: dict[tuple[str, str], asyncio.Future[Compared]] = {}

    def settings(self) -> Mapping[str, Any]:
        """The limits."""
        return {"cpu_s": self._cpu_s, "memory_mb": self._memory_mb}

    def load(self, problem: Problem) -> None:
        """Raises: BadData that names the problem, MissingPart without math-verify."""
        _expected(problem)
        if not _versions()["math-verify"]:
            raise MissingPart("the verifier 'math' needs math-verify: pip install 'vervet[math]'")

    async def verify(self, problem: Problem, answers: Sequence[str]) -> list[Verdict]:
        """PASS, FAIL, or UNKNOWN where a comparison did not end. Raises: MissingPart."""
        self.load(problem)
        golds = _expected(problem)
        return list(await asyncio.gather(*(self._judge(golds, answer.strip()) for answer in answers)))

    async def _judge(self, golds: Sequence[str], answer: str) -> Verdict:
        if not answer:
            return Verdict(Outcome.FAIL, Reason.NO_ANSWER, Strength.EXACT)
        found = DIFFERENT
        for gold in golds:
            compared = await self.compare(gold, answer)
            if compared.outcome is Outcome.PASS:
                found = compared
                break
            if compared.outcome is Outcome.UNKNOWN or found is DIFFERENT:
                found = compared
        return Verdict(found.outcome, found.reason, Strength.EXACT, cpu_s=found.cpu_s, log=found.log)

    async def aclose(self) -> None:
        """End the worker processes."""
        await self._workers.aclose()

    # --------------------------------------------------------------------------------------------- comparing

    async def compare(self, gold: str, answer: str) -> Compared:
        """Gold first: an equation may be answered by its right side, not the other way round."""
        if len(answer) > LONGEST or len(gold) > LONGEST:
            same = " ".join(gold.split()) == " ".join(answer.split())
            return EQUAL if same else Compared(Outcome.FAIL, Reason.WRONG, log=f"longer than {LONGEST} characters")
        left, right = spell(gold), spell(answer)
        decided = quick(left, right)
        if decided is not None:
            return EQUAL if decided else DIFFERENT
        return await self._structures(left, right, gold, answer)

    async def _structures(self, left: Spelling, right: Spelling, gold: str, answer: str) -> Compared:
        a, b = shape(left.value), shape(right.value)
        if a.kind == b.kind == "atom" or "atom" in {a.kind, b.kind}:
            if (
                {a.kind, b.kind} <= {"atom", "list", "set"}
                and a.kind != b.kind
                and 1 not in {len(a.parts), len(b.parts)}
            ):
                return DIFFERENT
            return await self._slowly(left, right, gold, answer)
        if a.kind == b.kind == "matrix" and (a.columns != b.columns or len(a.parts) != len(b.parts)):
            return DIFFERENT
        if "union" in {a.kind, b.kind} and a.kind != b.kind:
            return await self._slowly(left, right, gold, answer)
        if not _same_kind(a, b) or len(a.parts) != len(b.parts):
            return DIFFERENT
        if len(a.parts) > _PARTS and not (a.ordered or b.ordered):
            return await self._slowly(left, right, gold, answer)
        if a.ordered or b.ordered:
            return _all([await self.compare(x, y) for x, y in zip(a.parts, b.parts, strict=True)])
        return await self._unordered(a, b)

    async def _unordered(self, a: Shape, b: Shape) -> Compared:
        """Whether the parts can be paired off; what is spelled alike first, so that few pairs are left to compare."""
        missing, extra = list(a.parts), list(b.parts)
        for part in a.parts:
            twin = next((x for x in extra if quick(spell(part), spell(x))), None)
            if twin is not None:
                missing.remove(part)
                extra.remove(twin)
        rows = [[await self.compare(x, y) for y in extra] for x in missing]
        best = DIFFERENT
        for order in itertools.islice(itertools.permutations(range(len(extra))), 5040):
            found = _all([rows[i][j] for i, j in enumerate(order)])
            if found.outcome is Outcome.PASS:
                return found
            best = found if found.outcome is Outcome.UNKNOWN else best
        return best

    async def _slowly(self, left: Spelling, right: Spelling, gold: str, answer: str) -> Compared:
        if left.unit and right.unit and left.unit != right.unit:
            return DIFFERENT
        both = bool(left.left and right.left)
        pairs = [(gold, answer)] if both and left.left != right.left else [(left.value, right.value)]
        if not both and (left.left or right.left):
            pairs.append((gold, answer))
        first = await self._pair(*pairs[0])
        if first.outcome is Outcome.PASS or len(pairs) == 1:
            return first
        return await self._pair(*pairs[1])

    async def _pair(self, gold: str, answer: str) -> Compared:
        """A worker's word, asked for once: whoever else needs it waits for the same reply."""
        key = (gold, answer)
        known = self._known.get(key)
        if known is None:
            if len(self._known) >= _KEPT:
                self._known.pop(next(iter(self._known)))
            known = self._known[key] = asyncio.ensure_future(self._workers.compare(gold, answer))
        try:
            found = await asyncio.shield(known)
        except BaseException:
            if known.done():
                self._known.pop(key, None)
            raise
        if found.again:
            # about this machine now, not about these two: the next try asks anew
            self._known.pop(key, None)
        return found


def quick(gold: Spelling, answer: Spelling) -> bool | None:
    """Equality where spelling and exact numbers settle it; None where they do not."""
    if gold.unit and answer.unit and gold.unit != answer.unit:
        return False
    lefts = not (gold.left and answer.left) or gold.left == answer.left
    if gold.value == answer.value:
        return True if lefts else None
    if gold.words or answer.words:
        # letters would be read as a product of variables, and "evil" is no "live"
        return lefts and gold.value.lower() == answer.value.lower()
    if any(len(s.value) == 1 and s.value.isalpha() for s in (gold, answer)) and len(answer.value) == len(gold.value):
        return False
    if any(_BASE.fullmatch(s.value) for s in (gold, answer)):
        # a numeral in another base: its digits are no number to compute with
        return False
    return _as_numbers(gold, answer) if lefts else None


_BASE = re.compile(r"[0-9A-Z]+_(?:\d|\{\d+\})")
_REPEATING = re.compile(r"(-?)(\d*)\.(\d{0,40})\\overline\{(\d{1,40})\}", re.ASCII)


def _as_numbers(gold: Spelling, answer: Spelling) -> bool | None:
    a, b = _number(gold.value), _number(answer.value)
    if a is None or b is None:
        return None
    if (gold.unit == "\\%") != (answer.unit == "\\%"):
        return a == b or (a / 100 == b if gold.unit == "\\%" else b / 100 == a)
    return a == b


def _number(value: str) -> Fraction | None:
    """Also \\frac{3}{4} of plain numbers, and 0.\\overline{3}."""
    repeating = _REPEATING.fullmatch(value)
    if repeating:
        sign, whole, fixed, period = repeating.groups()
        tail = Fraction(int(period), 10 ** len(fixed) * (10 ** len(period) - 1))
        found = Fraction(f"{whole or '0'}.{fixed}0") + tail
        return -found if sign else found
    inner = value.removeprefix("-")
    if inner.startswith("\\frac{") and inner.endswith("}") and inner.count("{") == 2:
        above, _, below = inner[6:-1].partition("}{")
        if above.lstrip("-").isdecimal() and below.isdecimal():
            sign = "-" if value.startswith("-") != above.startswith("-") else ""
            return parse_number(f"{sign}{above.lstrip('-')}/{below}")
    return parse_number(value)


def _same_kind(a: Shape, b: Shape) -> bool:
    """Tuples and intervals keep their brackets; a list may stand for a set, or for a tuple whose brackets were left out."""
    if a.kind == b.kind:
        return a.brackets == b.brackets
    kinds = {a.kind, b.kind}
    if kinds == {"list", "tuple"}:
        return "()" in {a.brackets, b.brackets}
    return kinds == {"list", "set"}


def _all(found: Sequence[Compared]) -> Compared:
    """FAIL where one part differs, else UNKNOWN where one is not known, else PASS."""
    for outcome in (Outcome.FAIL, Outcome.UNKNOWN):
        for compared in found:
            if compared.outcome is outcome:
                return compared
    return EQUAL


def _expected(problem: Problem) -> tuple[str, ...]:
    _fields.only(problem, frozenset({"expected"}))
    texts = _fields.texts(problem, "expected")
    if not all(text.strip() for text in texts):
        _fields.bad(problem, "its expected answer is empty")
    return texts


@functools.cache
def _versions() -> dict[str, str]:
    found = {}
    for package in ("math-verify", "latex2sympy2-extended", "sympy"):
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = ""
    return found
