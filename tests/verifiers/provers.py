"""What tests of the provers share."""

from __future__ import annotations

import asyncio
import shutil

import pytest

from vervet.records import Problem


def coqtop() -> str:
    """The program; skips the test where there is none."""
    found = shutil.which("coqtop")
    if found is None:
        pytest.skip("needs coqtop (Debian: apt install coq libcoq-coquelicot)")
    return found


def judge(build, statement, *answers):
    """Verdicts of a verifier that is built, used once and closed."""

    async def run():
        verifier = build()
        try:
            return await verifier.verify(Problem("p", {"statement": statement}), answers)
        finally:
            await verifier.aclose()

    return asyncio.run(run())
