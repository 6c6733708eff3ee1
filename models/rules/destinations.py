"""Which addresses a request of ours may go to: those of the public internet.

Decides by the address alone, whatever name led to it: a name may point anywhere, and elsewhere a moment later. Resolves
and connects nothing; tasks.guarded_http does, to the very address that was looked at here.
"""

from __future__ import annotations

import ipaddress

_NAT64 = ipaddress.ip_network("64:ff9b::/96")
"""IPv6 that stands for an IPv4 address (RFC 6052)."""


def is_public(address: str) -> bool:
    """Whether the IP address belongs to the public internet: not to this machine, a private network or a link.

    Raises ValueError if it is no address. IPv6 that carries an IPv4 address is as public as that one.
    """
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour
        if ip in _NAT64:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
        if ip.is_site_local:
            return False
    return ip.is_global and not ip.is_multicast and not ip.is_reserved


def is_loopback(host: str) -> bool:
    """True for this very machine, as it is written: `localhost`, or an address of loopback."""
    if host.rstrip(".").lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_private_address(host: str) -> bool:
    """True for an IP address, as it is written, that is not public; False for names."""
    try:
        return not is_public(host)
    except ValueError:
        return False
