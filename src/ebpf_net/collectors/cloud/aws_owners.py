"""Whose network interface it is in AWS: by its type, requester and description.

No list of load balancers, databases and so on is asked for: what makes an interface for
itself says so in the description, mostly with its name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from ebpf_net.collectors.cloud.records import Kind


class Owner(NamedTuple):
    """What an interface belongs to; ``role`` is its name, or else what it is."""

    kind: Kind
    role: str = ""


_UUID = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_DESCRIPTIONS: tuple[tuple[str, Kind], ...] = (
    (r"ELB (app|net|gwy)/(?P<name>[^/]+)/", Kind.LOAD_BALANCER),
    (r"ELB (?P<name>\S+)$", Kind.LOAD_BALANCER),
    (r"Interface for NAT Gateway (?P<name>nat-\w+)", Kind.NAT_GATEWAY),
    (r"VPC Endpoint Interface (?P<name>vpce-\w+)", Kind.VPC_ENDPOINT),
    (rf"AWS Lambda VPC ENI-(?P<name>.+?)(-{_UUID})?$", Kind.FUNCTION),
    (r"EFS mount target for (?P<name>fs-\w+)", Kind.FILE_SYSTEM),
    (r"Amazon EKS (?P<name>\S+)$", Kind.KUBERNETES),
    (r"aws-k8s-branch-eni$", Kind.KUBERNETES),
    (r"RDSNetworkInterface$", Kind.DATABASE),
    (r"RedshiftNetworkInterface$", Kind.DATABASE),
    (r"DMSNetworkInterface$", Kind.DATABASE),
    (r"ES (?P<name>\S+)$", Kind.DATABASE),
    (r"ElastiCache (?P<name>\S+)", Kind.CACHE),
    (r"DAX (?P<name>\S+)", Kind.CACHE),
    (r".*Amazon MSK .* cluster arn:[^/]*/(?P<name>[^/]+)/", Kind.OTHER),
    (r".* Transit Gateway Attachment (?P<name>tgw-attach-\w+)", Kind.GATEWAY),
    (r"arn:aws[\w-]*:ecs:.*:attachment/", Kind.CONTAINER),
    (r"AWS created network interface for directory (?P<name>d-\w+)", Kind.OTHER),
)
_PATTERNS = tuple((re.compile(text, re.I), kind) for text, kind in _DESCRIPTIONS)
_PLAIN_ROLES: Mapping[str, str] = {
    "RDSNetworkInterface": "rds",
    "RedshiftNetworkInterface": "redshift",
    "DMSNetworkInterface": "dms",
}
UNNAMED_ROLES = frozenset(_PLAIN_ROLES.values())
"""Of services that do not say which of their databases it is."""
_TYPES: Mapping[str, Owner] = {
    "load_balancer": Owner(Kind.LOAD_BALANCER),
    "network_load_balancer": Owner(Kind.LOAD_BALANCER),
    "gateway_load_balancer": Owner(Kind.LOAD_BALANCER),
    "gateway_load_balancer_endpoint": Owner(Kind.VPC_ENDPOINT),
    "natGateway": Owner(Kind.NAT_GATEWAY),
    "nat_gateway": Owner(Kind.NAT_GATEWAY),
    "vpc_endpoint": Owner(Kind.VPC_ENDPOINT),
    "lambda": Owner(Kind.FUNCTION),
    "transit_gateway": Owner(Kind.GATEWAY, "transit-gateway"),
    "api_gateway_managed": Owner(Kind.GATEWAY, "api-gateway"),
    "global_accelerator_managed": Owner(Kind.GATEWAY, "global-accelerator"),
    "quicksight": Owner(Kind.OTHER, "quicksight"),
    "iot_rules_managed": Owner(Kind.OTHER, "iot-rules"),
    "aws_codestar_connections_managed": Owner(Kind.OTHER, "codestar-connections"),
    "branch": Owner(Kind.KUBERNETES),
    "trunk": Owner(Kind.INSTANCE),
}
_REQUESTERS: Mapping[str, Owner] = {
    "amazon-elb": Owner(Kind.LOAD_BALANCER, "elb"),
    "amazon-elasticache": Owner(Kind.CACHE, "elasticache"),
    "amazon-rds": Owner(Kind.DATABASE, "rds"),
    "amazon-redshift": Owner(Kind.DATABASE, "redshift"),
    "amazon-elasticsearch": Owner(Kind.DATABASE, "opensearch"),
    "amazon-dms": Owner(Kind.DATABASE, "dms"),
}
_AMAZON = "amazon-"
_ROLE_TAGS = (
    "eks:nodegroup-name",
    "alpha.eksctl.io/nodegroup-name",
    "karpenter.sh/nodepool",
    "aws:ecs:serviceName",
    "elasticbeanstalk:environment-name",
    "aws:autoscaling:groupName",
    "aws:ec2:fleet-id",
    "aws:elasticmapreduce:job-flow-id",
)
"""The first one that is there says best what people gave a name."""
_CLUSTER_TAGS = (
    "eks:cluster-name",
    "aws:eks:cluster-name",
    "alpha.eksctl.io/cluster-name",
    "aws:ecs:clusterName",
)
_OF_CLUSTERS = _ROLE_TAGS[:4]


def owner_of(
    interface_type: str, requester: str, description: str, *, has_instance: bool
) -> Owner:
    """Return what an interface belongs to; what nobody knows is other."""
    is_managed = requester.startswith(_AMAZON)
    if has_instance and not is_managed:
        return Owner(Kind.INSTANCE)
    for pattern, kind in _PATTERNS:
        match = pattern.match(description)
        if match is not None:
            name = match.groupdict().get("name") or ""
            return Owner(kind, name or _PLAIN_ROLES.get(description, ""))
    if interface_type in _TYPES:
        return _TYPES[interface_type]
    if requester in _REQUESTERS:
        return _REQUESTERS[requester]
    if has_instance:
        return Owner(Kind.INSTANCE)
    return Owner(Kind.OTHER, description if is_managed else "")


def role_of_tags(tags: Mapping[str, str]) -> str:
    """Return the group of what has these tags, with its cluster; or nothing."""
    name = next((tag for tag in _ROLE_TAGS if tags.get(tag)), "")
    if not name:
        return ""
    cluster = next((tags[tag] for tag in _CLUSTER_TAGS if tags.get(tag)), "")
    if cluster and name in _OF_CLUSTERS:
        return f"{cluster}/{tags[name]}"
    return tags[name]
