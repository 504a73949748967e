"""The orders of the jaffle shop: fewer than it comes with, whose two files are by far its largest
and take minutes to load.
"""

from __future__ import annotations

import csv
from datetime import datetime, timedelta
from pathlib import Path

_COUNT = 2_000
_FIRST = datetime(2016, 9, 1)  # noqa: DTZ001 -- as the shop has it
_BETWEEN = timedelta(hours=5)
FOLDER = "seeds/jaffle-data"
WRITTEN = (f"{FOLDER}/raw_orders.csv", f"{FOLDER}/raw_items.csv")


def write_orders(checkout: Path) -> None:
    """Write orders of the shop's own customers, stores and products: up to three items in each."""
    folder = checkout / FOLDER
    customers, stores, products = (
        _read(folder / f"raw_{name}.csv") for name in ("customers", "stores", "products")
    )
    orders = [["id", "customer", "ordered_at", "store_id", "subtotal", "tax_paid", "order_total"]]
    items = [["id", "order_id", "sku"]]
    for number in range(_COUNT):
        store = stores[number % len(stores)]
        bought = [products[(number + more) % len(products)] for more in range(1 + number % 3)]
        subtotal = sum(int(product["price"]) for product in bought)
        tax = round(subtotal * float(store["tax_rate"]))
        customer = customers[number * 7 % len(customers)]["id"]
        at = (_FIRST + number * _BETWEEN).isoformat()
        amounts = [str(amount) for amount in (subtotal, tax, subtotal + tax)]
        orders.append([f"order-{number}", customer, at, store["id"], *amounts])
        items += [
            [f"item-{number}-{more}", f"order-{number}", product["sku"]]
            for more, product in enumerate(bought)
        ]
    for name, rows in zip(WRITTEN, (orders, items), strict=True):
        with (checkout / name).open("w", newline="") as file:
            csv.writer(file).writerows(rows)


def _read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))
