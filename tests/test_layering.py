"""Imports go down only: from a floor to a lower one, or inside a package."""

import ast
from pathlib import Path

import pytest

import skebm

ROOT = Path(skebm.__file__).parent

#: A name for each room and the floor it is on; rooms of one floor are listed in the
#: order in which they may import each other (later ones may import earlier ones).
FLOORS = [
    ["exceptions", "utils"],
    ["references", "networks", "datasets"],
    ["samplers"],
    ["objectives"],
    ["evaluation", "training"],
    [
        "_callbacks",
        "_resolve",
        "_table",
        "_cells",
        "_mixed_table",
        "_categories",
        "_codes",
        "_labels",
        "_shares",
        "_judges",
        "_graph",
        "_role_stack",
        "_persistence",
        "_outliers",
        "_base",
        "_coarser",
        "_cell_gaps",
        "_conditionals",
        "_gaps",
        "_density",
        "_classifier",
        "_rbm",
    ],
    ["model_selection"],
    ["__init__"],
]
RANK = {
    room: (floor, place)
    for floor, rooms in enumerate(FLOORS)
    for place, room in enumerate(rooms)
}
#: Rooms that depend on nothing beside the public methods of estimators.
STANDALONE = {"model_selection": {"_labels", "utils", "exceptions"}}


def room_of(path):
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imported_rooms(path):
    """Every room a file imports, deferred and type-checking imports included."""
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


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda p: p.name)
def test_imports_go_down_only(path):
    room = room_of(path)
    assert room in RANK, f"{room} has no floor: add it to FLOORS"
    for imported in set(imported_rooms(path)) - {room}:
        assert RANK[imported] < RANK[room], f"{room} imports {imported}, above it"
        if room in STANDALONE:
            assert imported in STANDALONE[room]


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda p: p.name)
def test_no_knowledge_of_faces_below_them(path):
    """Below floor 5 nobody knows scikit-learn's validation, tags or plots."""
    if RANK[room_of(path)][0] >= 5 or room_of(path) == "utils":
        return
    text = path.read_text()
    for word in ("validate_data", "check_array", "__sklearn_tags__", "matplotlib"):
        assert word not in text, f"{path.name} knows {word}"


def test_a_file_stays_readable():
    lengths = sorted(len(p.read_text().splitlines()) for p in ROOT.rglob("*.py"))
    assert lengths[-1] <= 600
    assert lengths[len(lengths) // 2] <= 250
