"""A trainer becomes the active one, or stands by, whatever the brokers do in between."""

from __future__ import annotations

import pytest

from streamad.errors import CommitAbortedError
from streamad.wiring.trainer import last_version


class Publisher:
    def __init__(self, active, last):
        self._active, self._last = active, last

    def wait_until_active(self, timeout):
        assert timeout > 0
        return self._active

    def last_version(self):
        if self._last is None:
            raise CommitAbortedError("not the active one")
        return self._last


@pytest.mark.parametrize(
    ("active", "last", "found"), [(True, 3, 3), (True, 0, 0), (False, 3, None), (True, None, None)]
)
def test_who_is_put_out_while_it_asks_for_the_last_version_stands_by_again(active, last, found):
    assert last_version(Publisher(active, last)) == found
