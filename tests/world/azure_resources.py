"""What a test puts into the Azure of ``azure_api``, in the shapes of its REST API."""

from __future__ import annotations

import uuid
from typing import Any

from tests.world.azure_api import AzureWorld, Item

_NAMESPACES = {
    "virtualMachines": "Microsoft.Compute",
    "virtualMachineScaleSets": "Microsoft.Compute",
}


def subscription_id(number: int) -> str:
    return f"00000000-0000-0000-0000-{number:012d}"


class AzureSubscription:
    """One subscription; what is added can be changed afterwards."""

    def __init__(
        self, world: AzureWorld, number: int = 1, location: str = "westeurope"
    ) -> None:
        self.id = subscription_id(number)
        self.location = location
        self.group = "Shop"
        self.network = f"net-{number}"
        self._world = world
        world.listings["/subscriptions"].append(
            {
                "id": f"/subscriptions/{self.id}",
                "authorizationSource": "RoleBased",
                "managedByTenants": [],
                "subscriptionId": self.id,
                "tenantId": "72f988bf-86f1-41af-91ab-2d7cd011db47",
                "displayName": f"Subscription {number}",
                "state": "Enabled",
                "subscriptionPolicies": {"spendingLimit": "Off"},
            }
        )
        world.listings[f"/subscriptions/{self.id}/locations"] = [
            {
                "id": f"/subscriptions/{self.id}/locations/{location}",
                "name": location,
                "type": "Region",
                "displayName": "West Europe",
                "availabilityZoneMappings": [
                    {
                        "logicalZone": str(zone),
                        "physicalZone": f"{location}-az{zone % 3 + 1}",
                    }
                    for zone in (1, 2, 3)
                ],
            }
        ]

    def resource_id(self, kind: str, name: str) -> str:
        namespace = _NAMESPACES.get(kind, "Microsoft.Network")
        return (
            f"/subscriptions/{self.id}/resourceGroups/{self.group}/providers/"
            f"{namespace}/{kind}/{name}"
        )

    def subnet_id(self, name: str = "inner") -> str:
        return f"{self.resource_id('virtualNetworks', self.network)}/subnets/{name}"

    def listing(self, kind: str) -> list[Item]:
        namespace = _NAMESPACES.get(kind, "Microsoft.Network")
        path = f"/subscriptions/{self.id}/providers/{namespace}/{kind}".lower()
        return self._world.listings.setdefault(path, [])

    def add(self, kind: str, name: str, properties: Item, **more: Any) -> Item:
        """Add a resource; ``more`` are its other keys, such as zones and tags."""
        namespace = _NAMESPACES.get(kind, "Microsoft.Network")
        item = {
            "name": name,
            "id": self.resource_id(kind, name),
            "etag": f'W/"{uuid.uuid4()}"',
            "type": f"{namespace}/{kind}",
            "location": self.location,
            "properties": {"provisioningState": "Succeeded", **properties},
            **more,
        }
        self.listing(kind).append(item)
        return item

    def remove(self, item: Item) -> None:
        self.listing(item["type"].partition("/")[2]).remove(item)

    # Machines and their interfaces

    def machine(
        self, name: str, zone: str = "1", scale_set: Item | None = None, **more: Any
    ) -> Item:
        """Add a virtual machine; of a flexible scale set, if one is given."""
        properties: Item = {
            "vmId": str(uuid.uuid4()),
            "hardwareProfile": {"vmSize": "Standard_D2s_v3"},
            "storageProfile": {"osDisk": {"osType": "Linux"}},
            "osProfile": {"computerName": name},
        }
        if scale_set is not None:
            properties["virtualMachineScaleSet"] = {"id": scale_set["id"]}
        return self.add("virtualMachines", name, properties, zones=[zone], **more)

    def interface(
        self,
        name: str,
        *addresses: str,
        machine: Item | None = None,
        public: Item | None = None,
        **more: Any,
    ) -> Item:
        """Add a network interface; more of its properties are its keys otherwise."""
        tags = more.pop("tags", {})
        interface_id = self.resource_id("networkInterfaces", name)
        properties: Item = {
            "resourceGuid": str(uuid.uuid4()),
            "ipConfigurations": [
                self.configuration(f"{interface_id}/ipConfigurations/{number}", one)
                for number, one in enumerate(addresses)
            ],
            "dnsSettings": {"dnsServers": [], "appliedDnsServers": []},
            "macAddress": "00-0D-3A-1B-C7-21",
            "enableIPForwarding": False,
            "nicType": "Standard",
            **more,
        }
        if machine is not None:
            # Another spelling of the id, as the API has it.
            group = f"/resourceGroups/{self.group}/"
            properties["virtualMachine"] = {
                "id": machine["id"].replace(group, group.upper())
            }
        item = self.add("networkInterfaces", name, properties, tags=tags)
        if public is not None:
            self.associate(item, public)
        return item

    def configuration(self, configuration_id: str, address: str) -> Item:
        return {
            "name": configuration_id.rpartition("/")[2],
            "id": configuration_id,
            "properties": {
                "provisioningState": "Succeeded",
                "privateIPAddress": address,
                "privateIPAllocationMethod": "Dynamic",
                "privateIPAddressVersion": "IPv6" if ":" in address else "IPv4",
                "subnet": {"id": self.subnet_id()},
                "primary": configuration_id.endswith("/0"),
            },
        }

    # Public addresses

    def public(self, name: str, address: str, owner: str = "", **more: Any) -> Item:
        """Add a public address, of the ``ipConfiguration`` with an id."""
        properties: Item = {
            "ipAddress": address,
            "publicIPAddressVersion": "IPv6" if ":" in address else "IPv4",
            "publicIPAllocationMethod": "Static",
            "idleTimeoutInMinutes": 4,
        }
        if owner:
            properties["ipConfiguration"] = {"id": owner}
        return self.add("publicIPAddresses", name, properties, **more)

    def associate(self, interface: Item, public: Item) -> None:
        """Put a public address in the place of an interface's first private one."""
        configuration = interface["properties"]["ipConfigurations"][0]
        configuration["properties"]["publicIPAddress"] = {"id": public["id"]}
        public["properties"]["ipConfiguration"] = {"id": configuration["id"]}

    def dissociate(self, interface: Item) -> None:
        configuration = interface["properties"]["ipConfigurations"][0]
        del configuration["properties"]["publicIPAddress"]

    def prefix(self, name: str, addresses: str) -> Item:
        length = int(addresses.partition("/")[2])
        return self.add(
            "publicIPPrefixes", name, {"ipPrefix": addresses, "prefixLength": length}
        )

    # What has front ends

    def front(self, owner_id: str, name: str, **properties: Any) -> Item:
        """Return a front end: with a private address, or what public one it has."""
        zones = properties.pop("zones", None)
        if "privateIPAddress" in properties:
            properties.setdefault("subnet", {"id": self.subnet_id("fronts")})
        front: Item = {
            "name": name,
            "id": f"{owner_id}/frontendIPConfigurations/{name}",
            "properties": {"provisioningState": "Succeeded", **properties},
        }
        return front | ({"zones": zones} if zones else {})

    def load_balancer(self, name: str, *fronts: dict[str, Any], **more: Any) -> Item:
        owner = self.resource_id("loadBalancers", name)
        made = [
            self.front(owner, f"front-{number}", **one)
            for number, one in enumerate(fronts)
        ]
        return self.add(
            "loadBalancers", name, {"frontendIPConfigurations": made}, **more
        )

    def endpoint(self, name: str, address: str, service: str, group: str) -> Item:
        """Add a private endpoint and its interface; returns the interface."""
        endpoint_id = self.resource_id("privateEndpoints", name)
        interface = self.interface(
            f"{name}.nic.1234", address, privateEndpoint={"id": endpoint_id}
        )
        connection = {
            "name": name,
            "id": f"{endpoint_id}/privateLinkServiceConnections/{name}",
            "properties": {
                "privateLinkServiceId": service,
                "groupIds": [group],
                "privateLinkServiceConnectionState": {"status": "Approved"},
            },
        }
        self.add(
            "privateEndpoints",
            name,
            {
                "privateLinkServiceConnections": [connection],
                "manualPrivateLinkServiceConnections": [],
                "networkInterfaces": [{"id": interface["id"]}],
            },
        )
        return interface

    # Scale sets

    def scale_set(
        self,
        name: str,
        mode: str = "Uniform",
        *,
        has_public: bool = False,
        **more: Any,
    ) -> Item:
        configuration: Item = {"subnet": {"id": self.subnet_id()}}
        if has_public:
            configuration["publicIPAddressConfiguration"] = {"name": "pub"}
        interface = {
            "name": "nic",
            "properties": {
                "primary": True,
                "ipConfigurations": [{"name": "ip", "properties": configuration}],
            },
        }
        profile = {"networkProfile": {"networkInterfaceConfigurations": [interface]}}
        return self.add(
            "virtualMachineScaleSets",
            name,
            {
                "singlePlacementGroup": False,
                "orchestrationMode": mode,
                "virtualMachineProfile": profile,
            },
            sku={"name": "Standard_D4s_v5", "tier": "Standard", "capacity": 3},
            **more,
        )

    def set_machine(
        self, scale_set: Item, number: int, address: str, zone: str = "2"
    ) -> tuple[Item, Item]:
        """Add a machine of a uniform scale set; returns it and its interface."""
        machine_id = f"{scale_set['id']}/virtualMachines/{number}"
        machine: Item = {
            "name": f"{scale_set['name']}_{number}",
            "id": machine_id,
            "instanceId": str(number),
            "zones": [zone],
            "location": self.location,
            "properties": {"vmId": str(uuid.uuid4())},
        }
        interface_id = f"{machine_id}/networkInterfaces/nic"
        configuration = self.configuration(
            f"{interface_id}/ipConfigurations/ip", address
        )
        interface: Item = {
            "name": "nic",
            "id": interface_id,
            "properties": {
                "provisioningState": "Succeeded",
                "ipConfigurations": [configuration],
                "virtualMachine": {"id": machine_id},
            },
        }
        self.set_listing(scale_set, "virtualMachines").append(machine)
        self.set_listing(scale_set, "networkInterfaces").append(interface)
        return machine, interface

    def set_public(self, scale_set: Item, interface: Item, address: str) -> Item:
        """Give a scale set's interface a public address."""
        configuration = interface["properties"]["ipConfigurations"][0]
        public: Item = {
            "name": "pub",
            "id": f"{configuration['id']}/publicIPAddresses/pub",
            "properties": {"ipAddress": address},
        }
        configuration["properties"]["publicIPAddress"] = {"id": public["id"]}
        self.set_listing(scale_set, "publicIPAddresses").append(public)
        return public

    def set_listing(self, scale_set: Item, kind: str) -> list[Item]:
        return self._world.listings.setdefault(f"{scale_set['id']}/{kind}".lower(), [])
