"""`cartag cars`."""

from __future__ import annotations

from cartag.cli import output
from cartag.cli.options import CatalogName, Format, TableFormat


def command(catalog: CatalogName = None, format: Format = TableFormat.table) -> None:
    """List a catalog; reading it checks it."""
    import cartag

    found = cartag.cars(catalog)
    if format is TableFormat.json:
        output.put_json(
            {
                "name": found.name,
                "title": found.title,
                "sha256": found.sha256,
                "cars": [
                    {
                        "id": c.id,
                        "name": c.name,
                        "make": c.make,
                        "aliases": list(c.aliases),
                        "years": c.years,
                        "body": c.body,
                    }
                    for c in found.cars
                ],
                "other_cars": len(found.other_cars),
                "no_car": len(found.no_car),
            }
        )
        return
    output.put(f"{found.title} ({found.name}): {len(found.cars)} cars")
    output.put_table(
        ("id", "name", "years", "also called"), ((c.id, c.name, c.years, ", ".join(c.aliases)) for c in found.cars)
    )
    output.put(f"rejected by {len(found.other_cars)} other cars and {len(found.no_car)} prompts without a car")
