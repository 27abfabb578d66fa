"""Imports go down only: from a floor to a lower one, or inside a folder."""

import ast
from pathlib import Path

import pytest

import skebm

ROOT = Path(skebm.__file__).parent

#: The rooms of each floor, from the ground up. Rooms of one floor do not meet.
FLOORS = [
    ["exceptions", "utils"],
    ["datasets", "references", "tables"],
    ["networks"],
    ["samplers", "model_selection", "distributed"],
    ["objectives"],
    ["training"],
    ["evaluation", "semi_supervised"],
    ["models"],
    ["estimators"],
    ["composition"],
    ["inspection", "persistence"],
    ["__init__"],
]
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
FILES = sorted(ROOT.rglob("*.py"))
#: Rooms that depend on little else, whatever lies below them.
STANDALONE = {"model_selection": {"tables", "utils", "exceptions"}}


def name_of(path):
    return str(path.relative_to(ROOT))


def room_of(path):
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imported_rooms(path):
    """Yield every room a file imports, deferred and type-checking imports included."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            pytest.fail(f"{path}: relative import")
        if isinstance(node, ast.ImportFrom) and node.module == "skebm":
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module.startswith("skebm."):
            yield node.module.split(".")[1]
        elif isinstance(node, ast.Import):
            for alias in node.names:
                assert not alias.name.startswith("skebm"), f"{path}: import skebm"


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_imports_go_down_only(path):
    room = room_of(path)
    assert room in FLOOR, f"{room} has no floor: add it to FLOORS"
    for imported in set(imported_rooms(path)) - {room}:
        assert FLOOR[imported] < FLOOR[room], f"{room} imports {imported}, above it"
        if room in STANDALONE:
            assert imported in STANDALONE[room], f"{room} imports {imported}"


def without_type_checking(tree):
    """Yield the nodes of a module, those for type checkers left out."""
    todo = [tree]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            todo += node.orelse
            continue
        yield node
        todo += ast.iter_child_nodes(node)


def file_of(module):
    """Return the file of a module of the package, or None."""
    path = ROOT.parent.joinpath(*module.split("."))
    for file in (path.with_suffix(".py"), path / "__init__.py"):
        if file.exists():
            return file
    return None


def imported_files(path):
    """Return the files of the package that a file imports."""
    files = set()
    for node in without_type_checking(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module.split(".")[0] == "skebm":
            for alias in node.names:
                inner = file_of(f"{node.module}.{alias.name}")
                files.add(inner or file_of(node.module))
    return files


def test_no_files_import_each_other_in_a_circle():
    """Nor inside a folder, where the floors say nothing."""
    imports = {path: imported_files(path) for path in FILES}
    while leaves := {path for path, files in imports.items() if not files}:
        imports = {k: v - leaves for k, v in imports.items() if k not in leaves}
    circle = sorted(name_of(path) for path in imports)
    assert not circle, f"in a circle, or importing one: {circle}"


@pytest.mark.parametrize(
    "path", [p for p in FILES if room_of(p) in ("models", "tables")], ids=name_of
)
def test_models_and_tables_do_without_scikit_learn(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names]
            names = [node.module] if isinstance(node, ast.ImportFrom) else names
            assert not [n for n in names if n.split(".")[0] == "sklearn"]


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_only_estimators_know_scikit_learns_validation(path):
    if room_of(path) in ("estimators", "utils"):
        return
    text = path.read_text()
    words = ["validate_data", "check_array", "__sklearn_tags__"]
    for word in words + ["matplotlib"] * (room_of(path) != "inspection"):
        assert word not in text, f"{path.name} knows {word}"


def test_rooms_are_few():
    rooms = {room_of(path) for path in FILES} - {"__init__"}
    assert len(rooms) <= 18
    assert not [room for room in rooms if room.startswith("_")]
