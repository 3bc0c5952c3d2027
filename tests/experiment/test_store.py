"""Results by content: found again exactly when nothing that they follow from has changed."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from memviz.experiment.spec import Cell, Policy, Protocol
from memviz.experiment.store import Cost, Kept, Store, key
from memviz.experiment.table import Results


@pytest.fixture
def kept(results: Results, small_cells: list[Cell]) -> Kept:
    return Kept(small_cells[0], results.runs[0].outcome, Cost(1.0, 2))


def test_every_field_of_a_cell_is_in_its_name(small_cells: list[Cell]) -> None:
    cell = small_cells[0]
    other = {
        "scenario": "other",
        "text": cell.text + "# a comment",
        "policy": msgspec.structs.replace(cell.policy, switches={"xa_nodes": "movable"}),
        "begin": "start",
        "baseline": Policy("other"),
        "seed": cell.seed + 1,
        "memory_mib": cell.memory_mib * 2,
        "protocol": Protocol(),
        "sources": "other",
    }
    assert set(other) == set(Cell.__struct_fields__)
    named = {key(msgspec.structs.replace(cell, **{field: value})) for field, value in other.items()}
    assert len(named | {key(cell)}) == len(other) + 1


def test_the_order_of_switches_is_no_difference(small_cells: list[Cell]) -> None:
    one, two = (
        msgspec.structs.replace(small_cells[0], policy=Policy("p", switches=switches))
        for switches in ({"xa_nodes": "fixed", "dentries": "fixed"}, {"dentries": "fixed", "xa_nodes": "fixed"})
    )
    assert key(one) == key(two)


def test_what_is_put_is_got(tmp_path: Path, kept: Kept, small_cells: list[Cell]) -> None:
    store = Store(tmp_path / "store")
    assert store.get(kept.cell) is None
    store.put(kept)
    assert store.get(kept.cell) == kept
    assert store.get(small_cells[1]) is None
    assert [path.suffix for path in (tmp_path / "store").rglob("*") if path.is_file()] == [".json"]


@pytest.mark.parametrize("damage", [b"", b"{", b"[1, 2]"])
def test_a_damaged_file_is_no_result(tmp_path: Path, kept: Kept, damage: bytes) -> None:
    store = Store(tmp_path)
    store.put(kept)
    store.path(kept.cell).write_bytes(damage)
    assert store.get(kept.cell) is None
    store.put(kept)
    assert store.get(kept.cell) == kept


def test_a_file_of_another_cell_under_this_name_is_no_result(
    tmp_path: Path, kept: Kept, small_cells: list[Cell]
) -> None:
    store = Store(tmp_path)
    store.put(msgspec.structs.replace(kept, cell=small_cells[1]))
    store.path(kept.cell).parent.mkdir(exist_ok=True)
    store.path(small_cells[1]).rename(store.path(kept.cell))
    assert store.get(kept.cell) is None
