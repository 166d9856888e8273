"""The tables that cross from room to room, and the window that leaves the reducer.

Column types are Arrow type names that mean the same to nanoarrow and pyarrow, so that
the collector's process needs neither pyarrow nor DuckDB. No column is ever null.
"""

from ebpf_net.schema.edges import (
    EDGE_SAMPLES,
    EDGES,
    HISTOGRAM_SCALE,
    Columns,
    ConnectFailure,
    Drop,
    Protocol,
    Role,
    Sample,
)
from ebpf_net.schema.references import (
    CGROUPS,
    HOSTS,
    KUBERNETES_ADDRESSES,
    KUBERNETES_CLUSTERS,
    KUBERNETES_CONTAINERS,
    KUBERNETES_ENDPOINTS,
    KUBERNETES_NAMESPACES,
    KUBERNETES_NODES,
    KUBERNETES_PODS,
    KUBERNETES_SERVICES,
    PROCESSES,
    TRANSLATIONS,
)
from ebpf_net.schema.tables import (
    REFERENCE_KEYS,
    REFERENCES,
    TABLES,
    Reference,
    Scope,
    tables_of,
    timed_tables,
)
from ebpf_net.schema.windows import (
    AZ_LABELS,
    LEVEL_EDGES,
    LEVEL_SAMPLES,
    LEVELS,
    NODE_LABELS,
    InternalPoint,
    Level,
    Window,
)

__all__ = [
    "AZ_LABELS",
    "CGROUPS",
    "EDGES",
    "EDGE_SAMPLES",
    "HISTOGRAM_SCALE",
    "HOSTS",
    "KUBERNETES_ADDRESSES",
    "KUBERNETES_CLUSTERS",
    "KUBERNETES_CONTAINERS",
    "KUBERNETES_ENDPOINTS",
    "KUBERNETES_NAMESPACES",
    "KUBERNETES_NODES",
    "KUBERNETES_PODS",
    "KUBERNETES_SERVICES",
    "LEVELS",
    "LEVEL_EDGES",
    "LEVEL_SAMPLES",
    "NODE_LABELS",
    "PROCESSES",
    "REFERENCES",
    "REFERENCE_KEYS",
    "TABLES",
    "TRANSLATIONS",
    "Columns",
    "ConnectFailure",
    "Drop",
    "InternalPoint",
    "Level",
    "Protocol",
    "Reference",
    "Role",
    "Sample",
    "Scope",
    "Window",
    "tables_of",
    "timed_tables",
]
