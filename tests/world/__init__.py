"""Real things for tests: hosts, servers, loads, receivers, and this system itself."""
