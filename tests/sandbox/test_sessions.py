"""A program that stays: talked to over its streams, isolated like any program, gone when it is closed."""

from __future__ import annotations

import asyncio

import pytest

from vervet.errors import MissingPart
from vervet.protocols import Limits
from vervet.sandbox.sessions import Session

LIMITS = Limits(cpu_s=60, wall_s=60, memory_mb=256, disk_mb=1)


def talk(argv, lines=(), *, kind="namespaces", until=b"end\n", **more):
    """(all that it said up to `until`, its use) of a session that is given lines."""

    async def run():
        session = await Session.start(argv, kind, LIMITS, **more)
        try:
            for line in lines:
                await session.write(line)
            said = b""
            while not said.endswith(until):
                part = await session.read(60)
                if not part:
                    break
                said += part
            return said, await session.use(tree=True)
        finally:
            await session.aclose()

    return asyncio.run(run())


@pytest.mark.parametrize("kind", ["namespaces", "none"])
def test_it_answers_line_by_line_and_its_time_is_counted(kind):
    said, use = talk(["/bin/sh", "-c", "while read a; do echo $a; done"], [b"one\n", b"two\n", b"end\n"], kind=kind)
    assert said == b"one\ntwo\nend\n"
    assert use.exit is None
    assert 0 <= use.cpu_s < 30


def test_its_end_and_exit_code_are_seen():
    async def run():
        session = await Session.start(["/bin/sh", "-c", "echo bye; exit 7"], "namespaces", LIMITS)
        try:
            said = b""
            while part := await session.read(60):
                said += part
            use = await session.use()
            while use is not None and use.exit is None:
                await asyncio.sleep(0.01)
                use = await session.use()
            return said, use
        finally:
            await session.aclose()

    said, use = asyncio.run(run())
    assert (said, use.exit) == (b"bye\n", 7)


def test_files_variables_and_shown_folders_are_there_and_nothing_else(tmp_path):
    shown, hidden = tmp_path / "shown", tmp_path / "hidden"
    for folder in (shown, hidden):
        folder.mkdir(mode=0o755)
        (folder / "file").write_text("text\n")
    script = f"cat given $V {hidden}/file; echo x > {shown}/new; echo x > mine && echo wrote; id -u; echo end"
    said, _ = talk(
        ["/bin/sh", "-c", script],
        shown=[str(shown)],
        environment={"V": f"{shown}/file"},
        files={"given": b"given\n"},
    )
    assert said.startswith(b"given\ntext\n")
    assert b"wrote\n" in said
    assert b"\n0\nend" not in said
    assert not (shown / "new").exists()
    assert said.count(b"text") == 1


def test_a_program_that_is_not_there_is_said():
    with pytest.raises(MissingPart, match="no-such-program"):
        talk(["/usr/bin/no-such-program"])


def test_a_read_that_waits_in_vain_loses_nothing():
    async def run():
        session = await Session.start(["/bin/cat"], "namespaces", LIMITS)
        try:
            assert await session.read(0.01) is None
            await session.write(b"late\n")
            return await session.read(60)
        finally:
            await session.aclose()

    assert asyncio.run(run()) == b"late\n"
