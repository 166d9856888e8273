import pytest
from hypothesis import given
from hypothesis import strategies as st

from ebpf_net.collectors.kernel.containers import (
    CgroupIdentity,
    identify_cgroup,
    may_be_container,
)

ID = "3f1c0a2be5d74986" * 4
OTHER = "9e8d7c6b5a493827" * 4
POD = "5b2c1d3e-4f50-6172-8394-a5b6c7d8e9f0"
POD_ = POD.replace("-", "_")
BESTEFFORT = (
    f"/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod{POD_}.slice"
)
BURSTABLE = (
    f"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{POD_}.slice"
)
KIND = "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-burstable.slice"
USER = "/user.slice/user-1000.slice/user@1000.service"
STATIC_POD = "0123456789abcdef0123456789abcdef"


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        # Docker, cgroupfs and systemd drivers
        (f"/docker/{ID}", ("docker", ID)),
        (f"/docker/{ID}/init", ("docker", ID)),
        (f"/system.slice/docker-{ID}.scope", ("docker", ID)),
        (f"{USER}/app.slice/docker-{ID}.scope", ("docker", ID)),
        (f"/custom-parent/{ID}", ("", ID)),
        (f"/custom.slice/docker-{ID}.scope", ("docker", ID)),
        (f"/ecs/0a1b2c3d4e5f60718293a4b5c6d7e8f9/{ID}", ("docker", ID)),
        (f"/ecs/{STATIC_POD}/{STATIC_POD}-2531612879",
         ("", f"{STATIC_POD}-2531612879")),
        (f"/ecstasks.slice/ecstasks-{STATIC_POD}.slice/docker-{ID}.scope",
         ("docker", ID)),
        # Docker in Docker: the innermost container
        (f"/docker/{OTHER}/docker/{ID}", ("docker", ID)),
        (f"/system.slice/docker-{OTHER}.scope/system.slice/docker-{ID}.scope",
         ("docker", ID)),
        # a service of systemd inside a container
        (f"/docker/{ID}/system.slice/nginx.service", ("docker", ID, "", "nginx")),
        # containerd without Kubernetes
        (f"/system.slice/nerdctl-{ID}.scope", ("containerd", ID)),
        (f"/default/{ID}", ("", ID)),
        # Kubernetes with containerd, systemd and cgroupfs drivers
        (f"{BESTEFFORT}/cri-containerd-{ID}.scope", ("containerd", ID, POD)),
        (f"/kubepods.slice/kubepods-pod{POD_}.slice/cri-containerd-{ID}.scope",
         ("containerd", ID, POD)),
        (f"/x.service/kubepods-burstable-pod{POD_}.slice:cri-containerd:{ID}",
         ("containerd", ID, POD)),
        (f"/kubepods/besteffort/pod{POD}/{ID}", ("", ID, POD)),
        (f"/kubepods/burstable/pod{POD}/{ID}", ("", ID, POD)),
        (f"/kubepods/pod{POD}/{ID}", ("", ID, POD)),
        (f"/kubepods/burstable/pod{STATIC_POD}/{ID}", ("", ID, STATIC_POD)),
        (f"/kubepods.slice/kubepods-pod{STATIC_POD}.slice/cri-containerd-{ID}.scope",
         ("containerd", ID, STATIC_POD)),
        (BESTEFFORT, ("", "", POD)),
        (f"/kubepods/besteffort/pod{POD}", ("", "", POD)),
        # Kubernetes with Docker
        (f"{BESTEFFORT}/docker-{ID}.scope", ("docker", ID, POD)),
        # kind: a node that is itself a Docker container
        (f"/docker/{OTHER}{KIND}/kubelet-kubepods-burstable-pod{POD_}.slice",
         ("docker", OTHER, POD)),
        (f"/docker/{OTHER}{KIND}/kubelet-pod{POD_}.slice/cri-containerd-{ID}.scope",
         ("containerd", ID, POD)),
        (f"/docker/{OTHER}/kubelet/kubepods/besteffort/pod{POD}/{ID}", ("", ID, POD)),
        # CRI-O; conmon is its monitor, not the container
        (f"{BURSTABLE}/crio-{ID}.scope", ("crio", ID, POD)),
        (f"{BURSTABLE}/crio-{ID}.scope/container", ("crio", ID, POD)),
        (f"{BURSTABLE}/crio-conmon-{ID}.scope", ("", "", POD)),
        (f"/kubepods/burstable/pod{POD}/crio-{ID}", ("crio", ID, POD)),
        (f"/kubepods/burstable/pod{POD}/crio-conmon-{ID}", ("", "", POD)),
        # podman: root and rootless, systemd and cgroupfs, quadlet, in a podman pod
        (f"/machine.slice/libpod-{ID}.scope", ("podman", ID)),
        (f"/machine.slice/libpod-{ID}.scope/container", ("podman", ID)),
        (f"/machine.slice/libpod-conmon-{ID}.scope", ("", "")),
        (f"/libpod_parent/libpod-{ID}", ("podman", ID)),
        (f"/libpod_parent/libpod-conmon-{ID}", ("", "")),
        (f"{USER}/user.slice/libpod-{ID}.scope/container", ("podman", ID)),
        (f"/system.slice/web.service/libpod-payload-{ID}", ("podman", ID)),
        (f"/machine.slice/machine-libpod_pod_{OTHER}.slice/libpod-{ID}.scope",
         ("podman", ID)),
        # systemd
        ("/system.slice/nginx.service", ("", "", "", "nginx")),
        ("/system.slice/system-getty.slice/getty@tty1.service",
         ("", "", "", "getty@tty1")),
        ("/system.slice/system-postgresql.slice/postgresql@15-main.service",
         ("", "", "", "postgresql@15-main")),
        (f"{USER}/app.slice/app-org.gnome.Terminal.slice/vte-spawn-0f1e.scope",
         ("", "", "", "user@1000")),
        (f"{USER}/app.slice/pipewire.service", ("", "", "", "pipewire")),
        ("/user.slice/user-1000.slice/session-2.scope", ("", "")),
        ("/machine.slice/systemd-nspawn@web.service/payload",
         ("", "", "", "systemd-nspawn@web")),
        ("/system.slice/k3s.service", ("", "", "", "k3s")),
        ("/system.slice", ("", "")),
        ("/init.scope", ("", "")),
        ("/", ("", "")),
        ("", ("", "")),
        # nearly
        (f"/docker/{ID}0", ("", "")),
        (f"/docker/{ID[:-1]}", ("", "")),
        (f"/docker/{ID.upper()}", ("", "")),
        ("/.service", ("", "")),
        (f"/podx{POD}", ("", "")),
    ],
)  # fmt: skip
def test_what_lives_in_a_cgroup(path, expected):
    assert identify_cgroup(path) == CgroupIdentity(*expected)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/default/web", True),
        ("/web.1_a-b", True),
        ("/", False),
        ("", False),
        (f"/docker/{ID}", False),  # it is one
        (f"/kubepods/besteffort/pod{POD}", False),
        ("/system.slice/nginx.service", False),
        ("/system.slice/nginx.service/worker", False),
        ("/user.slice", False),
        ("/init.scope", False),
        ("/default/web 1", False),
        ("/default/-web", False),
        (f"/default/{'w' * 77}", False),
    ],
)
def test_what_may_be_a_container_by_another_name(path, expected):
    assert may_be_container(path) == expected


SEGMENTS = st.sampled_from(
    [
        "docker",
        ID,
        f"docker-{ID}.scope",
        f"crio-{ID}",
        f"pod{POD}",
        "x.service",
        "",
        ":",
    ]
)


@given(st.one_of(st.text(), st.lists(SEGMENTS).map("/".join)))
def test_any_path_has_an_answer(path):
    identity = identify_cgroup(path)
    assert identity.container_id in path
    assert not (identity.runtime and not identity.container_id)
