"""Docstrings of classes that share parameters with another class."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Sequence
from typing import TypeVar

Kind = TypeVar("Kind", bound=type)

#: A section of a numpydoc docstring: its title, underlined.
TITLE = re.compile(r"^([A-Z][\w ]*)\n-+\n", flags=re.MULTILINE)


def documented_like(
    source: object, *, attributes: Sequence[str] = ()
) -> Callable[[Kind], Kind]:
    """Return a class decorator that completes the docstring by that of another class.

    A parameter of the constructor that has no entry gets the entry of ``source``, at
    its place in the signature; so do the attributes that are named, at the end. Each
    class so documents all that it takes, and each text is written once.

    Parameters
    ----------
    source : class or function
        The one whose entries are taken.
    attributes : sequence of str, default=()
        Attributes whose entries are taken, too.

    Returns
    -------
    decorator : callable
        From a class to the same class.
    """

    def complete(kind: Kind) -> Kind:
        if kind.__doc__ and source.__doc__:  # python -OO has no docstrings
            names = list(inspect.signature(kind).parameters)
            kind.__doc__ = completed(
                inspect.cleandoc(kind.__doc__),
                inspect.cleandoc(source.__doc__),
                {"Parameters": names, "Attributes": list(attributes)},
            )
        return kind

    return complete


def completed(doc: str, source: str, wanted: dict[str, list[str]]) -> str:
    """Return a docstring with the entries that it lacks, by section and name."""
    parts, others = sections(doc), sections(source)
    for title, names in wanted.items():
        if title not in parts:
            continue
        own, theirs = entries(parts[title]), entries(others.get(title, ""))
        given = {name for group, _ in own for name in group}
        for group, text in theirs:
            group = [name for name in group if name in names and name not in given]
            if group:
                own.append((group, text))
        if title == "Parameters":
            own.sort(key=lambda entry: place(entry[0][0], names))
        parts[title] = "\n".join(", ".join(group) + text for group, text in own) + "\n"
    ends = {title: "\n" for title in parts}
    return "".join(
        f"{title}\n{'-' * len(title)}\n{text.rstrip()}\n{ends[title]}"
        if title
        else text
        for title, text in parts.items()
    ).rstrip()


def place(name: str, names: list[str]) -> int:
    """Return where a name is in a signature; names that it lacks come last."""
    name = name.lstrip("*")
    return names.index(name) if name in names else len(names)


def sections(doc: str) -> dict[str, str]:
    """Return the sections of a docstring by title; what comes first has none."""
    first, *rest = TITLE.split(doc)
    return {"": first, **dict(zip(rest[::2], rest[1::2], strict=True))}


def entries(section: str) -> list[tuple[list[str], str]]:
    """Return the names and the rest of each entry of a section."""
    found = re.split(r"^(?=\S)", section.rstrip(), flags=re.MULTILINE)
    pairs = [re.match(r"([\w*, ]+?)(?=\s:|\n|$)", entry) for entry in found]
    return [
        (pair[1].split(", "), entry[pair.end() :].rstrip())
        for pair, entry in zip(pairs, found, strict=True)
        if pair
    ]
