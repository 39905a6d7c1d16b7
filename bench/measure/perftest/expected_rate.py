"""The lowest rate that ib_write_bw reaches on a healthy rail."""

from __future__ import annotations

from bench.model.packets import efficiency
from bench.model.profile import Profile
from bench.model.units import show_share
from bench.model.verdict import Bound

# Azure takes 380 Gb/s (azurehpc-health-checks, nd96isr_h100_v5.conf) and OCI 384 (oci-hpc) on NDR rails, of
# which packets of 4096 bytes leave 397.5
SHARE = 0.955
SOURCE = "Azure's and OCI's node checks take 380 and 384 Gb/s on NDR"
MTU = 4096
PACKET = {"infiniband": "ib", "roce": "roce"}


def least(profile: Profile, link: float, mtu: int | None = None) -> Bound:
    """Bytes/s that are wanted over a link of ``link`` bytes/s, in packets of ``mtu`` bytes: the profile's
    bound on verbs, else a share of what the packets leave of the link.
    """
    if profile.verbs.at_least is not None:
        return profile.verbs.at_least
    size = mtu or MTU
    share = SHARE * efficiency(PACKET[profile.rails.kind], size)
    return Bound(share * link, show_share(share), f"{SOURCE}; MTU {size}")
