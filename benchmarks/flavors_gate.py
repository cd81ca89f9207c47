"""A site as large as a cloud, for the core that :mod:`benchmarks.flavors` asks."""

from __future__ import annotations

from traitlets import Int

from skyport_gates.gate import (
    Flavor,
    Gate,
    InvalidRequest,
    Partition,
    PartitionNotFound,
    PartitionRequest,
    Spot,
    Terms,
)

ZONES = ("1", "2", "3")
CPUS = (1, 2, 4, 8, 16, 32, 64, 96)


class LargeCloud(Gate, Spot):
    """Offers sizes in regions with zones, each at its price and as spot; makes nothing."""

    sizes = Int(2000, min=1, help="How many sizes there are.").tag(config=True)
    regions = Int(5, min=1, help="How many regions have all of them.").tag(config=True)

    def __init__(self, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self._flavors = [self._flavor(number) for number in range(self.sizes)]

    def _flavor(self, number: int) -> Flavor:
        cpus = CPUS[number % len(CPUS)]
        gpus = number % 10 == 0
        # Neighbours in name are far apart in price, so that no order is that of another.
        price = cpus * 0.05 + (number * 7919 % 1009) / 10_000 + gpus
        terms = [
            Terms(f"region{region}", ZONES, spot, round(price * (1 + region / 50) * share, 4))
            for region in range(self.regions)
            for spot, share in ((False, 1.0), (True, 0.3))
        ]
        return Flavor(
            f"Standard_X{number}s_v5",
            cpus=cpus,
            memory=cpus * 4096,
            gpus=int(gpus),
            gpu_type="NVIDIA T4" if gpus else "",
            storage=128,
            price=terms[0].price,
            labels={"architecture": "x86_64", "family": f"X{number % 40}"},
            terms=tuple(terms),
            suspendable=True,
        )

    async def flavors(self) -> list[Flavor]:
        """All of them."""
        return self._flavors

    async def create(self, request: PartitionRequest) -> None:
        """Refuse."""
        raise InvalidRequest("This site only shows what it has.")

    async def get(self, name: str) -> Partition:
        """There is none."""
        raise PartitionNotFound(name)

    async def list(self) -> list[Partition]:
        """There is none."""
        return []

    async def delete(self, name: str) -> None:
        """There is none."""
