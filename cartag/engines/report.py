"""What a run on a cluster did."""

from __future__ import annotations

from dataclasses import dataclass, field

from cartag.tagging import TagReport


@dataclass(frozen=True)
class ClusterReport(TagReport):
    """What `tag` with the engine ``ray`` did.

    Its ``index`` has the header and no photos, for there may be millions: `cartag.load` reads them.
    """

    uri: str = ""
    """Where the index lies."""
    shards: int = 0
    """Shards that this run wrote."""
    seconds: float = 0.0
    """From the first photo that was looked at to the last shard: without the start."""
    counted: dict[str, int] = field(default_factory=dict)

    @property
    def outcomes(self) -> dict[str, int]:
        """Photos per outcome, all four of them."""
        return self.counted
