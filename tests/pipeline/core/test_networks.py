"""Which addresses requests may lead to."""

from __future__ import annotations

import pytest
from facestream.pipeline.core.networks import AddressRules

EVERYWHERE = AddressRules(("0.0.0.0/0", "::/0"))


@pytest.mark.parametrize("address", ["10.0.0.5", "192.168.1.9", "93.184.216.34", "fd12::5"])
def test_cameras_are_allowed(address: str) -> None:
    assert EVERYWHERE.allow(address)


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "127.8.9.1", "0.0.0.0", "169.254.169.254", "224.0.0.1", "255.255.255.255"),
        *("::1", "::", "fe80::1%eth0", "ff02::1", "::ffff:127.0.0.1", "::ffff:169.254.169.254"),
        *("64:ff9b::7f00:1", "2002:7f00:1::", "::127.0.0.1", "fd00:ec2::254", "100.100.100.200"),
    ],
)
def test_this_machine_and_metadata_are_not(address: str) -> None:
    assert not EVERYWHERE.allow(address)


def test_a_network_within_allows_them() -> None:
    rules = AddressRules(("10.0.0.0/8", "!10.0.0.1", "127.0.0.1"))
    assert rules.allow("127.0.0.1")
    assert rules.allow("::ffff:127.0.0.1")
    assert not rules.allow("127.0.0.2")
    assert rules.allow("10.0.0.2")
    assert not rules.allow("10.0.0.1")
    assert not rules.allow("192.168.1.1")


def test_what_is_no_network() -> None:
    with pytest.raises(ValueError, match="neither an address nor a network"):
        AddressRules(("door",))
