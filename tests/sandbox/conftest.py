"""A fresh runtime for a test, at each strength; it is closed before the check for leftovers."""

from __future__ import annotations

import pytest

from tests.sandbox import strengths


@pytest.fixture(params=strengths.ALL)
def bench(request):
    made = strengths.bench(request.param, slots=1)
    yield made
    strengths.close(made)


@pytest.fixture(params=strengths.ISOLATED)
def isolated(request):
    made = strengths.bench(request.param, slots=1)
    yield made
    strengths.close(made)
