"""The ledger: problems, requests, samples, answers, verdicts and scores of a run, append-only and durable."""

from vervet.ledger.group import GroupCommit
from vervet.ledger.lock import unsafe_filesystem
from vervet.ledger.read import Facts, Stored, View, counts, facts, outcomes, samples, stored, tally, undecided, view
from vervet.ledger.store import Ledger
from vervet.ledger.write import Drawn, Extracted, NewAnswer, Recorder, Trials, verifier_id

__all__ = [
    "Drawn",
    "Extracted",
    "Facts",
    "GroupCommit",
    "Ledger",
    "NewAnswer",
    "Recorder",
    "Stored",
    "Trials",
    "View",
    "counts",
    "facts",
    "outcomes",
    "samples",
    "stored",
    "tally",
    "undecided",
    "unsafe_filesystem",
    "verifier_id",
    "view",
]
