from ebpf_net.settings import OBSOLETE, SETTINGS


def test_no_obsolete_flag_is_also_a_setting():
    assert not {row.flag for row in SETTINGS} & set(OBSOLETE)


def test_each_replacement_that_is_a_flag_exists():
    flags = {row.flag for row in SETTINGS}
    for replacement in OBSOLETE.values():
        first = replacement.split()[0].rstrip(",")
        assert not first.startswith("--") or first in flags
