"""Names of aten operators without a handler of their own: free, one operation per element, or a reduction."""

from __future__ import annotations

# They allocate memory and write nothing.
EMPTY = frozenset("empty empty_like empty_permuted empty_strided new_empty new_empty_strided".split())

# They return a view or a size: no memory is read or written.
UNTOUCHED = EMPTY | frozenset(
    """
    _conj _neg_view _reshape_alias _unsafe_view alias as_strided detach diagonal expand lift_fresh movedim
    narrow permute real imag select slice split split_with_sizes squeeze swapaxes t transpose unbind
    unflatten unfold unsafe_chunk unsafe_split unsafe_split_with_sizes unsqueeze view view_as view_as_complex
    view_as_real
    _assert_async _assert_scalar _has_same_storage_numel _local_scalar_dense is_same_size resize set
    sym_is_contiguous sym_numel sym_size sym_storage_offset sym_stride
    """.split()
)

# They do not read the values of their first argument: it is overwritten, or gives a shape.
OVERWRITING = frozenset(
    """
    bernoulli copy exponential fill normal random uniform zero
    full_like new_full new_ones new_zeros ones_like rand_like randint_like randn_like zeros_like
    """.split()
)

BAGS = frozenset(["_embedding_bag", "_embedding_bag_forward_only"])  # they read the rows that they look up
# They read as many bytes of their first argument as they return.
PICKING = frozenset("embedding gather index index_select take take_along_dim".split())

# Without arithmetic: views, copies, indexing, creation, random numbers.
ZERO_COST = (
    UNTOUCHED
    | OVERWRITING
    | PICKING
    | frozenset(
        """
    reshape _pack_padded_sequence _pad_packed_sequence _to_copy as_strided_scatter block_diag cat channel_shuffle
    clone constant_pad_nd contiguous diag_embed diagonal_scatter flip im2col max_unpool2d max_unpool3d
    native_channel_shuffle pixel_shuffle pixel_unshuffle reflection_pad1d reflection_pad2d reflection_pad3d repeat
    repeat_interleave replication_pad1d replication_pad2d replication_pad3d resolve_conj resolve_neg roll rot90
    select_scatter slice_scatter stack tril triu
    index_copy index_fill masked_scatter masked_select
    arange eye fill_diagonal full linspace logspace ones rand randint randn randperm scalar_tensor tril_indices
    triu_indices zeros
    """.split()
    )
)

# One operation per element of the result, for every function.
ELEMENTWISE = frozenset(
    """
    abs acos acosh add angle asin asinh atan atan2 atanh bitwise_and bitwise_left_shift bitwise_not bitwise_or
    bitwise_right_shift bitwise_xor __and__ __or__ __xor__ __lshift__ __rshift__ __iand__ __ior__ __ixor__ __ilshift__
    __irshift__ _conj_physical conj_physical ceil celu
    clamp clamp_max clamp_min clip complex copysign cos cosh deg2rad digamma div elu eq erf erfc erfinv exp exp2
    expm1 float_power floor floor_divide fmax fmin fmod frac ge gelu gt hardshrink hardsigmoid hardswish
    hardtanh heaviside hypot i0 isfinite isinf isnan isneginf isposinf ldexp le leaky_relu lgamma log log10 log1p log2
    log_sigmoid_forward logaddexp logaddexp2 logical_and logical_not logical_or logical_xor logit lt masked_fill
    gcd igamma igammac lcm maximum minimum mish mul nan_to_num ne neg nextafter polar positive pow prelu _prelu_kernel
    polygamma rad2deg reciprocal relu relu6 remainder round rrelu rsqrt rsub selu sgn sigmoid sign signbit silu sin
    sinc sinh softplus softshrink special_bessel_j0 special_bessel_j1 special_entr special_erfcx special_i0e special_i1
    special_i1e special_log_ndtr special_ndtri special_xlog1py special_zeta sqrt square sub tan tanh threshold
    true_divide trunc xlogy
    """.split()
)

# Operations per element of the argument that is reduced.
REDUCTIONS = {
    **dict.fromkeys(
        "all amax amin any argmax argmin bincount count_nonzero cummax cummin cumprod cumsum equal "
        "kthvalue mean median mode nanmedian nansum nonzero prod sum".split(),
        1,
    ),
    "aminmax": 2,
    "nanmean": 2,
    "linalg_vector_norm": 2,  # square, add
    "norm": 2,
    "logsumexp": 4,  # largest, subtract, exponential, sum
    "logcumsumexp": 4,
    "std": 4,  # mean, subtract, square, add
    "std_mean": 4,
    "var": 4,
    "var_mean": 4,
}
