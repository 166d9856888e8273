from ebpf_net.schema import TABLES, references


def test_every_table_here_has_a_name():
    tables = {name.lower() for name in vars(references) if name.isupper()}
    assert tables == set(TABLES) - {"edges", "edge_samples"}
