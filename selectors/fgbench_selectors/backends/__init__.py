"""Implementations of v·A and log-sum-exp: ``left`` chooses among blocks of rows, torch's fused kernels and triton."""
