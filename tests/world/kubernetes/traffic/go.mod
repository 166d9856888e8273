module ebpf-net.test/traffic

go 1.25
