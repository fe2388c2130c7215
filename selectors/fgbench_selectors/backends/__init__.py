"""Who computes what selectors ask of attention: choice in ``left``, by blocks, fused kernels, or a kernel of ours."""
