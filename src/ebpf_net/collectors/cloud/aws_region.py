"""One region of an AWS account: its interfaces, and the instances that name them.

Interfaces are listed with each poll. Instances are listed now and then; between those,
only ones that nobody has heard of are asked for.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ebpf_net.collectors.cloud.aws_errors import ask
from ebpf_net.collectors.cloud.aws_session import AwsSession
from ebpf_net.collectors.cloud.aws_shapes import (
    Instance,
    NetworkInterface,
    read_instance,
    read_interface,
)
from ebpf_net.collectors.cloud.providers import Budget, PartFailed, PartKey
from ebpf_net.collectors.cloud.records import Interface
from ebpf_net.collectors.object_labels import AllowList

PAGE_INTERFACES = 500
"""As many as the API gives at once."""
PAGE_INSTANCES = 100
"""A page is some MB of XML, and this many are parsed at once."""
_IDS_AT_ONCE = 200
_REFRESH_SECONDS = 600.0

Answer = Mapping[str, Any]


class AwsRegion:
    """A Part."""

    account_name = ""

    def __init__(self, key: PartKey, session: AwsSession, allowed: AllowList) -> None:
        self.key = key
        self._session = session
        self._allowed = allowed
        self._client: Any = None
        self._zone_ids: dict[str, str] = {}
        self._instances: dict[str, Instance] = {}
        self._refresh_at = 0.0
        self._lacking: list[PartFailed] = []

    def fetch(self, budget: Budget) -> Iterator[Interface]:
        """Yield all interfaces; see Part."""
        if self._client is None:
            self._client = ask("", lambda: self._session.client("ec2", self.key.region))
        self._refresh(budget)
        for page in self._pages(
            budget, "NetworkInterfaces", {"MaxResults": PAGE_INTERFACES}
        ):
            self._add_instances(budget, page)
            for item in page:
                yield read_interface(
                    item,
                    self._instances,
                    self._zone_ids,
                    self._allowed,
                    self.key.region,
                )

    def _refresh(self, budget: Budget) -> None:
        """List zones and instances when it is time; what is refused, not sooner."""
        now = time.monotonic()
        if now < self._refresh_at:
            for failure in self._lacking:
                budget.do_without(failure)
            return
        self._lacking = []
        for listing in (self._list_zones, self._list_instances):
            try:
                listing(budget)
            except PartFailed as failure:
                budget.do_without(failure)
                self._lacking.append(failure)
        if all(failure.missing_permission for failure in self._lacking):
            self._refresh_at = now + _REFRESH_SECONDS

    def _list_instances(self, budget: Budget) -> None:
        found: dict[str, Instance] = {}
        request = {"MaxResults": PAGE_INSTANCES}
        for page in self._pages(budget, "Reservations", request):
            self._take_instances(page, found)
        self._instances = found

    def _list_zones(self, budget: Budget) -> None:
        answer = self._call(budget, "DescribeAvailabilityZones", {})
        self._zone_ids = {
            zone["ZoneName"]: zone["ZoneId"]
            for zone in answer["AvailabilityZones"]
            if "ZoneId" in zone
        }

    def _take_instances(
        self, reservations: list[Answer], found: dict[str, Instance]
    ) -> None:
        for reservation in reservations:
            for item in reservation.get("Instances", ()):
                instance = read_instance(item, self._allowed)
                known = self._instances.get(instance.instance_id)
                if known == instance:  # one object less, and interfaces share it
                    instance = known
                found[instance.instance_id] = instance

    def _add_instances(self, budget: Budget, page: list[NetworkInterface]) -> None:
        """Ask for instances that no listing has had yet."""
        if self._lacking:
            return
        new = sorted({one for item in page if (one := self._unknown(item))})
        for first in range(0, len(new), _IDS_AT_ONCE):
            # By filter: an id that is gone already would be an error otherwise.
            some = {"Name": "instance-id", "Values": new[first : first + _IDS_AT_ONCE]}
            request = {"Filters": [some], "MaxResults": PAGE_INSTANCES}
            try:
                for reservations in self._pages(budget, "Reservations", request):
                    self._take_instances(reservations, self._instances)
            except PartFailed as failure:
                budget.do_without(failure)

    def _unknown(self, item: NetworkInterface) -> str:
        """Return an interface's instance if it may be asked for; or nothing."""
        attachment = item.get("Attachment", {})
        instance_id = attachment.get("InstanceId", "")
        owner = attachment.get("InstanceOwnerId", self.key.account)
        is_new = owner == self.key.account and instance_id not in self._instances
        return instance_id if is_new else ""

    def _pages(
        self, budget: Budget, items: str, request: dict[str, Any]
    ) -> Iterator[list[Any]]:
        """Yield the items of all pages, without keeping one."""
        operation = _LISTINGS[items]
        token = ""
        while True:
            more = {"NextToken": token} if token else {}
            answer = self._call(budget, operation, request | more)
            yield answer.get(items, [])
            last, token = token, answer.get("NextToken") or ""
            if not token:
                return
            if token == last:
                raise PartFailed(f"ec2:{operation}: the same page over and over")

    def _call(self, budget: Budget, operation: str, request: dict[str, Any]) -> Any:
        permission = f"ec2:{operation}"
        method: Callable[..., Any] = getattr(self._client, _METHODS[operation])
        return budget.call(
            permission, lambda: ask(permission, lambda: method(**request))
        )


_LISTINGS = {
    "NetworkInterfaces": "DescribeNetworkInterfaces",
    "Reservations": "DescribeInstances",
}
_METHODS = {
    "DescribeAvailabilityZones": "describe_availability_zones",
    "DescribeInstances": "describe_instances",
    "DescribeNetworkInterfaces": "describe_network_interfaces",
}
