"""The copy rates of a store's devices: bytes read and written a second, the newest measured ones."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import datetime

import sqlalchemy as sa

from tunedb.core.device import Device, host
from tunedb.core.sweep import now
from tunedb.errors import StoreError
from tunedb.store.sql.base import Access, AnyRow
from tunedb.store.sql.models import CopyRateRow, DeviceRow


@dataclass(frozen=True, slots=True)
class CopyRate:
    """The rate at which a device copies a tensor that its L2 does not hold."""

    bytes_per_s: float  # read and written, together
    measured: datetime = field(default_factory=now)
    host: str = field(default_factory=host)


class CopyRates:
    """The queries of the table `copy_rate`."""

    def __init__(self, access: Access) -> None:
        self._access = access

    def get(self) -> dict[str, CopyRate]:
        """Return the rates by the digest of the device."""
        query = sa.select(DeviceRow.digest, *CopyRateRow.__table__.columns).join_from(CopyRateRow, DeviceRow)
        with self._access.read() as connection:
            selected = connection.execute(query).all()
        return dict(self._access.readable(selected, _to_rate))

    def put(self, device: Device, rate: CopyRate) -> None:
        """Keep a device's rate in place of one that it has."""
        if not (math.isfinite(rate.bytes_per_s) and rate.bytes_per_s > 0):
            raise ValueError(f"expected bytes a second above 0, got {rate.bytes_per_s!r}")
        with self._access.write() as connection:
            device_id = self._access.device_id(connection, device)
            connection.execute(sa.delete(CopyRateRow).where(CopyRateRow.device_id == device_id))
            values = {
                "device_id": device_id,
                "bytes_per_s": rate.bytes_per_s,
                "measured": rate.measured,
                "host": rate.host,
            }
            self._access.insert(connection, CopyRateRow, values)


def _to_rate(row: AnyRow) -> tuple[str, CopyRate]:
    is_readable = isinstance(row.bytes_per_s, float) and 0 < row.bytes_per_s < math.inf
    if not (is_readable and isinstance(row.digest, str) and isinstance(row.measured, datetime)):
        raise StoreError("A copy rate can't be read.")
    return row.digest, CopyRate(row.bytes_per_s, row.measured, str(row.host))
