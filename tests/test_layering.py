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
    ["samplers", "model_selection"],
    ["objectives"],
    ["training"],
    ["evaluation", "semi_supervised"],
    ["models"],
    ["estimators"],
    ["__init__"],
]
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
FILES = sorted(ROOT.rglob("*.py"))


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


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_only_estimators_know_scikit_learns_validation(path):
    if room_of(path) in ("estimators", "utils"):
        return
    text = path.read_text()
    for word in ("validate_data", "check_array", "__sklearn_tags__", "matplotlib"):
        assert word not in text, f"{path.name} knows {word}"


def test_rooms_are_few():
    rooms = {room_of(path) for path in FILES} - {"__init__"}
    assert len(rooms) <= 16
    assert not [room for room in rooms if room.startswith("_")]
