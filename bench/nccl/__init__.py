"""NCCL's rules: how it reads its configuration (selectors, variables, conf files) and what its log says."""
