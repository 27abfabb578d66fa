"""Docstrings of public classes name all that they take, with its default."""

import ast
import importlib
import inspect
import math
import re

import pytest

import skebm
from skebm.utils._documented import documented_like, entries, sections

ROOMS = ["", *".datasets .evaluation .model_selection .networks .objectives".split()]
ROOMS += [".references", ".samplers"]
MODULES = [importlib.import_module(f"skebm{room}") for room in ROOMS]
CLASSES = [
    value
    for module in MODULES
    for value in (getattr(module, name) for name in module.__all__)
    if inspect.isclass(value)
]
OPTIONS = ("POSITIONAL_OR_KEYWORD", "KEYWORD_ONLY")


def name_of(kind):
    return kind.__name__


def parameters_of(kind):
    return {
        name: parameter
        for name, parameter in inspect.signature(kind).parameters.items()
        if parameter.kind.name in OPTIONS
    }


def documented(kind, title):
    """Return the text of each entry of a section by name."""
    found = sections(inspect.getdoc(kind)).get(title, "")
    return {name: text for names, text in entries(found) for name in names}


@pytest.mark.parametrize("kind", CLASSES, ids=name_of)
def test_no_docstring_sends_its_reader_to_another_class(kind):
    for title in ("Parameters", "Attributes"):
        for name, text in documented(kind, title).items():
            body = text.partition("\n")[2].strip()
            assert not re.match(r"(As|Same as) (in|for) ", body), f"{title}: {name}"
            assert not re.fullmatch(r"See `\w+`\.", body), f"{title}: {name}"


@pytest.mark.parametrize("name", skebm.__all__)
def test_estimators_document_each_parameter_and_its_default(name):
    kind = getattr(skebm, name)
    entries_of = documented(kind, "Parameters")
    assert list(entries_of) == list(parameters_of(kind))
    for name, parameter in parameters_of(kind).items():
        said = re.search(r"default=(.+?)$", entries_of[name], flags=re.MULTILINE)
        assert said, name
        value = math.nan if said[1].endswith(".nan") else ast.literal_eval(said[1])
        assert value == parameter.default or value != value, name


@pytest.mark.parametrize("name", skebm.__all__)
def test_methods_of_estimators_say_what_they_take(name):
    for method in dir(getattr(skebm, name)):
        doc = getattr(getattr(skebm, name), method).__doc__
        if not method.startswith("_") and isinstance(doc, str):
            assert not re.search(r"^ +As in `", doc, flags=re.MULTILINE), method


class Source:
    r"""One.

    Parameters
    ----------
    a, b : int, default=1
        Both.
    c : {"x", \
            "y"}, default="x"
        Third.

    Attributes
    ----------
    d_ : int
        A result.
    """

    def __init__(self, a=1, b=1, c="x"): ...


def test_entries_come_in_the_order_of_the_signature():
    @documented_like(Source, attributes=["d_"])
    class Other:
        """Two.

        Parameters
        ----------
        z : int
            Own.
        a : float, default=2.0
            Another a.

        Attributes
        ----------
        e_ : int
            Own.

        Examples
        --------
        >>> 1
        1
        """

        def __init__(self, z, c="x", b=1, a=2.0): ...

    assert Other.__doc__ == (
        "Two.\n\nParameters\n----------\nz : int\n    Own.\n"
        'c : {"x", \\\n        "y"}, default="x"\n    Third.\n'
        "b : int, default=1\n    Both.\n"
        "a : float, default=2.0\n    Another a.\n\n"
        "Attributes\n----------\ne_ : int\n    Own.\nd_ : int\n    A result.\n\n"
        "Examples\n--------\n>>> 1\n1"
    )


def test_without_docstrings_nothing_is_done():
    class Bare:
        def __init__(self, a=1): ...

    assert documented_like(Source)(Bare).__doc__ is None
