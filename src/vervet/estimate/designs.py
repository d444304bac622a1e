"""Counts collected under a stopping rule: the unbiased estimator for the rule, or the reason why there is none.

Sampling that stops because of what it saw breaks pass@k = 1 - C(n-c, k) / C(n, k): a problem stopped at its first PASS
after n draws has c / n = 1 / n, which is above its p on average. What stays true: given the counts and the rule, every
order of outcomes that the rule allows is equally likely. The chance that the first k draws held a PASS, given the
counts, is therefore unbiased (Rao and Blackwell), and has a closed form for

* first-pass: stop at the first PASS;
* m-passes=M: stop at the M-th PASS. Before the last draw, M - 1 passes stand anywhere among n - 1 draws;
* blocks=B: draw B at a time, stop after a block with a PASS. The passes stand anywhere in the last block;

each with problems that were given up unsolved at n draws, where any order is possible.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vervet.errors import BadData, BadOption
from vervet.estimate.coverage import pass_curve
from vervet.records import FloatArray, IntArray

_PLAIN = 5
# problems that must have stopped before the cap, each exactly as the rule says, before counts are said to show it


@dataclass(frozen=True, slots=True)
class Design:
    """How samples were collected."""

    kind: str
    # "fixed", "m-passes", "blocks", "adaptive"
    size: int = 0
    # M or B
    name: str = "fixed"
    # as the user writes it

    @property
    def rule(self) -> str:
        """The stopping rule in words."""
        return {
            "fixed": "n was chosen in advance",
            "m-passes": f"each problem was sampled until it had {self.size} PASS",
            "blocks": f"each problem was sampled {self.size} at a time until a block held a PASS",
            "adaptive": "n was chosen by what earlier samples showed",
        }[self.kind]


def parse(name: str) -> Design:
    """A design by name. Raises: BadOption that lists the names."""
    text = name.strip().lower().replace("_", "-")
    if text in {"fixed", "adaptive"}:
        return Design(text, 0, text)
    if text.partition("=")[0] == "votes":  # sampling that ends when answers agree
        return Design("adaptive", 0, text)
    if text == "first-pass":
        return Design("m-passes", 1, text)
    kind, _, number = text.partition("=")
    if kind in {"m-passes", "blocks"} and number.isdigit() and int(number) >= 1:
        return Design(kind, int(number), text)
    raise BadOption(f"unknown design {name!r}: use fixed, first-pass, m-passes=M, blocks=B or adaptive")


def recognise(n: IntArray, c: IntArray) -> Design | None:
    """The stopping rule that shows plainly in counts, None where n may have been chosen in advance.

    It shows where n differs between problems, every problem below the largest n stopped exactly at the rule, and at
    least five did so.
    """
    top = int(n.max(initial=0))
    stopped = n < top
    if np.sum(stopped) < _PLAIN or np.any(n == 0):
        return None
    goal = int(c.max())
    if goal >= 1 and np.all(c[stopped] == goal) and len(np.unique(n)) > 2:
        return Design("m-passes", goal, "first-pass" if goal == 1 else f"m-passes={goal}")
    block = int(np.gcd.reduce(n))
    if block > 1 and np.all(c[stopped] >= 1) and goal <= block and len(np.unique(n)) > 2:
        return Design("blocks", block, f"blocks={block}")
    return None


def check(design: Design, n: IntArray, c: IntArray) -> None:
    """Raises: BadOption that names the bias where no estimator fits; BadData where the counts contradict the design."""
    if design.kind == "adaptive":
        raise BadOption(
            f"{design.name} design: outcomes decided which problems got more samples, so c / n is biased (too high "
            "where a PASS ended it). Count the samples that every problem got, or forecast, which needs no fixed n"
        )
    if design.kind == "m-passes" and np.any(c > design.size):
        raise BadData(
            f"design {design.name}: {int(np.sum(c > design.size))} problems have more than {design.size} PASS. "
            "Count up to the stopping sample only"
        )
    if design.kind == "blocks" and np.any((c > design.size) | (n % design.size != 0)):
        raise BadData(f"design {design.name}: n must be a multiple of {design.size}, and c no more than that")


def known_to(design: Design, n: IntArray, c: IntArray) -> IntArray:
    """The largest k about which each problem's counts are unbiased: its n, or no limit where the rule stopped it."""
    if design.kind == "fixed":
        return n
    return np.where(_stopped(design, c), np.iinfo(np.int64).max, n)


def pass_curve_of(design: Design, n: IntArray, c: IntArray, k: IntArray) -> FloatArray:
    """Unbiased estimates of 1 - (1-p)^k, shape (ks, problems); where n falls short of k, of the most that is known."""
    if design.kind == "fixed":
        return pass_curve(n, c, k)
    grid = k[:, None]
    plain = pass_curve(n, c, k)
    if design.kind == "m-passes":
        before = pass_curve(np.maximum(n - 1, 0), np.full(len(n), design.size - 1).clip(max=np.maximum(n - 1, 0)), k)
    else:
        block, first = np.full(len(n), design.size), n - design.size
        before = np.stack([_within(block, c, one - first) for one in k])
    return np.where(_stopped(design, c), np.where(grid >= n, 1.0, before), plain)


def _stopped(design: Design, c: IntArray) -> NDArray[np.bool_]:
    return c >= (design.size if design.kind == "m-passes" else 1)


def _within(block: IntArray, c: IntArray, k: IntArray) -> FloatArray:
    """pass@k inside the last block; 0 before it."""
    inside = np.clip(k, 0, block)
    values = np.zeros(len(block))
    for one in np.unique(inside):
        if one > 0:
            chosen = inside == one
            values[chosen] = pass_curve(block[chosen], np.minimum(c, block)[chosen], np.array([one]))[0]
    return values
