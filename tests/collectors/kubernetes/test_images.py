import pytest

from ebpf_net.collectors.kubernetes.images import split_image


@pytest.mark.parametrize(
    ("reference", "name", "version"),
    [
        ("nginx", "nginx", "latest"),
        ("nginx:1.25", "nginx", "1.25"),
        ("registry:5000/web", "registry:5000/web", "latest"),
        ("registry:5000/web:v2", "registry:5000/web", "v2"),
        ("web:v2@sha256:abc", "web", "v2"),
        ("web@sha256:abc", "web", "sha256:abc"),
        ("", "", ""),
    ],
)
def test_a_reference_is_a_name_and_a_version(reference, name, version):
    assert split_image(reference) == (name, version)
