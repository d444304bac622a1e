"""The same number of samples for every problem: what every unbiased estimator is at home with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from vervet.errors import BadOption


class Fixed:
    """`n` samples a problem, whatever their outcomes."""

    design = "fixed"
    blind = True

    def __init__(self, n: int, argument: str = "") -> None:
        """Raises: BadOption."""
        if argument:
            raise BadOption(f"--policy fixed takes no argument, not {argument!r}")
        self._n = n

    def want(self, rows: Mapping[str, Sequence[int]]) -> Mapping[str, int]:
        return dict.fromkeys(rows, self._n)
