"""The examples are short, and each ends in a picture whose axes have names."""

import ast
import importlib.util
import io
import tokenize
from pathlib import Path

import pytest

import skebm

ROOT = Path(skebm.__file__).parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("plot_*.py"))
MAX_CODE_LINES = 40
NO_CODE = {
    tokenize.COMMENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
    tokenize.INDENT,
    tokenize.NEWLINE,
    tokenize.NL,
}


def name_of(path):
    return path.stem


def code_lines(code):
    """Return the lines of code, without comments, blank lines and docstrings."""
    lines = set()
    for token in tokenize.generate_tokens(io.StringIO(code).readline):
        if token.type not in NO_CODE:
            lines |= set(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Module | ast.FunctionDef | ast.ClassDef):
            if ast.get_docstring(node) is not None:
                first = node.body[0]
                lines -= set(range(first.lineno, first.end_lineno + 1))
    return lines


def test_lines_of_code_are_counted():
    code = '"""Doc.\n\nMore.\n"""\n# A comment\nx = [\n    1,\n]\n\ny = """a\nb"""\n'
    assert code_lines(code) == {6, 7, 8, 10, 11}


def test_there_are_enough_examples():
    assert len(EXAMPLES) >= 16


@pytest.mark.parametrize("path", EXAMPLES, ids=name_of)
def test_an_example_is_short(path):
    assert len(code_lines(path.read_text())) <= MAX_CODE_LINES


@pytest.mark.parametrize("path", EXAMPLES, ids=name_of)
def test_an_example_asks_and_shows(path):
    tree = ast.parse(path.read_text())
    title = ast.get_docstring(tree).splitlines()
    assert set(title[1]) == {"="} and len(title[1]) == len(title[0])
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    names = [ast.unparse(call.func).rpartition(".")[2] for call in calls]
    assert {"show", "savefig"} & set(names)
    assert {"xlabel", "ylabel", "supxlabel", "plot", "from_estimator"} & {
        *names,
        *(keyword.arg for call in calls for keyword in call.keywords),
        *(name.removeprefix("set_") for name in names),
    }


@pytest.mark.parametrize("path", EXAMPLES, ids=name_of)
def test_an_example_takes_data_that_are_at_hand(path):
    for word in ("fetch_", "read_csv", "http", "urlopen"):
        assert word not in path.read_text()


def test_the_demo_runs_examples_that_are_there():
    spec = importlib.util.spec_from_file_location("demo", ROOT / "examples" / "demo.py")
    demo = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(demo)
    assert set(demo.SECONDS) <= {path.stem for path in EXAMPLES}
    assert sum(demo.SECONDS.values()) < 180
