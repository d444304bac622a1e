"""Proofs in Lean, judged by the real elaborator and kernel: honest ones PASS, tricks FAIL and their twins PASS.

The Lean here is the complete program without its standard library, so that files begin with `prelude`: no tactics, no
notation, no metaprograms. Tricks that need those are refused by their words, which `test_lean_text` holds, and are not run.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess

import pytest
from aiohttp import web

from tests.verifiers.provers import LEAN_FILES, judge, lean_path, make_lean
from vervet.errors import MissingPart
from vervet.records import Outcome, Problem, Reason
from vervet.testing.verifiers import conform_to_verifier
from vervet.verifiers.lean import Lean

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

HEADER = "prelude\nimport Mini\n\n"
STATED = "theorem f (n : Nat) : Eq (Nat.add Nat.zero n) n"
TRUE = f"{HEADER}{STATED} := by sorry"
FALSE_STATED = "theorem f (n : Nat) : Eq (Nat.succ n) n"
FALSE = f"{HEADER}{FALSE_STATED} := by sorry"
TERM = "Nat.rec (motive := fun n => Eq (Nat.add Nat.zero n) n) (Eq.refl _) (fun _ ih => congrArg Nat.succ ih) n"
PROOF = f"{STATED} := {TERM}"

ATTACKS = {
    "sorry": ":= sorry",
    "sorryAx": ":= sorryAx _ Bool.true",
    "sorryAx in a lemma": f"theorem g (n : Nat) : Eq (Nat.succ n) n := sorryAx _ Bool.true\n{FALSE_STATED} := g n",
    "an axiom": f"axiom cheat (n : Nat) : Eq (Nat.succ n) n\n{FALSE_STATED} := cheat n",
    "an axiom under another word": f"private axiom cheat (n : Nat) : Eq (Nat.succ n) n\n{FALSE_STATED} := cheat n",
    "another statement": "theorem f (n : Nat) : Eq n n := Eq.refl n",
    "an extra assumption": "theorem f (n : Nat) (h : False) : Eq (Nat.succ n) n := False.rec (fun _ => Eq (Nat.succ n) n) h",
    "a variable": f"variable (h : False)\ninclude h\n{FALSE_STATED} := False.rec (fun _ => Eq (Nat.succ n) n) h",
    "another Nat": "namespace M\ninductive Nat where\n | z : Nat\ndef Nat.succ (n : Nat) := n\n"
    "theorem f (n : Nat) : Eq (Nat.succ n) n := Eq.refl n\nend M",
    "another Eq": "namespace M\ndef Eq (a b : Nat) := True\ntheorem f (n : Nat) : Eq (Nat.succ n) n := True.intro\nend M",
    "a failed theorem, then its axioms": f"{FALSE_STATED} := Eq.refl n\n#print axioms f",
    "an unknown name": ":= nosuch",
    "the kernel's check off": f"set_option debug.skipKernelTC true\n{FALSE_STATED} := Eq.refl n",
    "an unsafe definition": f"unsafe def c (n : Nat) : Eq (Nat.succ n) n := c n\n{FALSE_STATED} := c n",
    "a circle": f"{FALSE_STATED} := f n",
    "a notation": f'notation "Nat.succ" => fun n => n\n{FALSE_STATED} := Eq.refl n',
    "output": f'#eval "vervet"\n{FALSE_STATED} := Eq.refl n',
    "an end of the file": "#exit",
    "an open section": f"section S\n{FALSE_STATED} := Eq.refl n",
    "an open comment": "/- never closed",
    "no theorem": "theorem g : True := True.intro",
}


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lean")
    folder.chmod(0o755)
    made = make_lean(folder)
    before = os.environ.get("LEAN_PATH")
    os.environ["LEAN_PATH"] = lean_path(made)
    yield made
    if before is None:
        del os.environ["LEAN_PATH"]
    else:
        os.environ["LEAN_PATH"] = before


@pytest.fixture
def build(program):
    return lambda: Lean(lean=str(program))


def test_honest_proofs_pass_in_every_form(build):
    lemma = f"theorem g (n : Nat) : Eq (Nat.add Nat.zero n) n := {TERM}\n{STATED} := g n"
    renamed = (
        "theorem f (m : Nat) : Eq (Nat.add Nat.zero m) m := " + TERM.replace(" n\x00", " m").removesuffix(" n") + " m"
    )
    answers = [
        PROOF,
        f":= {TERM}",
        f"{HEADER}{PROOF}",
        lemma,
        renamed,
        f"section S\n{PROOF}\nend S",
        f"-- axiom, sorry\n{PROOF}",
    ]
    verdicts = judge(build, TRUE, *answers)
    assert [v.outcome for v in verdicts] == [Outcome.PASS] * len(answers), [v.log for v in verdicts]
    assert all(v.isolation.startswith("namespaces") for v in verdicts)


def test_every_attack_fails(build):
    verdicts = dict(zip(ATTACKS, judge(build, FALSE, *ATTACKS.values()), strict=True))
    assert {n: str(v.outcome) for n, v in verdicts.items()} == dict.fromkeys(ATTACKS, "FAIL"), verdicts


def test_the_attacks_twins_pass(build):
    assumed = "(n : Nat) (h : False) : Eq (Nat.succ n) n := False.rec (fun _ => Eq (Nat.succ n) n) h"
    twins = {
        "a lemma": f"theorem g (n : Nat) : Eq (Nat.add Nat.zero n) n := {TERM}\n{STATED} := g n",
        "a word in a comment": f"/- sorryAx axiom macro -/\n{PROOF}",
        "an assumption of a lemma": f"theorem g {assumed}\n{PROOF}",
        "a namespace": f"namespace M\ninductive Nat where\n | z : Nat\nend M\n{PROOF}",
        "a definition": f"def id2 (n : Nat) : Nat := n\n{PROOF}",
        "a variable": f"variable (h : False)\n{PROOF}",
        "an option": f"set_option maxRecDepth 1000\n{PROOF}",
    }
    verdicts = dict(zip(twins, judge(build, TRUE, *twins.values()), strict=True))
    assert {n: str(v.outcome) for n, v in verdicts.items()} == dict.fromkeys(twins, "PASS"), verdicts


def test_endless_elaboration_is_the_answers_time(program):
    doubled = "Nat.succ Nat.zero"
    for _ in range(40):
        doubled = f"Nat.double ({doubled})"
    bomb = f"theorem g : Eq ({doubled}) (Nat.succ ({doubled})) := Eq.refl _\n{PROOF}"
    slow, after = judge(lambda: Lean(lean=str(program), cpu_s=3.0), TRUE, bomb, PROOF)
    assert (slow.outcome, after.outcome) == (Outcome.FAIL, Outcome.PASS)
    assert slow.reason in (Reason.CPU_TIME, Reason.MEMORY, Reason.REJECTED)


def test_a_header_that_does_not_load_says_nothing_about_answers(build):
    [verdict] = judge(build, f"import Mathlib\n\n{STATED} := by sorry", PROOF)
    assert (verdict.outcome, verdict.reason) == (Outcome.UNKNOWN, Reason.VERIFIER)
    assert "unknown module prefix" in verdict.log


def test_without_lean_there_is_one_clear_line():
    with pytest.raises(MissingPart, match="install Lean 4"):
        judge(lambda: Lean(lean="no-such-lean"), TRUE, PROOF)


def test_lean_conforms(program):
    conform_to_verifier(
        lambda: Lean(lean=str(program)),
        Problem("p", {"statement": TRUE}),
        right=PROOF,
        wrong=f"{STATED} := Eq.refl n",
        malformed=[{}, {"statement": "def d := 1"}],
        variants=[lambda: Lean(lean=str(program), cpu_s=2.0)],
        unavailable=lambda: Lean(server="http://127.0.0.1:9"),
        size=20_000,
        limit_s=600,
    )


# ------------------------------------------------------------------------------------------------------ other drivers


def test_a_project_is_asked_by_lake_env_and_its_repl_is_kept(program, tmp_path, monkeypatch):
    """`lake` and the REPL are stand-ins that speak as the real ones do; the Lean behind them is real."""
    project = tmp_path / "project"
    (project / ".lake" / "build" / "bin").mkdir(parents=True)
    for folder in (project, project / ".lake", project / ".lake" / "build", project / ".lake" / "build" / "bin"):
        folder.chmod(0o755)
    (project / "lakefile.toml").write_text('name = "project"\n')
    lake = tmp_path / "lake"
    lake.write_text(f"#!/bin/sh\nexport LEAN_PATH='{lean_path(program)}'\nshift\nexec \"$@\"\n")
    lake.chmod(0o755)
    python = program.read_text().split("\n", 1)[0]
    repl = project / ".lake" / "build" / "bin" / "repl"
    repl.write_text(python + "\n" + (LEAN_FILES / "repl.py").read_text())
    repl.chmod(0o755)
    (repl.parent / "lean").write_bytes(program.read_bytes())
    (repl.parent / "lean").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    answers = [PROOF, f"{STATED} := Eq.refl n", PROOF + "\n", f"{STATED} := sorryAx _ Bool.true"]
    verdicts = judge(lambda: Lean(project=str(project), processes=1), TRUE, *answers)
    assert [str(v.outcome) for v in verdicts] == ["PASS", "FAIL", "PASS", "FAIL"], [v.log for v in verdicts]


def test_a_kimina_server_is_asked_over_http(program):
    """The server is ours and speaks Kimina's protocol; the Lean behind it is real."""
    asked = []

    async def check(request):
        body = await request.json()
        [snippet] = body["snippets"]
        asked.append(body)
        file = program.parent / f"Snippet{len(asked)}.lean"
        file.write_text(snippet["code"])
        done = await asyncio.to_thread(
            subprocess.run, [program, "--json", file], capture_output=True, text=True, check=False
        )
        said = [json.loads(line) for line in done.stdout.splitlines()]
        messages = [
            {**{k: m[k] for k in ("pos", "endPos", "data")}, "severity": m["severity"].replace("information", "info")}
            for m in said
        ]
        return web.json_response(
            {"results": [{"id": snippet["id"], "time": 0.1, "response": {"env": 1, "messages": messages}}]}
        )

    async def busy(request):
        return web.json_response({"results": [{"id": "vervet", "error": "Lean REPL command timed out in 1 seconds"}]})

    async def broken(request):
        return web.Response(status=500)

    async def run():
        out = []
        for handler, answers in (
            (check, [PROOF, f"{STATED} := Eq.refl n", ":= sorryAx _ Bool.true"]),
            (busy, [PROOF]),
            (broken, [PROOF]),
        ):
            app = web.Application()
            app.router.add_post("/api/check", handler)
            runner = web.AppRunner(app)
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            port = runner.addresses[0][1]
            verifier = Lean(server=f"http://127.0.0.1:{port}/")
            try:
                out += await verifier.verify(Problem("p", {"statement": TRUE}), answers)
            finally:
                await verifier.aclose()
                await runner.cleanup()
        return out

    verdicts = asyncio.run(run())
    assert [(str(v.outcome), str(v.reason)) for v in verdicts] == [
        ("PASS", "accepted"),
        ("FAIL", "rejected"),
        ("FAIL", "rejected"),
        ("UNKNOWN", "starved"),
        ("UNKNOWN", "unavailable"),
    ]
    assert {"snippets", "timeout", "reuse"} <= set(asked[0])
