import pytest
from hypothesis import given
from hypothesis import strategies as st

from ebpf_net.collectors.kernel.cgroup_filter import CgroupFilter


@pytest.mark.parametrize(
    ("include", "exclude", "path", "admitted"),
    [
        ([], [], "/a", True),
        ([], [], None, True),
        (["/a"], [], "/a", True),
        (["/a"], [], "/a/b/c", True),
        (["/a"], [], "/ab", False),
        (["/a"], [], "/", False),
        (["/a"], [], None, False),
        (["/a/"], [], "/a/b", True),
        (["a"], [], "/a/b", True),
        (["/a/*/c"], [], "/a/b/c/d", True),
        (["*.service"], [], "/system.slice/nginx.service", True),
        (["/"], [], "/a", True),
        (["/docker/[0-9a]*"], [], "/docker/9f", True),
        ([], ["/a"], "/a/b", False),
        ([], ["/a"], "/b", True),
        ([], ["/a"], None, True),
        (["/a"], ["/a/b"], "/a/b/c", False),
        (["/a"], ["/a/b"], "/a/c", True),
        (["/a/b"], ["/a"], "/a/b", False),
    ],
)
def test_a_pattern_matches_a_cgroup_and_all_below(include, exclude, path, admitted):
    assert CgroupFilter(include, exclude).admits(path) is admitted


@pytest.mark.parametrize(
    ("include", "exclude", "path", "possible"),
    [
        ([], ["/a/b"], "/a", True),
        ([], ["/a"], "/a", False),
        (["/docker/*"], [], "/", True),
        (["/docker/*"], [], "/docker", True),
        (["/docker/*"], [], "/docker/x", True),
        (["/docker/*"], [], "/dock", False),
        (["/docker/*"], [], "/system.slice", False),
        (["*web*"], [], "/system.slice", True),
        (["/a/b"], [], "/a", True),
        (["/a/b"], ["/a"], "/a", False),
        (["/a"], [], None, False),
    ],
)
def test_cgroups_below_may_be_wanted(include, exclude, path, possible):
    assert CgroupFilter(include, exclude).may_admit_below(path) is possible


PATHS = st.lists(st.sampled_from("abc"), max_size=4).map(lambda p: "/" + "/".join(p))
PATTERNS = st.lists(st.text("abc/*?[]", max_size=6), max_size=2)


@given(PATTERNS, PATTERNS, PATHS, PATHS)
def test_what_is_admitted_below_was_thought_possible(include, exclude, path, rest):
    cgroup_filter = CgroupFilter(include, exclude)
    below = path.rstrip("/") + rest
    if rest != "/" and cgroup_filter.admits(below):
        assert cgroup_filter.may_admit_below(path) or cgroup_filter.admits(path)
