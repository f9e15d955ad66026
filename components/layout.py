"""Where a dataset's objects lie: one pattern for the table that Athena reads and for the job that writes.

A dataset that is asked for by time begins with the date, one that is asked for by device with the device:

    >>> Layout("dataset/", (*DATE, "device")).folder(year=2013, month=1, day=5, device="EWR")
    'dataset/2013/01/05/EWR/'
    >>> Layout("dataset/", ("device", *DATE)).folder(year=2013, month=1, day=5, device="EWR")
    'dataset/EWR/2013/01/05/'
"""

from typing import NamedTuple

DATE = ("year", "month", "day")
DIGITS = {"year": 4, "month": 2, "day": 2}  # keys that are numbers; all others are text


class Layout(NamedTuple):
    """Folders below `prefix`, which ends with a slash or is empty: one a key, in this order.

    `named` folders say which key they are of, as Hive's do: year=2013/month=01/day=05.
    """

    prefix: str
    keys: tuple[str, ...]
    named: bool = False

    @property
    def pattern(self) -> str:
        """The folder of an object with str.format's fields: dataset/{year:04}/{month:02}/{day:02}/{device}/."""
        return self._folders({key: f"{{{key}:0{DIGITS[key]}}}" if key in DIGITS else f"{{{key}}}" for key in self.keys})

    @property
    def template(self) -> str:
        """The same as Athena's storage.location.template has it: dataset/${year}/${month}/${day}/${device}/."""
        return self._folders({key: f"${{{key}}}" for key in self.keys})

    def folder(self, **values: str | int) -> str:
        """The folder of one partition. Raises ValueError when the values are not those of the keys."""
        if set(values) != set(self.keys):
            raise ValueError(f"{self.prefix} is partitioned by {', '.join(self.keys)}, not {', '.join(values)}")
        unfit = [key for key, value in values.items() if "/" in str(value) or not str(value)]
        if unfit:
            raise ValueError(f"{', '.join(unfit)} can't be a folder's name: it is empty or has a slash")
        return self.pattern.format(**values)

    def _folders(self, values: dict[str, str]) -> str:
        return self.prefix + "".join(f"{key}={value}/" if self.named else f"{value}/" for key, value in values.items())
