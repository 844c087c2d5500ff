"""Operations of flash-linear-attention, in the order in which the benchmark takes them until N kernels are called.

Each prepares its inputs with `make`, on small shapes, and returns a call. Imports stand in the functions: a process
imports only what it uses.
"""

from __future__ import annotations

from typing import Any

from benchmarks.adopt.operations import Call, Make, Operation

BATCH, TIME, HEADS, DIM = 1, 256, 2, 64


def l2norm(make: Make) -> Call:
    """Rows divided by their length: one kernel forward, one backward."""
    from fla.modules.l2norm import l2norm

    x = make(512, DIM)
    return lambda: l2norm(x)


def l2norm_forward(make: Make) -> Call:
    """The same without a gradient: one kernel."""
    from fla.modules.l2norm import l2norm

    x = make(512, DIM, grad=False)
    return lambda: l2norm(x)


def layer_norm(make: Make) -> Call:
    """Layer norm of short rows."""
    return _layer_norm(make, 256)


def layer_norm_rows(make: Make) -> Call:
    """Layer norm of long rows, which has kernels of its own."""
    return _layer_norm(make, 1024)


def _layer_norm(make: Make, size: int) -> Call:
    from fla.modules.layernorm import layer_norm

    x, weight, bias = make(512, size), make(size), make(size)
    return lambda: layer_norm(x, weight, bias)


def l2norm_rows(make: Make) -> Call:
    """L2 norm of long rows."""
    from fla.modules.l2norm import l2norm

    x = make(512, 1024)
    return lambda: l2norm(x)


def softmax(make: Make) -> Call:
    """Softmax, forward and backward without autograd."""
    from fla.ops.utils.softmax import softmax_bwd, softmax_fwd

    x, dy = make(512, 256, grad=False), make(512, 256, grad=False)

    def call() -> Any:
        y = softmax_fwd(x)
        return softmax_bwd(y, dy)

    return call


def retention(make: Make) -> Call:
    """Chunked retention."""
    from fla.ops.retention import chunk_retention

    q, k, v = _heads(make, 3)
    return lambda: chunk_retention(q, k, v)[0]


def recurrent_retention(make: Make) -> Call:
    """Recurrent retention."""
    from fla.ops.retention import fused_recurrent_retention

    q, k, v = _heads(make, 3)
    return lambda: fused_recurrent_retention(q, k, v)[0]


def gated_layer_norm(make: Make) -> Call:
    """Layer norm with a gate, of short rows."""
    return _gated_layer_norm(make, 256)


def gated_layer_norm_rows(make: Make) -> Call:
    """Layer norm with a gate, of long rows."""
    return _gated_layer_norm(make, 1024)


def _gated_layer_norm(make: Make, size: int) -> Call:
    from fla.modules.fused_norm_gate import layer_norm_gated

    x, gate, weight, bias = make(512, size), make(512, size), make(size), make(size)
    return lambda: layer_norm_gated(x, gate, weight, bias)


def rotary(make: Make) -> Call:
    """Rotary embedding."""
    from fla.modules.rotary import rotary_embedding

    x = make(BATCH, TIME, HEADS, DIM)
    cos, sin = (make(TIME, DIM // 2, grad=False) for _ in range(2))
    return lambda: rotary_embedding(x, cos, sin)


def token_shift(make: Make) -> Call:
    """Token shift."""
    from fla.modules.token_shift import token_shift

    x = make(BATCH, TIME, 256)
    return lambda: token_shift(x)


def convolution(make: Make) -> Call:
    """Short causal convolution."""
    from fla.modules.convolution import causal_conv1d

    x, weight = make(BATCH, TIME, 256), make(256, 4)
    return lambda: causal_conv1d(x, weight, activation="silu", backend="triton")[0]


def mean_pooling(make: Make) -> Call:
    """Means of chunks."""
    from fla.ops.utils.pooling import mean_pooling

    x = make(BATCH, TIME, HEADS, DIM)
    return lambda: mean_pooling(x, 32)


def swish(make: Make) -> Call:
    """Swish."""
    return _activation("swish", make)


def sigmoid(make: Make) -> Call:
    """Sigmoid."""
    return _activation("sigmoid", make)


def log_sigmoid(make: Make) -> Call:
    """Logarithm of the sigmoid."""
    return _activation("logsigmoid", make)


def swiglu(make: Make) -> Call:
    """Swish of one input times the other."""
    return _activation("swiglu", make, 2)


def sigmoid_glu(make: Make) -> Call:
    """Sigmoid of one input times the other."""
    return _activation("sigmoidglu", make, 2)


def power_glu(make: Make) -> Call:
    """A power of one input times the other."""
    return _activation("powglu", make, 2)


def _activation(name: str, make: Make, inputs: int = 1) -> Call:
    from fla.modules import activations

    function = getattr(activations, name)
    tensors = [make(512, 256) for _ in range(inputs)]
    return lambda: function(*tensors)


def chunked_hgrn(make: Make) -> Call:
    """HGRN by chunks."""
    from fla.ops.hgrn import chunk_hgrn

    x, gate = make(BATCH, TIME, 256), make.gate(BATCH, TIME, 256)
    return lambda: chunk_hgrn(x, gate)[0]


def recurrent_hgrn(make: Make) -> Call:
    """HGRN, recurrent."""
    from fla.ops.hgrn import fused_recurrent_hgrn

    x, gate = make(BATCH, TIME, 256), make.gate(BATCH, TIME, 256)
    return lambda: fused_recurrent_hgrn(x, gate)[0]


def gated_linear_attention(make: Make) -> Call:
    """Gated linear attention by chunks."""
    from fla.ops.gla import chunk_gla

    q, k, v = _heads(make, 3)
    gate = make.gate(BATCH, TIME, HEADS, DIM)
    return lambda: chunk_gla(q, k, v, gate)[0]


def parallel_gated_attention(make: Make) -> Call:
    """Simple gated linear attention, parallel."""
    from fla.ops.simple_gla import parallel_simple_gla

    q, k, v = _heads(make, 3)
    gate = make.gate(BATCH, TIME, HEADS)
    return lambda: parallel_simple_gla(q, k, v, gate)[0]


def gated_delta_rule(make: Make) -> Call:
    """Gated delta rule by chunks, forward: the package refuses its gradient on Hopper GPUs with Triton 3.4 to 3.7.0."""
    from fla.ops.gated_delta_rule import chunk_gated_delta_rule

    q, k, v = (heads.detach() for heads in _heads(make, 3))
    gate, beta = make.gate(BATCH, TIME, HEADS).detach(), make(BATCH, TIME, HEADS, grad=False)
    return lambda: chunk_gated_delta_rule(q, k, v, gate, beta.sigmoid(), use_qk_l2norm_in_kernel=True)[0]


def delta_rule(make: Make) -> Call:
    """Delta rule by chunks."""
    from fla.ops.delta_rule import chunk_delta_rule

    q, k, v = _heads(make, 3)
    beta = make(BATCH, TIME, HEADS)
    return lambda: chunk_delta_rule(q, k, v, beta.sigmoid(), use_qk_l2norm_in_kernel=True)[0]


def delta_attention(make: Make) -> Call:
    """Kimi delta attention by chunks."""
    from fla.ops.kda import chunk_kda

    q, k, v = _heads(make, 3)
    gate, beta = make.gate(BATCH, TIME, HEADS, DIM), make(BATCH, TIME, HEADS)
    return lambda: chunk_kda(q, k, v, gate, beta.sigmoid(), use_qk_l2norm_in_kernel=True)[0]


def rwkv6(make: Make) -> Call:
    """RWKV-6 by chunks."""
    from fla.ops.rwkv6 import chunk_rwkv6

    r, k, v = _heads(make, 3)
    decay, bonus = make.gate(BATCH, TIME, HEADS, DIM), make(HEADS, DIM)
    return lambda: chunk_rwkv6(r, k, v, decay, bonus)[0]


def _heads(make: Make, count: int) -> list[Any]:
    return [make(BATCH, TIME, HEADS, DIM) for _ in range(count)]


OPERATIONS: dict[str, Operation] = {
    operation.__name__: operation
    for operation in (
        l2norm_forward, retention, layer_norm, swish, l2norm, gated_delta_rule, delta_rule, gated_linear_attention,
        softmax, swiglu, token_shift, convolution, mean_pooling, delta_attention, rwkv6, chunked_hgrn, recurrent_hgrn,
        sigmoid, log_sigmoid, recurrent_retention, sigmoid_glu, layer_norm_rows, l2norm_rows, gated_layer_norm,
        gated_layer_norm_rows, parallel_gated_attention, power_glu, rotary,
    )
}  # fmt: skip
