"""NCCL as it reads its configuration and as it tells what it did: selectors, conf files, log."""
