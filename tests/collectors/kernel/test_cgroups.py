import os

import numpy as np
import pytest

from ebpf_net.collectors.kernel.cgroup_filter import CgroupFilter
from ebpf_net.collectors.kernel.cgroup_tree import CgroupTree
from ebpf_net.collectors.kernel.cgroups import CgroupTable
from ebpf_net.collectors.kernel.container_details import (
    ContainerDetails,
    ContainerQuestion,
)
from ebpf_net.errors import KernelError
from ebpf_net.schema import CGROUPS

ID = "3f1c0a2be5d74986" * 4
ASKED = ContainerQuestion(ID, "docker")


class Fixture:
    def __init__(self, root, include=(), exclude=()):
        self.root = root
        self.verdicts = {}
        self.asked = []
        self.table = CgroupTable(
            CgroupTree(root, proc=root / "no-proc"),
            CgroupFilter(include, exclude),
            set_verdict=self.verdicts.__setitem__,
            forget_verdict=lambda number: self.verdicts.pop(number, None),
            ask_details=self.asked.append,
        )

    def make(self, path):
        directory = self.root / path.lstrip("/")
        directory.mkdir(parents=True, exist_ok=True)
        return os.stat(directory).st_ino

    def excluded(self, *numbers):
        ids = np.array(numbers, np.uint64)
        return self.table.excluded(ids, np.zeros(ids.size, np.uint32)).tolist()

    def observe(self, *numbers):
        self.table.observe(numbers, [0] * len(numbers))

    def changes(self):
        table = self.table.take_changes()
        assert list(table) == [name for name, _ in CGROUPS]
        return dict(zip(table["path"], table["removed"].tolist(), strict=True))


@pytest.fixture
def make_table(tmp_path):
    return lambda **filters: Fixture(tmp_path, **filters)


def test_cgroups_that_rows_speak_of_become_rows_once(make_table):
    cgroups = make_table()
    nginx = cgroups.make("/system.slice/nginx.service")
    cgroups.make("/system.slice/other.service")
    cgroups.table.start()
    cgroups.observe(nginx)
    table = cgroups.table.take_changes()
    assert table["cgroup_id"].tolist() == [nginx]
    assert table["path"] == ["/system.slice/nginx.service"]
    assert table["service"] == ["nginx"]
    assert table["labels"] == ["{}"]
    cgroups.observe(nginx)
    assert cgroups.changes() == {}
    assert cgroups.table.snapshot()["cgroup_id"].tolist() == [nginx]


def test_a_cgroup_made_later_is_found(make_table):
    cgroups = make_table()
    cgroups.table.start()
    cgroups.observe(cgroups.make("/docker/late"))
    assert cgroups.changes() == {"/docker/late": False}


def test_an_unknown_number_has_no_row_and_is_looked_for_once(make_table):
    cgroups = make_table()
    cgroups.table.start()
    for _ in range(5):
        cgroups.observe(2**63 + 1, 0)
    assert cgroups.changes() == {}


def test_a_cgroup_that_is_gone_ends_when_no_edge_speaks_of_it(make_table):
    cgroups = make_table()
    number = cgroups.make("/a")
    cgroups.observe(number)
    cgroups.changes()
    (cgroups.root / "a").rmdir()
    cgroups.table.sweep({number})
    assert cgroups.changes() == {}
    cgroups.table.sweep(set())
    assert cgroups.changes() == {"/a": True}
    cgroups.table.sweep(set())
    assert cgroups.changes() == {}
    assert cgroups.table.snapshot()["path"] == []


def test_a_container_is_asked_for_and_its_row_changes_with_the_answer(make_table):
    cgroups = make_table()
    cgroups.observe(cgroups.make(f"/docker/{ID}"))
    assert cgroups.asked == [ASKED]
    assert cgroups.changes() == {f"/docker/{ID}": False}
    cgroups.table.add_details(
        ASKED, ContainerDetails("web", "nginx", "1.27", {"tier": "front"})
    )
    table = cgroups.table.take_changes()
    assert table["container_name"] == ["web"]
    assert table["image"] == ["nginx"]
    assert table["image_version"] == ["1.27"]
    assert table["labels"] == ['{"tier": "front"}']
    cgroups.observe(cgroups.make(f"/docker/{ID}/inner"))
    assert cgroups.table.take_changes()["container_name"] == ["web"]
    assert cgroups.asked == [ASKED]


def test_a_container_by_any_name_is_one_when_its_runtime_knows_it(make_table):
    cgroups = make_table()
    cgroups.observe(cgroups.make("/shop/web"), cgroups.make("/shop.slice"))
    question = ContainerQuestion("", path="/shop/web")
    assert cgroups.asked == [question]
    assert cgroups.table.take_changes()["container_id"] == ["", ""]
    cgroups.table.add_details(
        question, ContainerDetails("web", runtime="containerd", container_id="web")
    )
    table = cgroups.table.take_changes()
    assert (table["runtime"], table["container_id"]) == (["containerd"], ["web"])


def test_the_runtime_that_answers_is_the_containers_if_its_path_tells_none(make_table):
    cgroups = make_table()
    cgroups.observe(cgroups.make(f"/kubepods/pod{ID[:32]}/{ID}"))
    cgroups.table.add_details(
        ContainerQuestion(ID), ContainerDetails("app", runtime="containerd")
    )
    assert cgroups.table.take_changes()["runtime"] == ["containerd"]


def test_what_could_not_be_looked_for_in_time_is_looked_for_later(make_table):
    cgroups = make_table(exclude=["/a"])
    cgroups.table.start()
    cgroups.observe(2**62)  # uses up the window's walks
    cgroups.observe(2**62 + 1)
    cgroups.observe(2**62 + 2)
    late = cgroups.make("/a/late")
    cgroups.observe(late)
    assert cgroups.excluded(late) == [False]
    assert cgroups.changes() == {}
    cgroups.table.sweep({late})
    assert cgroups.changes() == {"/a/late": False}
    assert cgroups.excluded(late) == [True]


def test_answers_about_unknown_containers_are_ignored(make_table):
    cgroups = make_table()
    cgroups.table.add_details(ASKED, ContainerDetails("web"))
    assert cgroups.changes() == {}


def test_verdicts_about_all_known_cgroups_are_told_at_start(make_table):
    cgroups = make_table(exclude=["/a"])
    root, a, below, b = (cgroups.make(path) for path in ("/", "/a", "/a/x", "/b"))
    cgroups.table.start()
    assert cgroups.verdicts == {root: True, a: False, below: False, b: True}
    assert cgroups.excluded(a, b, below, a) == [True, False, True, True]


def test_the_kernel_shows_cgroups_that_may_be_wanted_below(make_table):
    cgroups = make_table(include=["/docker/web*"])
    root, docker, other = (cgroups.make(path) for path in ("/", "/docker", "/b"))
    cgroups.table.start()
    assert cgroups.verdicts == {root: True, docker: True, other: False}
    web = cgroups.make("/docker/web1")
    assert cgroups.excluded(root, docker, other, web) == [True, True, True, False]
    assert cgroups.verdicts[web] is True


def test_a_cgroup_made_later_is_judged_when_a_record_speaks_of_it(make_table):
    cgroups = make_table(exclude=["/a/*"])
    cgroups.table.start()
    late = cgroups.make("/a/late")
    assert cgroups.excluded(late) == [True]
    assert cgroups.verdicts[late] is False


def test_a_verdict_that_the_kernel_refuses_still_holds(make_table):
    cgroups = make_table(exclude=["/a"])

    def refuse(number, include):
        raise KernelError("map update: no space left")

    cgroups.table._set_verdict = refuse
    number = cgroups.make("/a")
    cgroups.table.start()
    assert cgroups.excluded(number) == [True]


def test_the_verdict_of_a_cgroup_that_is_gone_is_forgotten(make_table):
    cgroups = make_table(exclude=["/a"])
    number = cgroups.make("/a")
    cgroups.table.start()
    (cgroups.root / "a").rmdir()
    cgroups.table.sweep(set())
    assert number not in cgroups.verdicts


def test_a_verdict_ends_with_the_row_of_its_cgroup(make_table):
    cgroups = make_table(exclude=["/b"])
    numbers = [cgroups.make(f"/a/{name}") for name in range(600)]  # more than a sweep
    cgroups.table.start()
    last = max(numbers)
    cgroups.observe(last)
    (cgroups.root / "a" / str(numbers.index(last))).rmdir()
    cgroups.table.sweep(set())
    assert last not in cgroups.verdicts


def test_the_verdict_of_a_cgroup_that_lives_outlasts_its_path(make_table):
    cgroups = make_table(exclude=["/a"])
    number = cgroups.make("/a")
    assert cgroups.excluded(number) == [True]
    del cgroups.table._paths[number]  # as when there are too many
    cgroups.table.sweep(set())
    assert cgroups.verdicts == {number: False}
    assert cgroups.excluded(number) == [True]
