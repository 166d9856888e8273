from ebpf_net.reducer.cloud_tables import clouds_of, instance_keys
from ebpf_net.reducer.reference import Change, References
from ebpf_net.testing.clouds import CloudAccount, instance_address_row
from ebpf_net.testing.tables import make_table


def told(*accounts, **more):
    references = References()
    changes = [
        Change(
            source,
            {name: make_table(name, rows) for name, rows in tables.items()},
            snapshot=False,
        )
        for source, tables in enumerate([*(one.tables for one in accounts), more])
    ]
    references.apply(changes, 0)
    return clouds_of(references.tables)


def test_nothing_told_is_no_cloud():
    clouds = told()
    assert not clouds
    assert clouds["networks"].num_rows == len(clouds.owner) == 0


def test_networks_are_those_of_all_tables():
    account = CloudAccount()
    account.add("eni-1", "vpc-b", ["10.0.0.1"], ["198.51.100.1"])
    own = [
        instance_address_row("10.0.0.9", "vpc-a"),
        instance_address_row("10.0.0.8", ""),
    ]
    clouds = told(account, cloud_instance_addresses=own)
    assert clouds["networks"]["name"].to_pylist() == ["vpc-a", "vpc-b"]
    assert clouds.network_of["addresses"].tolist() == [1, -1]
    assert sorted(clouds.network_of["instance_addresses"].tolist()) == [-1, 0]
    assert clouds.owner.tolist() == [0, 0]


def test_who_named_an_account_last_counts_and_the_former_fills_gaps():
    former, later = CloudAccount(), CloudAccount()
    former.add("eni-1", "vpc", ["10.0.0.1"], name="old")
    former.add("eni-2", "vpc", ["10.0.0.2"], name="gone")
    later.add("eni-1", "vpc", ["10.0.0.1"], name="new")
    clouds = told(former, later)
    names = clouds["interfaces"]["name"].to_pylist()
    assert sorted(names) == ["gone", "new"]
    assert [names[row] for row in clouds.owner.tolist()].count("new") == 1
    assert len(clouds.owner) == 2


def test_instances_are_known_by_provider_and_id():
    account = CloudAccount(provider="gcp")
    account.add("nic0", "net", instance_id="17")
    account.add("nic1", "net")
    keys = instance_keys(told(account)["interfaces"])
    assert sorted(keys.to_pylist()) == ["", "gcp/17"]
