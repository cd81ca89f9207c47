"""The retail prices API: what sizes cost, among rows that clients have to leave out."""

from __future__ import annotations

import hashlib
import uuid
from typing import Any
from urllib.parse import quote

from tests.infra.arm.catalog import Catalog
from tests.infra.arm.odata import FilterError, compile_filter
from tests.infra.arm.router import Answer, Call, Router
from tests.infra.arm.sizes import capability

CURRENCIES = {"USD": 1.0, "EUR": 0.92, "GBP": 0.79, "CHF": 0.88, "JPY": 149.2, "INR": 83.1}
_PAGE = 1000
_FILTERABLE = frozenset(
    {
        "armRegionName",
        "armSkuName",
        "currencyCode",
        "effectiveStartDate",
        "isPrimaryMeterRegion",
        "location",
        "meterId",
        "meterName",
        "priceType",
        "productId",
        "productName",
        "serviceFamily",
        "serviceId",
        "serviceName",
        "skuId",
        "skuName",
        "type",
    }
)


class Prices:
    """Prices of the sizes of a catalog.

    Parameters
    ----------
    catalog
        The sizes, with their prices on demand.

    Attributes
    ----------
    factor
        Multiplies all prices; tests change it to see clients notice.
    """

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog
        self.factor = 1.0
        self._rows: list[dict[str, Any]] = []

    def spot(self, region: str, size: str) -> float | None:
        """The Spot price of a size in USD an hour; None when it is never sold so."""
        row = self.catalog.sku(region, size)
        if row is None or capability(row, "LowPriorityCapable") != "True":
            return None
        return round(self.catalog.price(row) * _discount(size, region), 6)

    def rows(self) -> list[dict[str, Any]]:
        """All rows, in USD and without the factor."""
        if not self._rows:
            for region in self.catalog.regions:
                for row in self.catalog.virtual_machines(region):
                    self._rows += self._of(row, region)
        return self._rows

    def find(self, filter_: str, currency: str) -> list[dict[str, Any]]:
        """The rows that a filter lets pass; :class:`FilterError` when it cannot be read."""
        test = compile_filter(filter_, _FILTERABLE)
        rate = CURRENCIES[currency] * self.factor
        found = []
        for row in self.rows():
            if test(row):
                price = round(row["retailPrice"] * rate, 6)
                shown = {**row, "currencyCode": currency, "retailPrice": price, "unitPrice": price}
                del shown["priceType"]
                found.append(shown)
        return found

    def _of(self, row: dict[str, Any], region: str) -> list[dict[str, Any]]:
        hourly = self.catalog.price(row)
        spot = self.spot(region, row["name"])
        title = row["name"].split("_", 1)[-1].replace("_", " ")
        linux = f"Virtual Machines {_series(row)} Series"
        windows = f"{linux} Windows"
        kinds = [(linux, title, hourly), (windows, title, hourly * 1.9)]
        if spot is not None:
            kinds += [
                (windows, f"{title} Spot", spot * 1.9),
                (linux, f"{title} Low Priority", hourly * 0.2),
                (linux, f"{title} Spot", spot),
                (windows, f"{title} Low Priority", hourly * 0.4),
            ]
        kinds += [(f"{_series(row)} Series Cloud Services", title, hourly * 1.8)]
        found = [_item(row, region, product, sku, price) for product, sku, price in kinds]
        found.append(_item(row, region, windows, title, hourly, type_="DevTestConsumption"))
        for years in (1, 3):
            total = hourly * 8760 * years * (0.7 if years == 1 else 0.5)
            term = f"{years} Year{'s' if years > 1 else ''}"
            found.append(_item(row, region, linux, title, total, type_="Reservation", term=term))
        return found


def routes(router: Router) -> None:
    """Register the prices API; it needs no token."""
    router.add("GET", "/api/retail/prices", _prices, kind="prices.list", public=True)


async def _prices(call: Call) -> Answer:
    currency = call.option("currencyCode", "USD").strip("'").upper() or "USD"
    if currency not in CURRENCIES:
        return _bad("Invalid currency code specified.")
    try:
        skip = int(call.option("$skip", "0"))
        found = call.arm.prices.find(call.option("$filter"), currency)
    except (FilterError, ValueError):
        return _bad("Invalid OData parameters supplied")
    items = found[skip : skip + _PAGE]
    following = None
    if skip + _PAGE < len(found):
        kept = {k: v for k, v in call.query.items() if k.lower() != "$skip"}
        query = [f"{quote(name, safe='$')}={quote(value)}" for name, value in kept.items()]
        query.append(f"$skip={skip + _PAGE}")
        following = f"{call.base}{call.path}?{'&'.join(query)}"
    body = {
        "BillingCurrency": currency,
        "CustomerEntityId": "Default",
        "CustomerEntityType": "Retail",
        "Items": items,
        "NextPageLink": following,
        "Count": len(items),
    }
    return Answer(200, body)


def _item(
    row: dict[str, Any],
    region: str,
    product: str,
    sku: str,
    price: float,
    type_: str = "Consumption",
    term: str = "",
) -> dict[str, Any]:
    meter = uuid.uuid5(uuid.NAMESPACE_URL, f"{region}/{product}/{sku}/{type_}/{term}")
    number = meter.hex[:4].upper()
    item = {
        "currencyCode": "USD",
        "tierMinimumUnits": 0.0,
        "retailPrice": round(price, 6),
        "unitPrice": round(price, 6),
        "armRegionName": region,
        "location": region.upper(),
        "effectiveStartDate": "2023-05-01T00:00:00Z",
        "meterId": str(meter),
        "meterName": sku,
        "productId": f"DZH318Z0{number}",
        "skuId": f"DZH318Z0{number}/00{number[:2]}",
        "productName": product,
        "skuName": sku,
        "serviceName": "Virtual Machines",
        "serviceId": "DZH313Z7MMC8",
        "serviceFamily": "Compute",
        "unitOfMeasure": "1 Hour",
        "type": type_,
        "priceType": type_,
        "isPrimaryMeterRegion": True,
        "armSkuName": row["name"],
    }
    return {**item, "reservationTerm": term} if term else item


def _series(row: dict[str, Any]) -> str:
    family = str(row.get("family") or row["name"])
    return family.removeprefix("standard").removeprefix("Standard").removesuffix("Family").strip()


def _discount(size: str, region: str) -> float:
    """The Spot price as a share of the full one: between 0.1 and 0.4, always the same."""
    digest = hashlib.sha256(f"{size}/{region}".encode()).digest()
    return round(0.1 + 0.3 * digest[0] / 255, 3)


def _bad(message: str) -> Answer:
    return Answer(400, {"Error": {"Code": "BadRequest", "Message": message}})
