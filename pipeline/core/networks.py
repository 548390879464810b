"""Which addresses may be connected to: networks that are allowed, and others that are not."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from typing import Final

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# Prefixes of IPv6 whose last 32 bits are an IPv4 address: compatible, translated (SIIT, NAT64).
_EMBEDDING = tuple(map(ipaddress.IPv6Network, ("::/96", "::ffff:0:0:0/96", "64:ff9b::/96")))
# This machine, this cable, many receivers, and where clouds tell secrets of this machine: only
# networks within them allow them.
_SPECIAL: Final[tuple[_Network, ...]] = tuple(
    map(
        ipaddress.ip_network,
        (
            *("0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "240.0.0.0/4"),
            *("100.100.100.200/32", "192.0.0.192/32"),
            *("::/128", "::1/128", "fe80::/10", "ff00::/8", "fd00:ec2::254/128"),
        ),
    )
)


def embedded(ip: Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address that an IPv6 address stands for; None: it stands for itself."""
    if isinstance(ip, ipaddress.IPv4Address) or int(ip) <= 1:
        return None
    if any(ip in network for network in _EMBEDDING):
        return ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip.ipv4_mapped or ip.sixtofour


@dataclass(frozen=True, slots=True)
class AddressRules:
    """Networks (CIDR) that are allowed, and with ``!`` before them refused.

    This machine (127.0.0.0/8), the same cable (169.254.0.0/16, where clouds have their metadata)
    and multicast are refused unless a network that lies within them is allowed.

    Args:
        entries: e.g. ``("10.0.0.0/8", "!10.0.0.1")``.

    Raises:
        ValueError: one of them is neither an address nor a network.
    """

    entries: tuple[str, ...]
    _allowed: tuple[_Network, ...] = field(init=False, repr=False, compare=False)
    _refused: tuple[_Network, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        parsed = [(one[:1] == "!", _network(one.removeprefix("!"))) for one in self.entries]
        for name, wanted in (("_allowed", False), ("_refused", True)):
            found = tuple(network for refused, network in parsed if refused is wanted)
            object.__setattr__(self, name, found)

    def allow(self, address: str) -> bool:
        """Whether this numeric address may be connected to."""
        ip: Address = ipaddress.ip_address(address.partition("%")[0])
        ip = embedded(ip) or ip
        if any(ip in network for network in self._refused):
            return False
        special = next((network for network in _SPECIAL if ip in network), None)
        return any(
            ip in network and (special is None or network.subnet_of(special))  # type: ignore[arg-type]
            for network in self._allowed
        )


def checked_networks(entries: tuple[str, ...]) -> tuple[str, ...]:
    """The entries of `AddressRules`; raises ValueError for those that are none."""
    AddressRules(entries)
    return entries


def _network(text: str) -> _Network:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise ValueError(
            f"{text!r} is neither an address nor a network such as 10.0.0.0/8"
        ) from None
