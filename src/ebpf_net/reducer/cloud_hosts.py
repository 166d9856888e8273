"""Which instance of a cloud a host is, and in which VPC each of its addresses is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from ebpf_net.reducer.addresses import WHOLE
from ebpf_net.reducer.cloud_tables import Clouds, instance_keys
from ebpf_net.reducer.keys import Int64
from ebpf_net.reducer.lookups import (
    NOBODY,
    Lookup,
    codes_among,
    is_blank,
    only_one,
    pick,
    text_codes,
)
from ebpf_net.reducer.places import host_address_key
from ebpf_net.reducer.rows import address_columns, int64_column


@dataclass(frozen=True)
class CloudHosts:
    """For each row of ``hosts`` the row of its instance and that of its only VPC.

    By ``host_address_key``: the VPC of a host's address, and the row of it that the
    host's own collector told of. ``network_of_own`` has the VPC of each such row.
    """

    instance: Int64
    network: Int64
    network_of_address: Lookup
    own_address: Lookup
    network_of_own: Int64


def hosts_in_clouds(hosts: pa.Table, clouds: Clouds) -> CloudHosts:
    """Join hosts with their interfaces.

    Those are known by what the cloud's collector says of the instance, which has the
    VPC's name as other ends have it, else by what the host's own collector says.
    """
    host_of = Lookup(int64_column(hosts, "source"))
    instances, own = clouds["instances"], clouds["instance_addresses"]
    by_source = Lookup(int64_column(instances, "source"))
    instance = by_source.find(int64_column(hosts, "source"))
    host, row = _interfaces_of_hosts(instance, clouds)
    network = clouds.network_of["interfaces"][row]
    owner, address = _pairs(row, clouds.owner)
    whole = int64_column(clouds["addresses"], "prefix_length")[address] == WHOLE
    owner, address = owner[whole], address[whole]
    seen = _keys(clouds["addresses"], "address", host[owner], address)
    told = np.arange(own.num_rows)
    own_host = host_of.find(int64_column(own, "source"))
    own_key = _keys(own, "private_address", own_host, told)
    own_network = clouds.network_of["instance_addresses"]
    network_of_address = _lookup(
        np.concatenate([seen, own_key]),
        np.concatenate([clouds.network_of["addresses"][address], own_network]),
    )
    return CloudHosts(
        instance,
        _first(
            _only(host, network, hosts.num_rows),
            _only(own_host, own_network, hosts.num_rows),
        ),
        network_of_address,
        Lookup(own_key),
        network_of_address.find(own_key),
    )


def _interfaces_of_hosts(instance: Int64, clouds: Clouds) -> tuple[Int64, Int64]:
    """Return pairs of a host and an interface of its instance."""
    keys = clouds["instances"]["instance_key"]
    codes, texts = text_codes(keys)
    codes[is_blank(keys)] = NOBODY
    theirs = codes_among(instance_keys(clouds["interfaces"]), texts)
    return _pairs(pick(codes, instance), theirs)


def _pairs(wanted: Int64, values: Int64) -> tuple[Int64, Int64]:
    """Return all places of a wanted number and a value that are the same."""
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    first = np.searchsorted(ordered, wanted, "left")
    count = np.searchsorted(ordered, wanted, "right") - first
    count[wanted == NOBODY] = 0
    one = np.repeat(np.arange(len(wanted)), count)
    step = np.arange(len(one)) - (np.cumsum(count) - count)[one]
    return one, order[first[one] + step]


def _keys(table: pa.Table, name: str, host: Int64, row: Int64) -> Int64:
    high, low = address_columns(table, name)
    return host_address_key(host, high[row], low[row])


def _only(host: Int64, network: Int64, count: int) -> Int64:
    """Return the only VPC of each host, or NOBODY."""
    known = np.flatnonzero((network >= 0) & (host >= 0))
    host, network = host[known], network[known]
    alone = only_one(host, network)
    return _lookup(host[alone], network[alone]).find(np.arange(count))


def _lookup(keys: Int64, network: Int64) -> Lookup:
    known = network >= 0
    return Lookup(keys[known], network[known])


def _first(one: Int64, other: Int64) -> Int64:
    return np.where(one >= 0, one, other)
