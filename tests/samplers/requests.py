"""Texts of a sampler, asked for directly."""

from __future__ import annotations

import asyncio

from vervet.records import Params, Request


def request(sampler, first, n, run_seed=7):
    """The texts of samples [first, first + n) of one problem."""
    asked = Request("p", "prompt", Params(1.0, None, 16), first, n, run_seed)
    return [c.text for c in asyncio.run(sampler.sample(asked)).completions]
