"""The Kubernetes collector: who is who in a cluster, from its API."""
