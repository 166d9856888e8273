"""What makes a host of the test a Kubernetes node: containerd, kubelet, kube-proxy.

Their mounts stay in a mount namespace of their own and end with it. Ports, rules,
interfaces and cgroups are the host's.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Sequence
from pathlib import Path

from tests.world.hosts import run
from tests.world.kubernetes_api import ApiServer
from tests.world.kubernetes_dns import DNS_ADDRESS
from tests.world.kubernetes_host import KubernetesHost
from tests.world.kubernetes_images import PAUSE_IMAGE, write_images
from tests.world.kubernetes_programs import kubernetes_program
from tests.world.programs import Program

# Each node has a part of them for its pods.
CLUSTER_NETWORKS = ("10.244.0.0/16", "fd44::/48")
_IPTABLES = ("iptables", "ip6tables")

# kubelet sets these for the whole machine; in its mount namespace they are plain files.
_SYSCTLS = {
    "vm/overcommit_memory": "1",
    "vm/panic_on_oom": "0",
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
    "kernel/keys/root_maxkeys": "1000000",
    "kernel/keys/root_maxbytes": "25000000",
}

_CONTAINERD = """\
version = 2
root = "{directory}/containerd"
state = "{directory}/containerd-state"
disabled_plugins = ["io.containerd.internal.v1.opt"]
[grpc]
address = "{directory}/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{pause}"
restrict_oom_score_adj = true
disable_apparmor = true
netns_mounts_under_state_dir = true
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "/usr/lib/cni"
conf_dir = "{directory}/cni"
"""


class Node:
    """One node on a host. Its pods' cgroups are below the host's."""

    def __init__(
        self,
        host: KubernetesHost,
        directory: Path,
        api: ApiServer,
        proxy_mode: str,
        labels: dict[str, str],
    ) -> None:
        self.host = host.host
        self.name = self.host.name
        self.socket = directory / "containerd.sock"
        self._directory = directory
        self._api = api
        self._host = host
        self._labels = labels
        self._proxy_mode = proxy_mode
        self._set_up_kernel()
        self._mounts = self._enter_mount_namespace()
        self.containerd = self._start_containerd()
        self._import_images()
        self.kubelet = self._start_kubelet()
        self.proxy = self._start_proxy()

    def start(self, arguments: Sequence[str | Path], log: Path) -> Program:
        """Start a program on the host, in the node's mount namespace."""
        namespace = f"--mount=/proc/{self._mounts.pid}/ns/mnt"
        return self._host.start(["nsenter", namespace, "--", *arguments], log)

    def ctr(self, *arguments: str | Path) -> str:
        """Run containerd's own client for Kubernetes' containers."""
        return run("ctr", "--address", self.socket, "--namespace", "k8s.io", *arguments)

    def list_proxied(self, namespace: str, service: str) -> set[str]:
        """Return the endpoints' addresses to which kube-proxy sends a Service's calls.

        They are read from its rules, of which those for affinity are not understood.
        """
        if self._proxy_mode == "nftables":
            rules = self._host.run("nft", "list", "ruleset")
            chain = rf"chain service-\w+-{namespace}/{service}/\S+ {{\n(.*?)\n\t}}"
            chains = "".join(re.findall(chain, rules, re.DOTALL))
            return set(re.findall(r" : (\S+) \. \d+", chains))
        commands = ("iptables-save", "ip6tables-save")
        rules = "".join(self._host.run(command) for command in commands)
        name = rf'"?{namespace}/{service}(?::[\w-]+)?"?'
        endpoint = rf"--comment {name} .*--to-destination \[?([^] ]+?)\]?:\d+\n"
        return set(re.findall(endpoint, rules))

    def set_up_pod_network(self, networks: Sequence[str]) -> None:
        """Give pods addresses of these networks: with that the node becomes ready.

        What pods send out of the cluster has the node's address.
        """
        bridge = {
            "type": "bridge",
            "bridge": "cni0",
            "isGateway": True,
            "hairpinMode": True,
            "ipam": {
                "type": "host-local",
                "ranges": [[{"subnet": network}] for network in networks],
                "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}],
                "dataDir": str(self._directory / "addresses"),
            },
        }
        for command, cluster in zip(_IPTABLES, CLUSTER_NETWORKS, strict=True):
            rule = ("-s", cluster, "!", "-d", cluster, "-j", "MASQUERADE")
            self._host.run(command, "-w", "-t", "nat", "-A", "POSTROUTING", *rule)
        plugins = [bridge, {"type": "portmap", "capabilities": {"portMappings": True}}]
        configuration = {"cniVersion": "1.0.0", "name": "pods", "plugins": plugins}
        path = self._directory / "cni" / "10-pods.conflist"
        path.write_text(json.dumps(configuration))

    def reuse_addresses(self) -> None:
        """Let the next pod have the lowest address that is free, not the next one."""
        for last in (self._directory / "addresses").glob("*/last_reserved_ip.*"):
            last.unlink()

    def add_route(self, other: Node, networks: Sequence[str]) -> None:
        """Send what goes to the pods of another node to that node."""
        addresses = (other.host.address, other.host.address6)
        for network, address in zip(networks, addresses, strict=True):
            self.host.ip("route", "add", network, "via", address)

    def remove_routes(self, other: Node) -> None:
        """Send nothing to the pods of a node any more that is gone."""
        for address in (other.host.address, other.host.address6):
            version = "-6" if ":" in address else "-4"
            self.host.ip(version, "route", "flush", "via", address)

    def _set_up_kernel(self) -> None:
        settings = {
            "ipv4/ip_forward": "1",
            "ipv6/conf/all/forwarding": "1",
            "bridge/bridge-nf-call-iptables": "1",
            "bridge/bridge-nf-call-ip6tables": "1",
            "ipv6/conf/default/accept_dad": "0",
        }
        for name, value in settings.items():
            self._host.run("sh", "-c", f"echo {value} >/proc/sys/net/{name}")

    def _enter_mount_namespace(self) -> Program:
        """Start what holds the mount namespace, with directories of its own."""
        lines = ["set -e", "mount --make-rshared /"]
        for name in ("var/lib", "var/log", "run"):
            private = self._directory / name
            private.mkdir(parents=True)
            lines.append(f"mount --bind {shlex.quote(str(private))} /{name}")
        for name, value in _SYSCTLS.items():
            setting = self._directory / name.replace("/", "-")
            setting.write_text(f"{value}\n")
            lines.append(f"mount --bind {shlex.quote(str(setting))} /proc/sys/{name}")
        ready = self._directory / "mounted"
        lines += [f"touch {shlex.quote(str(ready))}", "exec sleep infinity"]
        unshare = ("unshare", "--mount", "--propagation", "slave")
        program = self._host.start(
            [*unshare, "sh", "-c", "\n".join(lines)], self._directory / "mounts.log"
        )
        program.wait_ready(ready.exists)
        return program

    def _start_containerd(self) -> Program:
        (self._directory / "cni").mkdir()
        configuration = self._directory / "containerd.toml"
        configuration.write_text(
            _CONTAINERD.format(directory=self._directory, pause=PAUSE_IMAGE)
        )
        program = self.start(
            ["containerd", "--config", configuration],
            self._directory / "containerd.log",
        )
        program.wait_ready(self._containerd_answers)
        return program

    def _containerd_answers(self) -> bool:
        try:
            self.ctr("version")
        except RuntimeError:
            return False
        return True

    def _import_images(self) -> None:
        for archive in write_images(self._directory):
            self.import_image(archive)

    def import_image(self, archive: Path) -> None:
        """Give the node an image, from an archive as of ``docker save``."""
        self.ctr("images", "import", archive)

    def _start_kubelet(self) -> Program:
        directory = self._directory
        resolver = directory / "resolv.conf"
        resolver.write_text("")
        configuration = {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "authentication": {
                "anonymous": {"enabled": False},
                "webhook": {"enabled": False},
                "x509": {"clientCAFile": str(self._api.authority.certificate)},
            },
            "authorization": {"mode": "AlwaysAllow"},
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": self.host.cgroup.path,
            "failCgroupV1": False,
            "failSwapOn": False,
            "containerRuntimeEndpoint": f"unix://{self.socket}",
            "resolvConf": str(resolver),
            "clusterDNS": [DNS_ADDRESS],
            "clusterDomain": "cluster.local",
            "oomScoreAdj": 0,
            "maxPods": 250,
            "podLogsDir": str(directory / "pod-logs"),
            "volumePluginDir": str(directory / "volume-plugins"),
            "evictionHard": {"memory.available": "10Mi", "nodefs.available": "0%"},
            "imageGCHighThresholdPercent": 100,
            "nodeStatusUpdateFrequency": "2s",
            "providerID": f"test:///zone-a/{self.name}",
            "registerWithTaints": [],
        }
        path = directory / "kubelet.json"
        path.write_text(json.dumps(configuration))
        labels = ",".join(f"{key}={value}" for key, value in self._labels.items())
        kubeconfig = self._api.write_inner_kubeconfig(
            f"kubelet-{self.name}", f"system:node:{self.name}", "system:nodes"
        )
        arguments: list[str | Path] = [
            kubernetes_program("kubelet"),
            *("--config", path, "--kubeconfig", kubeconfig),
            *("--hostname-override", self.name),
            *("--node-ip", f"{self.host.address},{self.host.address6}"),
            *("--node-labels", labels),
            *("--root-dir", directory / "kubelet"),
            *("--cert-dir", directory / "kubelet-certificates"),
        ]
        return self.start(arguments, directory / "kubelet.log")

    def _start_proxy(self) -> Program:
        kubeconfig = self._api.write_inner_kubeconfig(
            f"kube-proxy-{self.name}", "system:kube-proxy"
        )
        untouched = {"maxPerCore": 0, "min": 0}
        configuration = {
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "mode": self._proxy_mode,
            "clientConnection": {"kubeconfig": str(kubeconfig)},
            "hostnameOverride": self.name,
            "clusterCIDR": ",".join(CLUSTER_NETWORKS),
            "conntrack": untouched,
            "oomScoreAdj": 0,
            self._proxy_mode: {"minSyncPeriod": "100ms", "syncPeriod": "30s"},
        }
        path = self._directory / "kube-proxy.json"
        path.write_text(json.dumps(configuration))
        program = kubernetes_program("kube-proxy")
        return self.start(
            [program, "--config", path], self._directory / "kube-proxy.log"
        )
