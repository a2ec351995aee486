import pytest
import torch
from torch import nn

from xgen.model.joint import joint, one_product


def maps(bias):
    torch.manual_seed(0)
    return nn.ModuleList(nn.Linear(32, width, bias=bias) for width in (48, 16, 16))


def gradients(form, x, module):
    outs = form(x)
    total = sum((out * (index + 1)).tanh().sum() for index, out in enumerate(outs))
    return [*outs, *torch.autograd.grad(total, (x, *module.parameters()))]


@pytest.mark.filterwarnings("ignore:.*should not be instantiated")  # torch's own, when it compiles one
@pytest.mark.parametrize("alone", [False, True])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("compiled", [False, True])
def test_law_joint_maps_equal_each_alone(bias, alone, compiled):
    module, x = maps(bias), torch.randn(2, 5, 32, requires_grad=True)
    expected = gradients(lambda x: [one(x) for one in module], x, module)

    def form(x):
        return one_product(x, list(module), alone)

    if compiled:
        form = torch.compile(form, fullgraph=True, backend="aot_eager")
    for ours, theirs in zip(gradients(form, x, module), expected, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")
def test_on_a_gpu_maps_that_do_more_are_left_to_themselves():
    class Twice(nn.Linear):
        def forward(self, x):
            return super().forward(x) * 2

    module, x = nn.ModuleList([nn.Linear(8, 8), Twice(8, 8)]).cuda(), torch.randn(3, 8).cuda()
    assert torch.equal(joint(x, *module)[1], module[1](x))
