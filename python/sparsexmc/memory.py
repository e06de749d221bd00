"""Memory of a classifier: what is planned before training, and what the pool holds now."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from . import _core
from ._html import table as html_table


def format_bytes(size: float) -> str:
    """Bytes for people, in powers of 1024: "1.5 GiB"."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(size) < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"


class MemoryPlan(Mapping[str, int]):
    """Bytes by name of every allocation that a classifier makes, in order of allocation."""

    def __init__(self, entries: list[tuple[str, int]], table: str) -> None:
        self._entries = dict(entries)
        self._table = table

    def __getitem__(self, name: str) -> int:
        return self._entries[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def total(self) -> int:
        """Planned bytes in all."""
        return sum(self._entries.values())

    def table(self) -> str:
        """Name, bytes and share of every allocation."""
        return self._table

    def __str__(self) -> str:
        return self._table

    def __repr__(self) -> str:
        return f"MemoryPlan({format_bytes(self.total)} in {len(self)} allocations)"

    def _repr_html_(self) -> str:
        rows = [(name, format_bytes(size), f"{size / max(self.total, 1):.1%}") for name, size in self.items()]
        return html_table(repr(self), rows, ("allocation", "size", "share"))


class Memory:
    """Plan and live figures of one classifier, in bytes."""

    def __init__(self, engine: _core.Classifier) -> None:
        self._engine = engine

    @property
    def plan(self) -> MemoryPlan:
        """The plan by name."""
        return MemoryPlan(*self._engine.memory_plan())

    @property
    def planned(self) -> int:
        """Planned bytes in all."""
        return self.plan.total

    @property
    def current(self) -> int:
        """Bytes in live allocations now."""
        return self._engine.memory_statistics()["current"]

    @property
    def peak(self) -> int:
        """The most bytes that were live at a time."""
        return self._engine.memory_statistics()["peak"]

    @property
    def entries(self) -> dict[str, int]:
        """Live bytes by name, largest first."""
        return dict(self._engine.memory_entries())

    def table(self) -> str:
        """The plan as a table, and below it what is live."""
        live = f"live {format_bytes(self.current)}, peak {format_bytes(self.peak)}"
        return f"{self.plan.table().rstrip()}\n{live}"

    def __repr__(self) -> str:
        sizes = ", ".join(f"{name}={format_bytes(getattr(self, name))}" for name in ("planned", "current", "peak"))
        return f"Memory({sizes})"

    def _repr_html_(self) -> str:
        live = html_table(
            repr(self), [(name, format_bytes(size)) for name, size in self.entries.items()], ("live", "size")
        )
        return self.plan._repr_html_() + live
