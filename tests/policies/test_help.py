"""What the command line says about policies."""

from __future__ import annotations

import typing

from vervet import plugins
from vervet.cli.run import Policy


def test_the_help_of_policy_names_every_policy():
    help_text = typing.get_args(Policy)[1].help
    assert [name for name in plugins.TABLES["policies"] if name not in help_text] == []
    for shelf in plugins.TABLES:
        assert f"`vervet.{shelf}`" in plugins.__doc__
