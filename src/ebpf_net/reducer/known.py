"""All that ends can be named from, ready to be looked up.

What is derived from a table is kept until the table is another one: in most windows
most tables are as they were.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa

from ebpf_net.reducer.autonomous_systems import AutonomousSystems
from ebpf_net.reducer.cloud_hosts import CloudHosts, hosts_in_clouds
from ebpf_net.reducer.cloud_names import CloudNames
from ebpf_net.reducer.cloud_public import PublicAddresses
from ebpf_net.reducer.cloud_tables import CLOUD_TABLES, Clouds, clouds_of
from ebpf_net.reducer.cluster_members import Members, members_of
from ebpf_net.reducer.engine import Engine
from ebpf_net.reducer.keys import Int64, combine, text_key
from ebpf_net.reducer.kubernetes_names import KubernetesNames
from ebpf_net.reducer.kubernetes_tables import Clusters, clusters_of
from ebpf_net.reducer.lookups import Lookup, nobody, pick, same_rows
from ebpf_net.reducer.networks import Networks
from ebpf_net.reducer.places import Place, Places
from ebpf_net.reducer.rows import int64_column
from ebpf_net.schema import REFERENCE_KEYS, Scope, tables_of

_Made = TypeVar("_Made")

_LABELS_OF_CONTAINERS = """
WITH told AS (
    SELECT *, json_extract_string(
        CASE WHEN json_valid(labels) THEN labels ELSE '{}' END, [
            '$."com.amazonaws.ecs.task-definition-family"',
            '$."io.kubernetes.container.name"',
            '$."io.kubernetes.pod.name"',
            '$."io.kubernetes.pod.namespace"',
            '$."com.hashicorp.nomad.alloc_id"',
            '$."com.hashicorp.nomad.job_name"',
            '$."com.hashicorp.nomad.task_group_name"',
            '$."com.hashicorp.nomad.task_name"',
            '$."com.hashicorp.nomad.namespace"',
            '$."com.amazonaws.ecs.container-name"'
        ]) AS label
    FROM cgroups
)
SELECT service AS unit, pod_uid, image_version,
    container_id <> '' OR container_name <> '' AS is_container,
    left(container_id, 12) AS short_id, container_name,
    coalesce(label[1], '') AS ecs,
    coalesce(label[2], label[10], '') AS label_container,
    coalesce(label[3], '') AS label_pod,
    coalesce(label[4], label[9], '') AS label_namespace,
    coalesce(label[5], '') AS nomad_alloc,
    concat_ws('.', label[6], label[7], label[8]) AS nomad
FROM told
"""


@dataclass(frozen=True)
class Known:
    """Tables by what their rows are, and lookups that give row numbers of them."""

    tables: Mapping[str, pa.Table]
    host: Lookup  # by source
    process: Lookup  # by source and process id
    cgroup_of_process: Int64
    cgroup: Lookup  # by source and cgroup id
    translation: Lookup  # by source and translation id
    any_translation: Lookup  # by translation id
    clusters: Clusters
    members: Members
    places: Mapping[Place, Places]  # all but ANYWHERE, in their order
    addresses: KubernetesNames
    clouds: Clouds
    cloud_hosts: CloudHosts
    interfaces: CloudNames
    public: PublicAddresses
    networks: Networks
    systems: AutonomousSystems

    @property
    def names_addresses(self) -> bool:
        """Tell whether an address can have a name."""
        named = self.clusters or len(self.interfaces) or len(self.networks)
        return bool(named or self.systems)

    @property
    def shares_addresses(self) -> bool:
        """Tell whether several places of a kind have an address in common."""
        return any(len(places.shared) for places in self.places.values())

    @property
    def place_keys(self) -> Int64:
        """Keys of all places."""
        return np.concatenate([places.keys for places in self.places.values()])

    def find_translations(self, source: Int64, translation_id: Int64) -> Int64:
        """Return rows of translations, of another host where the own has none."""
        row = self.translation.find(combine(source, translation_id))
        return np.where(row >= 0, row, self.any_translation.find(translation_id))


class Names:
    """Makes Known of the reference tables.

    ``networks`` and ``systems`` may be replaced at any time by another thread.
    """

    def __init__(self) -> None:
        self.networks = Networks()
        self.systems = AutonomousSystems()
        self._made: dict[object, tuple[Sequence[pa.Table], Any]] = {}

    def known(self, engine: Engine, references: Mapping[str, pa.Table]) -> Known:
        """Return what is known now."""
        kubernetes = [references[name] for name in tables_of(Scope.CLUSTER)]
        hosts, cgroups = references["hosts"], references["cgroups"]
        own_addresses = references["cloud_instance_addresses"]
        translations = references["translations"]
        clusters = self._keep("clusters", kubernetes, lambda: clusters_of(references))
        addresses = self._keep(
            "addresses", kubernetes, lambda: KubernetesNames(clusters)
        )
        around = [hosts, cgroups, *kubernetes]
        members = self._keep(
            "members", around, lambda: members_of(references, clusters)
        )
        told_of_clouds = [references[name] for name in CLOUD_TABLES]
        clouds = self._keep("clouds", told_of_clouds, lambda: clouds_of(references))
        cloud_hosts = self._keep(
            "cloud_hosts",
            [hosts, *told_of_clouds],
            lambda: hosts_in_clouds(hosts, clouds),
        )
        interfaces = self._keep(
            "interfaces",
            [hosts, *told_of_clouds],
            lambda: CloudNames(clouds, cloud_hosts.network_of_own),
        )
        places = self._keep(
            "places",
            [*around, *told_of_clouds],
            lambda: {
                Place.CLUSTER: _in_clusters(clusters, members, addresses),
                Place.NETWORK: _in_networks(clouds, cloud_hosts, interfaces, cgroups),
            },
        )
        labels = self._keep("labels", [cgroups], lambda: _containers(engine, cgroups))
        tables = {
            **{name: references[name] for name in ("hosts", "processes")},
            "translations": translations,
            "cgroups": labels,
            **clusters.tables,
            **{f"cloud_{name}": clouds[name] for name in clouds.tables},
        }
        return Known(
            tables,
            self._keep("host", [hosts], lambda: _by_source(hosts)),
            self._lookup(references, "processes"),
            int64_column(references["processes"], "cgroup_id"),
            self._lookup(references, "cgroups"),
            self._lookup(references, "translations"),
            self._keep("any", [translations], lambda: _by_id(translations)),
            clusters,
            members,
            places,
            addresses,
            clouds,
            cloud_hosts,
            interfaces,
            self._keep(
                "public", [own_addresses], lambda: PublicAddresses(own_addresses)
            ),
            self.networks,
            self.systems,
        )

    def same_rows(self, name: str, table: pa.Table, columns: Sequence[str]) -> Int64:
        """Return for each row the first row that reads the same in these columns."""
        key = ("same", name, tuple(columns))
        return self._keep(key, [table], lambda: same_rows(table, columns))

    def _lookup(self, references: Mapping[str, pa.Table], name: str) -> Lookup:
        table = references[name]
        return self._keep(
            name,
            [table],
            lambda: Lookup(
                combine(
                    int64_column(table, "source"),
                    int64_column(table, REFERENCE_KEYS[name]),
                )
            ),
        )

    def _keep(
        self, key: object, tables: Sequence[pa.Table], make: Callable[[], _Made]
    ) -> _Made:
        kept = self._made.get(key)
        if kept is None or any(
            old is not new for old, new in zip(kept[0], tables, strict=True)
        ):
            kept = self._made[key] = (tables, make())
        made: _Made = kept[1]
        return made


def _by_source(table: pa.Table) -> Lookup:
    return Lookup(int64_column(table, "source"))


def _in_clusters(
    clusters: Clusters, members: Members, addresses: KubernetesNames
) -> Places:
    uids = clusters["clusters"]["cluster_uid"].to_pylist()
    return Places(
        np.array([text_key("cluster", str(uid)) for uid in uids], np.int64),
        members.host_cluster,
        pick(clusters.of("pods"), members.cgroup_pod),
        addresses.shared,
    )


def _in_networks(
    clouds: Clouds, hosts: CloudHosts, interfaces: CloudNames, cgroups: pa.Table
) -> Places:
    names = clouds["networks"]["name"].to_pylist()
    return Places(
        np.array([text_key("network", str(name)) for name in names], np.int64),
        hosts.network,
        nobody(cgroups.num_rows),
        interfaces.shared,
        hosts.network_of_address,
        interfaces.holding,
    )


def _by_id(translations: pa.Table) -> Lookup:
    return Lookup(int64_column(translations, "translation_id"))


def _containers(engine: Engine, cgroups: pa.Table) -> pa.Table:
    """Return what names a cgroup: its columns and what is used of its labels."""
    return engine.query(_LABELS_OF_CONTAINERS, cgroups=cgroups)
