"""The encoder of a table by the options of an estimator."""

from __future__ import annotations

from skebm.tables import TableEncoder


def fit_encoder(read, specification, **options):
    """Return the encoder of the rows that were read.

    Parameters
    ----------
    read : Read
        The rows.
    specification : Specification
        Says whether columns of numbers are only shifted and scaled.
    **options : dict
        Others of `skebm.tables.TableEncoder.fit`.
    """
    return TableEncoder.fit(
        read.table,
        read.weight,
        categories=read.reader.categories,
        names=read.names,
        linear=specification.has_linear_columns,
        **options,
    )
