"""A cluster of network namespaces on one machine: ``ci/lab/net --help``."""
