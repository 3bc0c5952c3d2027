"""What machine to build."""

from __future__ import annotations

from typing import Final

MIN_MEMORY_MIB: Final = 16
MAX_MEMORY_MIB: Final = 65536
MAX_CPUS: Final = 64


class MachineConfig:
    """What machine to build. Everything that a digest depends on is here."""

    def __init__(
        self,
        memory_mib: int = 1024,
        cpus: int = 4,
        seed: int = 1,
        front_end: str = "sheaves",
        quantum: int = 32,
        checked: bool = False,
        rcu_jiffy_ns: int = 1_000_000,
        rcu_lazy: bool = False,
        thp: bool = True,
        dma_mib: int = 16,
        scheduler: str = "seeded",
    ) -> None:
        """Raise ValueError, one sentence, for a machine that cannot be built.

        ``quantum``: how many scheduling points a CPU passes on average before another may run; 1 explores races.
        ``checked``: freed objects are poisoned and looked after. ``thp``: transparent huge pages are configured, for
        which the kernel keeps up to 5 % of memory free so that types mix less. ``dma_mib``: where ZONE_DMA ends, 0:
        no such zone. ``scheduler``: "seeded", or "threads" for virtual CPUs that are OS threads (nothing repeats then).
        """
        if not MIN_MEMORY_MIB <= memory_mib <= MAX_MEMORY_MIB:
            raise ValueError(
                f"memory of {memory_mib} MiB cannot be simulated: choose between {MIN_MEMORY_MIB} and {MAX_MEMORY_MIB}"
            )
        if not 1 <= cpus <= MAX_CPUS:
            raise ValueError(f"{cpus} CPUs cannot be simulated: choose between 1 and {MAX_CPUS}")
        if scheduler not in ("seeded", "threads"):
            raise ValueError(f"no scheduler is called {scheduler!r}: choose seeded or threads")
        self.memory_mib = memory_mib
        self.cpus = cpus
        self.seed = seed
        self.front_end = front_end
        self.quantum = quantum
        self.checked = checked
        self.rcu_jiffy_ns = rcu_jiffy_ns
        self.rcu_lazy = rcu_lazy
        self.thp = thp
        self.dma_mib = dma_mib
        self.scheduler = scheduler
