"""What can go wrong, and whose fault it is.

::

    VervetError                     exit  kind
    ├── UserError                      1  user            a value the user can change; one line, no traceback
    │   ├── UnknownName                1  unknown-name    no such task, model, verifier, option
    │   ├── BadOption                  1  bad-option      a known option with an impossible value
    │   ├── BadData                    1  bad-data        a file or table that does not say what it should
    │   ├── RunMismatch                1  run-mismatch    the folder holds a run of another config
    │   ├── RunInUse                   1  run-in-use      another process writes this run
    │   ├── StorageError               1  storage         the disk is full, the folder cannot be read or written
    │   ├── MissingPart                1  missing-part    an extra, a program or a file has to be installed
    │   └── TooFewSamples              1  too-few-samples k is larger than some n; carries what could be estimated
    ├── CheckFailed                    5  check-failed    an audit, an integrity check or a gate did not hold
    ├── ServiceError                   6  service         a server could not be reached or refuses us
    └── PluginError                   70  plugin          third-party code raised; the original is its cause

A bug is any other exception: it keeps its traceback and exits 70.
Third-party code (plug-ins, model servers' wrappers) raises plain Python errors; :func:`boundary` attributes them once.
"""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class VervetError(Exception):
    """Base of everything Vervet raises on purpose. The message is one line that says what to change."""

    kind = "error"
    exit_code = 1


class UserError(VervetError):
    kind = "user"


class UnknownName(UserError):
    kind = "unknown-name"


class BadOption(UserError):
    kind = "bad-option"


class BadData(UserError):
    kind = "bad-data"


class RunMismatch(UserError):
    kind = "run-mismatch"


class RunInUse(UserError):
    kind = "run-in-use"


class StorageError(UserError):
    kind = "storage"


class MissingPart(UserError):
    kind = "missing-part"


class TooFewSamples(UserError):
    """Some problem has fewer than k samples. `usable` masks the problems that could be estimated."""

    kind = "too-few-samples"

    def __init__(self, message: str, usable: NDArray[np.bool_] | None = None) -> None:
        super().__init__(message)
        self.usable: Any = usable


class CheckFailed(VervetError):
    kind = "check-failed"
    exit_code = 5


class ServiceError(VervetError):
    kind = "service"
    exit_code = 6


class PluginError(VervetError):
    kind = "plugin"
    exit_code = 70


@contextlib.contextmanager
def boundary(what: str) -> Iterator[None]:
    """Attribute whatever a third party raises inside to `what`, exactly once.

    Vervet's own errors, KeyboardInterrupt and cancellation pass through unchanged.
    Raises: PluginError, with the original as its cause.
    """
    try:
        yield
    except VervetError:
        raise
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageError(f"the disk is full: {error}; free space and repeat the command") from error
        raise _attributed(what, error) from error
    except Exception as error:
        raise _attributed(what, error) from error


def _attributed(what: str, error: Exception) -> PluginError:
    detail = str(error).strip().splitlines()
    return PluginError(f"{what} failed: {type(error).__name__}: {detail[0] if detail else 'no message'}")
