"""Samples in and out of a run, in the formats people already have."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

from vervet import plugins
from vervet.api.parts import IMPORTED, _plain, _task, _verifier_spec, build_verifier
from vervet.config import Settings
from vervet.errors import BadData, BadOption, StorageError, boundary
from vervet.ledger import Extracted, Ledger
from vervet.ledger.formats import Format, Imported, Row, choose_reader, choose_writer
from vervet.ledger.intake import NAME, VERSION, Find, Intake, Known
from vervet.ledger.making import making
from vervet.ledger.outgoing import Outgoing
from vervet.protocols import Task
from vervet.records import Config, Problem, Prompt, PromptForm, fingerprint
from vervet.tasks.imported import Imported as ImportedTask
from vervet.version import __version__
