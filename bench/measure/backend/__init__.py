"""The edge to torch.distributed: NCCL on GPUs, gloo otherwise. Only worker processes import it."""
