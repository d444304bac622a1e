"""The names of fits and forecasts, listed once and shared by Python, the command line and JSON."""

from __future__ import annotations

from collections.abc import Sequence

from vervet.errors import UnknownName

SPACES = ("log-coverage", "coverage")
"""Where an exponentiated power law is fitted by least squares; the paper's is the first."""

MIXTURES = ("beta-binomial", "scaled-beta-binomial", "zero-inflated-beta-binomial", "kumaraswamy-binomial")
"""Distributions of difficulty with two or three parameters, fitted to counts by maximum likelihood."""

FIT_MODELS = ("exponentiated-power-law", "log-log", *MIXTURES, "non-parametric")

FORECAST_METHODS = (
    "combination",
    "hierarchical",
    "log-log",
    "exponentiated-power-law",
    "exponentiated-power-law-in-coverage",
    *MIXTURES,
    "non-parametric",
)
"""The first is the default."""


def spelt(name: str, known: Sequence[str], what: str) -> str:
    """`name` as the list spells it; underscores count as hyphens. Raises: UnknownName that lists the names."""
    text = name.strip().lower().replace("_", "-")
    if text not in known:
        raise UnknownName(f"no {what} {name!r}: choose from {', '.join(known)}")
    return text
