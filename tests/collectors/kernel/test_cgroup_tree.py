import os

import pytest

from ebpf_net.collectors.kernel.cgroup_tree import CgroupTree, find_cgroup_root
from ebpf_net.errors import EnvironmentFault


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "sys/fs/cgroup/unified"
    (root / "a/b").mkdir(parents=True)
    (root / "c").mkdir()
    (root / "cgroup.controllers").touch()
    return root


def number(path):
    return os.stat(path).st_ino


def test_the_root_is_looked_for_below_the_host_directory(tmp_path, root):
    assert find_cgroup_root(tmp_path) == root
    (root.parent / "cgroup.controllers").touch()
    assert find_cgroup_root(tmp_path) == root.parent


def test_a_host_without_cgroup_v2_is_told_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "ebpf_net.collectors.kernel.cgroup_tree._MOUNTS", ("no/such/place",)
    )
    with pytest.raises(EnvironmentFault, match="cgroup v2 is not mounted"):
        find_cgroup_root(tmp_path)


def test_a_walk_finds_every_cgroup(root):
    assert dict(CgroupTree(root).walk()) == {
        number(root): "/",
        number(root / "a"): "/a",
        number(root / "a/b"): "/a/b",
        number(root / "c"): "/c",
    }


def test_a_walk_is_bounded(root):
    assert len(list(CgroupTree(root, max_directories=1).walk())) <= 3


def test_a_process_says_where_it_lives(root, tmp_path):
    (tmp_path / "proc/42").mkdir(parents=True)
    (tmp_path / "proc/42/cgroup").write_text("1:cpu:/x\n0::/a/b\n")
    tree = CgroupTree(root, proc=tmp_path / "proc")
    assert tree.path_of_process(42, number(root / "a/b")) == "/a/b"
    assert tree.path_of_process(42, number(root / "c")) is None
    assert tree.path_of_process(43, number(root / "a/b")) is None


def test_a_cgroup_that_is_gone_has_no_number(root):
    tree = CgroupTree(root)
    assert tree.number("/a") == number(root / "a")
    assert tree.number("/gone") is None
    assert tree.number("/\0") is None
