"""Import of zuko, an optional package for normalising flows."""

from __future__ import annotations

from types import ModuleType

import torch


def import_zuko(needed_by: str) -> ModuleType:
    """Return zuko, imported without its change of torch's distributions.

    On import zuko switches off the checks of arguments in ``torch.distributions``
    for all code; they are restored.

    Parameters
    ----------
    needed_by : str
        The option that needs it, as the user wrote it, for the error.

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
