"""Operations of Liger-Kernel whose kernels are autotuned."""

from __future__ import annotations

from benchmarks.adopt.operations import Call, Make, Operation

TOKENS, HIDDEN, INNER, EXPERTS, EACH = 256, 256, 512, 4, 2


def dynamic_tanh(make: Make) -> Call:
    """Dynamic tanh, with `reset_to_zero` in the backward kernel."""
    from liger_kernel.ops.dyt import LigerDyTFunction

    x, alpha, gamma, beta = make(TOKENS, 1024), make(1), make(1024), make(1024)
    return lambda: LigerDyTFunction.apply(x, alpha, gamma, beta)


def mixture_of_experts(make: Make) -> Call:
    """A fused mixture of experts: seven kernels."""
    import torch
    from liger_kernel.ops.fused_moe import LigerFusedMoEFunction

    x, up, down = make(TOKENS, HIDDEN), make(EXPERTS, 2 * INNER, HIDDEN), make(EXPERTS, HIDDEN, INNER)
    chosen = torch.arange(TOKENS * EACH, device=x.device, dtype=torch.int32).view(TOKENS, EACH) % EXPERTS
    weights = make(TOKENS, EACH)
    return lambda: LigerFusedMoEFunction.apply(x, up, down, chosen, weights)


def swiglu_mlp(make: Make) -> Call:
    """A perceptron with SwiGLU, whose configs have a `pre_hook` for tensor descriptors."""
    from liger_kernel.ops.mlp import LigerMLPFunction

    x, gate, up, down = make(2, TOKENS, HIDDEN), make(INNER, HIDDEN), make(INNER, HIDDEN), make(HIDDEN, INNER)
    return lambda: LigerMLPFunction.apply(x, gate, up, down)


OPERATIONS: dict[str, Operation] = {
    operation.__name__: operation for operation in (dynamic_tanh, mixture_of_experts, swiglu_mlp)
}
