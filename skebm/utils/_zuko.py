"""Normalising flows: zuko, which is optional, without what its import changes."""

from __future__ import annotations

from types import ModuleType

import torch


def import_zuko(needed_by: str) -> ModuleType:
    """Return zuko, torch's distributions left as they were.

    On import zuko switches off the checks of arguments in ``torch.distributions``,
    for everybody; they are put back.

    Parameters
    ----------
    needed_by : str
        What asks for it, named in the error: an option as the user wrote it.

    Raises
    ------
    ImportError
        Where zuko is not installed.
    """
    checks = torch.distributions.Distribution._validate_args
    try:
        import zuko
    except ImportError as error:
        raise ImportError(
            f"{needed_by} needs zuko, which is not installed: pip install skebm[flows]."
        ) from error
    finally:
        torch.distributions.Distribution.set_default_validate_args(checks)
    return zuko
