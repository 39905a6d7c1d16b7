"""Formats that other programs read: nccl-tests tables, CSV, JUnit, Prometheus, Grafana, GitHub, webhooks."""
