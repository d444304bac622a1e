"""A kept `coqtop` in the sandbox: sentences in, replies out, states to go back to.

With `-emacs` each reply ends in a prompt that carries a state number, which rises with every sentence that was
accepted: no message has to be understood to know whether one was. A message can imitate a prompt, so whatever counts
is followed by a question about a name that nobody can know; until its reply comes all prompts are counted, and there must be
one a sentence.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from vervet.protocols import Limits
from vervet.sandbox.sessions import Session
from vervet.verifiers._prover import Conversation, Stop, Stopped

ARGUMENTS = ("-q", "-emacs")
COMMON = "Require Reals ZArith QArith Arith NArith List Lra Lia Psatz."
"""Loaded once into each process; a problem's own imports then cost milliseconds."""
_PROMPT = re.compile(rb"<prompt>[^<>]* < (\d+) \|[^<>|]*(?:\|[^<>|]*)*\| \d+ < </prompt>")
_END = b"</prompt>"
_START_S = 120.0
# for the libraries, on a machine that is busy


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back for one sentence."""

    accepted: bool
    text: str
    state: int


class Top(Conversation):
    """One coqtop process. Not for several users at once."""

    def __init__(self, session: Session, limits: Limits) -> None:
        super().__init__(session, limits)
        self.state = 0
        # the prover's number for where it is
        self.uses = 0
        # answers judged so far

    @classmethod
    async def start(cls, program: str, kind: str, limits: Limits, shown: Sequence[str]) -> Top:
        """A process with the common libraries loaded. Raises: MissingPart, Stopped."""
        whole = Limits(cpu_s=1e9, wall_s=1e9, memory_mb=limits.memory_mb, disk_mb=16)
        session = await Session.start([program, *ARGUMENTS], kind, whole, shown=shown)
        top = cls(session, limits)
        try:
            await top.begin(Limits(cpu_s=_START_S, wall_s=_START_S))
            top.state = (await top._reply()).state
            for sentence in ("Set Silent.", COMMON):
                await top.ask(sentence)
        except BaseException:
            await top.aclose()
            raise
        return top

    async def ask(self, sentence: str) -> Reply:
        """One sentence. Raises: Stopped."""
        await self.session.write(_line(sentence))
        return await self._reply()

    async def certain(self, sentences: Sequence[str]) -> list[Reply]:
        """Replies to sentences none of which is an answer's, and proof that no reply so far was imitated.

        Raises: Stopped, CONFUSED where there were more prompts than sentences.
        """
        mark = f"vervet_{secrets.token_hex(8)}"
        await self.session.write(b"".join(_line(s) for s in sentences) + _line(f"Print {mark}."))
        wanted = f"Error: {mark} not a defined object.".encode()
        await self.until(lambda data: wanted in data and data.rstrip().endswith(_END))
        taken, self.buffer = self.buffer, b""
        replies = []
        before = 0
        for match in _PROMPT.finditer(taken):
            replies.append(self._read(taken[before : match.end()], match))
            before = match.end()
        if len(replies) != len(sentences) + 1 or mark not in replies[-1].text:
            raise Stopped(Stop.CONFUSED, "its output imitates the prover's prompt")
        return replies[:-1]

    async def _reply(self) -> Reply:
        await self.until(lambda data: data.rstrip().endswith(_END) and _PROMPT.search(data) is not None)
        taken, self.buffer = self.buffer, b""
        matches = list(_PROMPT.finditer(taken))
        if len(matches) != 1:
            raise Stopped(Stop.CONFUSED, "its output imitates the prover's prompt")
        return self._read(taken, matches[0])

    def _read(self, data: bytes, prompt: re.Match[bytes]) -> Reply:
        before, self.state = self.state, int(prompt[1])
        text = data[: data.rindex(b"<prompt>")].decode("utf-8", "replace").strip()
        return Reply(self.state != before, text, self.state)


def _line(sentence: str) -> bytes:
    # a line feed inside would be harmless, but the echo in an error message shows one line
    return sentence.encode("utf-8", "replace") + b"\n"
