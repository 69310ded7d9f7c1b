"""Every ansatz: derivatives against torch.func and Taylor, growth that preserves the function, clear errors."""

import dataclasses
import io
import json

import numpy as np
import pytest
import skfem
import torch

from fem_ngf import (
    MLP,
    Ansatz,
    BoundaryLift,
    Bounded,
    FiniteElement,
    GradNetC,
    GradNetM,
    HilbertSpace,
    InputError,
    Linearization,
    PerField,
    ProductSpace,
    TorchModule,
    Transformed,
    prolongate,
)
from fem_ngf.ansatz.activations import ACTIVATIONS, value_alone, value_and_slope
from fem_ngf.ansatz.propagate import NetworkLinearization, blocks
from fem_ngf.ansatz.restore import ansatz_from_dict
from fem_ngf.spaces.locate import interpolation

RNG = np.random.default_rng


def _generic(net, seed=0):
    """Parameters at which no derivative vanishes."""
    generator = RNG(seed)
    return net.initial(generator) + 0.3 * generator.standard_normal(net.size)


def _lift(inner):
    return BoundaryLift(
        inner, factor=lambda x: x[:, 0] * (1 - x[:, 0]), offset=lambda x: np.sin(x[:, 1]),
    )


def _module():
    return torch.nn.Sequential(torch.nn.Linear(2, 6), torch.nn.Tanh(), torch.nn.Linear(6, 2))


def _p2_space(refinements=2):
    return HilbertSpace.l2(skfem.Basis(skfem.MeshTri().refined(refinements), skfem.ElementTriP2()))


def _vector_space():
    return HilbertSpace.l2(skfem.Basis(skfem.MeshTri().refined(2), skfem.ElementVector(skfem.ElementTriP2())))


DEEP = MLP((2, 5, 3, 4, 2), activation="gelu", box=((-1.0, 0.0), (2.0, 1.0)), start=(1.0, -2.0))
EVERY = {
    "mlp": MLP((2, 7, 6, 1), start=0.5),
    "one layer": MLP((2, 9, 1), activation="sine"),
    "linear": MLP((2, 1)),
    "deep, two outputs": DEEP,
    "module": TorchModule(_module()),
    "exp": Transformed(MLP((2, 5, 4, 1)), "exp"),
    "softplus, two outputs": Transformed(MLP((2, 5, 2)), "softplus"),
    "own function": Transformed(MLP((2, 5, 1)), np.tanh, lambda v: 1 - np.tanh(v) ** 2),
    "bounded, two outputs": Bounded(MLP((2, 5, 2), output_scale=2.0), -0.5, 1.0),
    "lift": _lift(MLP((2, 5, 4, 1))),
    "lift, two outputs": _lift(MLP((2, 5, 2))),
    "fields": PerField((MLP((2, 4, 1)), Transformed(MLP((2, 5, 2)), "exp"))),
    "one field": PerField((MLP((2, 4, 1)),)),
    "cascaded": GradNetC(monotone=True),
    "cascaded, deep": GradNetC(neurons=5, layers=4, activation="tanh"),
    "cascaded, 3-D": GradNetC(3, activation="softplus", monotone=True),
    "modular": GradNetM(),
    "modular, 1-D": GradNetM(1, (4,), "sigmoid", monotone=True),
    "modular, softmax": GradNetM(2, (5, 7), "softmax", monotone=True),
    "finite element": FiniteElement(_p2_space()),
    "vector element": FiniteElement(_vector_space()),
    "finite elements": FiniteElement(ProductSpace((_p2_space(), _vector_space()))),
}
LINEAR = (EVERY["linear"], *(each for each in EVERY.values() if isinstance(each, FiniteElement)))


@pytest.fixture(params=EVERY.values(), ids=EVERY.keys())
def ansatz(request):
    return request.param


@pytest.fixture
def x(request):
    dimension = request.getfixturevalue("ansatz").inputs if "ansatz" in request.fixturenames else 2
    return RNG(7).uniform(0.02, 0.98, (37, dimension))


# ---- derivatives of every ansatz ------------------------------------------------------------------------------------


def _remainders(value, linear, steps):
    return np.array([np.linalg.norm(value(h) - value(0.0) - h * linear) for h in steps])


def _rate(remainders, steps):
    return np.diff(np.log(remainders)) / np.diff(np.log(steps))


def test_jvp_taylor(ansatz, x):
    theta, direction = _generic(ansatz), RNG(1).standard_normal(ansatz.size)
    linear, steps = ansatz.linearize(theta, x).jvp(direction), np.array([1e-2, 5e-3, 2.5e-3]) / np.sqrt(ansatz.size)
    remainders = _remainders(lambda h: ansatz(theta + h * direction, x), linear, steps)
    if ansatz in LINEAR:
        assert remainders.max() < 1e-13 * np.linalg.norm(ansatz(theta, x))
    else:
        assert np.all(_rate(remainders, steps) > 1.95)


def test_operators_equal_the_jacobian(ansatz, x):
    theta, generator = _generic(ansatz), RNG(2)
    linear, value = ansatz.linearize(theta, x), ansatz(theta, x)
    assert value.shape == ((len(x),) if ansatz.outputs == 1 else (len(x), ansatz.outputs))
    jacobian, samples = linear.jacobian(), generator.standard_normal(value.shape)
    assert jacobian.shape == (*samples.shape, ansatz.size)
    direction, rows = generator.standard_normal(ansatz.size), jacobian.reshape(-1, ansatz.size)
    scale = np.abs(rows).max() * ansatz.size
    jvp, vjp = linear.jvp(direction), linear.vjp(samples)
    assert np.abs(jvp.ravel() - rows @ direction).max() < 1e-14 * scale
    assert np.abs(vjp - rows.T @ samples.ravel()).max() < 1e-14 * scale
    assert abs(np.sum(jvp * samples) - vjp @ direction) < 1e-12 * np.linalg.norm(jvp) * np.linalg.norm(samples)
    assert np.abs(linear.dual_gram() - rows @ rows.T).max() < 1e-13 * np.abs(rows @ rows.T).max()
    assert np.abs(linear.value - value).max() <= 1e-14 * np.abs(value).max()


def test_protocol_and_buffer(ansatz, x):
    theta = _generic(ansatz)
    linear = ansatz.linearize(theta, x)
    assert isinstance(ansatz, Ansatz) and isinstance(linear, Linearization)
    expected = linear.jacobian()
    for order in "CF":
        out = np.full(expected.shape, np.nan, order=order)
        assert linear.jacobian(out=out) is out
        assert np.array_equal(out, expected)
    with pytest.raises(InputError, match="out is"):
        linear.jacobian(out=np.empty((3, 3)))
    theta.flags.writeable = False
    assert np.isfinite(ansatz(theta, x)).all()  # read-only parameters are no obstacle


def test_bad_shapes_of_arguments(ansatz, x):
    theta = _generic(ansatz)
    for call in (
        lambda: ansatz(theta[:-1], x), lambda: ansatz(theta, np.column_stack([x, x])), lambda: ansatz(theta, x[0]),
        lambda: ansatz.linearize(np.append(theta, 0.0), x), lambda: ansatz.linearize(theta, x).jvp(theta[:-1]),
        lambda: ansatz.linearize(theta, x).vjp(np.zeros(len(x) + 1)),
    ):
        with pytest.raises(InputError, match=r"(theta|x|samples) has shape|components"):
            call()


# ---- the hand-written Jacobian --------------------------------------------------------------------------------------


def _reference(net, theta, x):
    """The same network written down once more in plain torch, for one point x (d,)."""
    lower, upper = (torch.tensor(corner, dtype=torch.float64) for corner in net.box)
    z = 2.0 * (x - lower) / (upper - lower) - 1.0
    sigma, place = value_and_slope(net.activation), 0

    def take(*shape):
        nonlocal place
        start, place = place, place + int(np.prod(shape))
        return theta[start:place].reshape(shape)

    for width in net.widths[1:-1]:
        z = sigma(take(width, len(z)) @ z + take(width))[0]
    return take(net.outputs, len(z)) @ z + take(net.outputs)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_value_and_jacobian_equal_torch_func(activation, x):
    for net in (MLP((2, 7, 6, 1), activation), dataclasses.replace(DEEP, activation=activation)):
        theta = _generic(net)
        linear = net.linearize(theta, x)

        def reference(t, p, net=net):
            return _reference(net, t, p)

        for function, found in ((reference, linear.value), (torch.func.jacrev(reference), linear.jacobian())):
            pointwise = torch.func.vmap(function, (None, 0))
            expected = pointwise(torch.from_numpy(theta), torch.from_numpy(x)).numpy().reshape(found.shape)
            assert np.abs(found - expected).max() < 1e-13 * max(1.0, np.abs(expected).max())


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_slopes(activation):
    a = torch.linspace(-3.0, 3.0, 14, dtype=torch.float64, requires_grad=True)  # avoids the kink at 0
    value, slope = value_and_slope(activation)(a)
    assert torch.equal(value_alone(activation)(a)[0], value)
    assert torch.allclose(torch.autograd.grad(value.sum(), a)[0], slope, rtol=0, atol=1e-14)


def test_many_blocks_equal_one_point_at_a_time():
    net, x = MLP((2, 6, 5, 1)), RNG(3).random((4500, 2))
    theta = _generic(net)
    rows = [0, 2047, 2048, 4095, 4096, 4499]
    many, few = (net.linearize(theta, points).jacobian() for points in (x, x[rows]))
    assert np.allclose(many[rows], few, rtol=0, atol=1e-14)
    assert np.allclose(net(theta, x)[rows], net(theta, x[rows]), rtol=0, atol=1e-14)
    assert len(net.linearize(theta, x).parts) == 3
    halves = net.linearize(theta, x[:300]), net.linearize(theta, x[300:400])
    both, whole = NetworkLinearization(halves[0].parts + halves[1].parts, net.size, 1), net.linearize(theta, x[:400])
    assert np.allclose(both.dual_gram(), whole.dual_gram(), rtol=1e-13)
    assert np.allclose(both.vjp(x[:400, 0]), whole.vjp(x[:400, 0]), rtol=0, atol=1e-11)
    assert np.allclose(both.jacobian(), whole.jacobian(), rtol=0, atol=1e-14)
    assert sum(block.stop - block.start for block in blocks(2500, 1024)) == 2500


def test_large_network_without_its_jacobian():
    """P = 50,000: one Jacobian of these points would take 800 MB, the operators a few."""
    net, x = MLP((2, 222, 222, 1)), RNG(4).random((2000, 2))
    theta, generator = _generic(net), RNG(5)
    linear, direction = net.linearize(theta, x), generator.standard_normal(net.size)
    samples = generator.standard_normal(len(x))
    jvp = linear.jvp(direction)
    assert net.size > 50_000
    assert abs(jvp @ samples - linear.vjp(samples) @ direction) < 1e-11 * np.linalg.norm(jvp) * np.linalg.norm(samples)
    assert np.allclose(jvp[:20], net.linearize(theta, x[:20]).jacobian() @ direction, rtol=1e-10)


# ---- start ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_start_is_exact(activation, x):
    net = MLP((2, 8, 8, 2), activation, start=(0.7, -1.3))
    assert np.array_equal(net(net.initial(RNG(0)), x), np.tile([0.7, -1.3], (len(x), 1)))


def test_every_neuron_starts_inside_the_box():
    net = MLP((2, 20, 20, 20, 1), box=((10.0, -1.0), (10.5, 3.0)))
    theta = net.initial(RNG(0))
    x = RNG(1).uniform((10.0, -1.0), (10.5, 3.0), (4000, 2))
    for index, layer in enumerate(net.maps[:-1]):
        z = net.layer_inputs(theta, x, index)
        a = z @ layer.matrix(theta).T + layer.bias(theta)
        assert np.all(np.abs((a > 0).mean(0) - 0.5) < 0.49)  # its transition lies in the box
        assert np.all(a.std(0) > 0.4 * net.scale) and np.all(a.std(0) < 2.5 * net.scale)


def test_initial_depends_on_the_generator_only():
    net = MLP((2, 8, 1), output_scale=1.0)
    assert np.array_equal(net.initial(RNG(3)), net.initial(RNG(3)))
    assert not np.array_equal(net.initial(RNG(3)), net.initial(RNG(4)))
    module, state = TorchModule(_module()), torch.get_rng_state()
    assert np.array_equal(module.initial(RNG(3)), module.initial(RNG(3)))
    assert torch.equal(state, torch.get_rng_state())


# ---- growth ---------------------------------------------------------------------------------------------------------

PLAIN = MLP((2, 6, 5, 4, 1))
GROWING = {"plain": PLAIN, "deep": DEEP, "positive": Transformed(PLAIN, "exp"), "lifted": _lift(PLAIN),
           "bounded": Bounded(PLAIN, -0.5, 1.0),
           "fields": PerField((MLP((2, 4, 1)), TorchModule(_module()), Transformed(MLP((2, 3, 5, 2)), "exp")))}


@pytest.mark.parametrize("layer", [0, 1, 2])
@pytest.mark.parametrize("net", GROWING.values(), ids=GROWING.keys())
def test_growth(net, layer, x):
    theta, generator, k = _generic(net), RNG(6), 3
    inputs = net.layer_inputs(theta, x, layer)
    weights, biases = generator.standard_normal((k, inputs.shape[1])), generator.standard_normal(k)
    grown, new_theta = net.widen(theta, layer, weights, biases)
    assert grown.size == len(new_theta) > net.size
    before = net(theta, x)
    assert np.abs(grown(new_theta, x) - before).max() <= 4e-15 * np.abs(before).max()
    assert np.abs(grown.layer_inputs(new_theta, x, layer) - inputs).max() < 1e-14

    places, jacobian = grown.outgoing(layer, slice(-k, None)), grown.linearize(new_theta, x).jacobian()
    candidates = net.candidate_samples(theta, x, layer, weights, biases)
    assert np.all(new_theta[places] == 0.0)
    columns = jacobian[..., places]
    assert np.abs(columns.reshape(candidates.shape) - candidates).max() < 1e-12 * np.abs(candidates).max()

    marker = np.arange(1.0, net.size + 1)  # a direction is carried along by growing it with zeros
    _, carried = net.widen(marker, layer, 0 * weights, 0 * biases)
    kept = np.flatnonzero(carried)
    assert np.array_equal(carried[kept][np.argsort(carried[kept])], marker)
    old = jacobian[..., kept[np.argsort(carried[kept])]]
    assert np.abs(old - net.linearize(theta, x).jacobian()).max() < 1e-13 * np.abs(old).max()


def test_candidates_of_the_last_layer_are_the_neurons(x):
    theta, generator = _generic(PLAIN), RNG(8)
    weights, biases = generator.standard_normal((6, 5)), generator.standard_normal(6)
    phi = PLAIN.candidate_samples(theta, x, 2, weights, biases)
    assert phi.shape == (len(x), 6, 1)
    assert np.allclose(phi[:, :, 0], np.sin(PLAIN.layer_inputs(theta, x, 2) @ weights.T + biases), rtol=0, atol=1e-14)


def test_a_bounded_field_is_itself_between_and_stays_between():
    ansatz = Bounded(MLP((2, 1)), -1.0, 3.0)
    values = np.array([-1e9, -4.0, 0.9, 1.0, 1.1, 1e9])
    field, slope = ansatz.value_and_slope(np.zeros((6, 2)), values)
    assert np.all((field >= -1.0) & (field <= 3.0)) and np.all(slope > 0)
    assert np.allclose(field[2:5], values[2:5], atol=1e-3) and field[0] == -1.0 and field[-1] == 3.0


def test_growth_rejects_misfits():
    theta = _generic(PLAIN)
    for arguments in ((3, np.ones((1, 4)), np.ones(1)), (-1, np.ones((1, 2)), np.ones(1)),
                      (0, np.ones((1, 3)), np.ones(1)), (0, np.ones((2, 2)), np.ones(1)), (1, np.ones(6), np.ones(1)),
                      (0, np.ones((0, 2)), np.ones(0))):
        with pytest.raises(InputError, match="layer"):
            PLAIN.widen(theta, *arguments)
        with pytest.raises(InputError, match="layer"):
            PLAIN.candidate_samples(theta, np.ones((1, 2)), *arguments)


# ---- finite elements ------------------------------------------------------------------------------------------------


def test_finite_element_is_its_space(x):
    space = _p2_space()
    ansatz = FiniteElement(space, start=0.3)
    assert np.array_equal(ansatz(ansatz.initial(), space.points), space.evaluate(np.full(space.size, 0.3)))
    theta = RNG(0).standard_normal(space.size)
    assert np.abs(ansatz.matrix(space.points) @ theta - ansatz(theta, space.points)).max() < 1e-13
    assert np.allclose(ansatz(theta, x), space.basis.interpolator(theta)(x.T), rtol=0, atol=1e-12)
    p0 = FiniteElement(HilbertSpace.l2(skfem.Basis(skfem.MeshTri().refined(2), skfem.ElementTriP0())), start=2.0)
    assert np.allclose(p0(p0.initial(), x), 2.0, rtol=0, atol=1e-14)


def test_prolongation_to_any_mesh():
    coarse = _p2_space(1)
    def quadratic(p):
        return 1 + p[0] - 2 * p[1] * p[0] + p[1] ** 2
    theta = quadratic(coarse.basis.doflocs)
    nested = _p2_space(3)
    quads = HilbertSpace.l2(skfem.Basis(skfem.MeshQuad().refined(3), skfem.ElementQuad1()))
    for fine in (nested, quads):
        assert np.abs(prolongate(theta, coarse, fine) - quadratic(fine.basis.doflocs)).max() < 1e-13
    beyond = skfem.MeshTri().refined(2).scaled(1.01)  # reaches 1 % outside the old mesh
    fine = HilbertSpace.l2(skfem.Basis(beyond, skfem.ElementTriP1()))
    error = prolongate(theta, coarse, fine) - quadratic(np.minimum(fine.basis.doflocs, 1.0))
    assert np.abs(error).max() < 1e-2 * 4  # at most its distance times the slope
    with pytest.raises(InputError, match="dimension"):
        prolongate(theta, coarse, HilbertSpace.l2(skfem.Basis(skfem.MeshLine().refined(2), skfem.ElementLineP1())))
    with pytest.raises(InputError, match="theta"):
        prolongate(theta[:-1], coarse, fine)


def test_prolongation_finds_points_in_stretched_and_curved_cells():
    flat = skfem.MeshTri.init_tensor(np.linspace(0, 1, 3), np.linspace(0, 1e-3, 60))
    quads = skfem.MeshQuad().refined(3)
    bent = skfem.MeshQuad(quads.p + 0.1 * np.sin(5 * quads.p[::-1]) * quads.p * (1 - quads.p), quads.t)
    tets = skfem.MeshTet().refined(2)
    for mesh, element in ((flat, skfem.ElementTriP1()), (bent, skfem.ElementQuad1()), (tets, skfem.ElementTetP1())):
        space = HilbertSpace.l2(skfem.Basis(mesh, element))
        theta = RNG(1).standard_normal(space.size)
        assert np.abs(interpolation(space.basis, space.points) @ theta - space.evaluate(theta)).max() < 1e-10


# ---- checkpoints ----------------------------------------------------------------------------------------------------


def test_round_trip_through_a_checkpoint(ansatz, x):
    data = ansatz.as_dict()
    assert json.loads(json.dumps(data)) == data  # numbers, strings, lists only
    file = io.BytesIO()
    torch.save(data, file)
    file.seek(0)
    restored = ansatz_from_dict(torch.load(file, weights_only=True), like=ansatz)
    theta = _generic(ansatz)
    assert np.array_equal(restored(theta, x), ansatz(theta, x))
    if isinstance(ansatz, MLP):
        assert ansatz_from_dict(data) == ansatz and hash(ansatz_from_dict(data)) == hash(ansatz)


def test_grown_network_is_restored_into_the_wrapper_of_the_case(x):
    case = _lift(MLP((2, 4, 1)))
    grown, theta = case.widen(_generic(case), 0, np.ones((2, 2)), np.ones(2))
    restored = ansatz_from_dict(grown.as_dict(), like=case)
    assert restored.inner.widths == (2, 6, 1)
    assert np.array_equal(restored(theta, x), grown(theta, x))


def test_bad_checkpoints():
    network, element = MLP().as_dict(), EVERY["finite element"]
    for data, like, message in (
        ({}, None, "kind"), ({"kind": "Tree"}, None, "kind='Tree'"), ({**network, "depth": 3}, None, "depth"),
        (network, element, "like is a"), (element.as_dict(), None, "like=None"),
        (element.as_dict(), FiniteElement(_p2_space(1)), "parameters"), ({**network, "widths": [2]}, None, "widths"),
        (Transformed(MLP(), "exp").as_dict(), Transformed(MLP(), "softplus"), "forward"),
    ):
        with pytest.raises(InputError, match=message):
            ansatz_from_dict(data, like)


# ---- bad fields -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("culprit", "make"), [
    ("widths", lambda: MLP((2,))),
    ("widths", lambda: MLP((2, 0, 1))),
    ("widths", lambda: MLP((2, 4.5, 1))),
    ("widths", lambda: MLP("abc")),
    ("activation", lambda: MLP(activation="swishy")),
    ("activation", lambda: MLP(activation=np.tanh)),
    ("box", lambda: MLP(box=((0.0,), (1.0,)))),
    ("box", lambda: MLP(box=((0.0, 1.0), (1.0, 1.0)))),
    ("box", lambda: MLP(box=3.0)),
    ("start", lambda: MLP(start=(1.0, 2.0))),
    ("start", lambda: MLP(start=np.nan)),
    ("scale", lambda: MLP(scale=0.0)),
    ("output_scale", lambda: MLP(output_scale=-1.0)),
    ("device", lambda: MLP(device="abacus")),
    ("device", lambda: MLP(device="mps")),
    ("lower", lambda: Bounded(MLP(), 1.0, 0.0)),
    ("upper", lambda: Bounded(MLP(), 0.0, np.inf)),
    ("forward", lambda: Transformed(MLP(), "log10")),
    ("derivative", lambda: Transformed(MLP(), np.exp)),
    ("module", lambda: TorchModule("net")),
    ("module", lambda: TorchModule(_module(), inputs=3)),
    ("inputs", lambda: TorchModule(torch.nn.Bilinear(2, 2, 1))),
    ("start", lambda: TorchModule(torch.nn.Linear(2, 1, bias=False), start=1.0)),
    ("factor", lambda: BoundaryLift(MLP(), lambda x: x)(np.zeros(105), np.ones((1, 2)))),
])
def test_bad_fields_name_the_culprit(culprit, make):
    with pytest.raises(InputError, match=culprit) as caught:
        make()
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_equals_cpu(x):
    for net in (EVERY["mlp"], DEEP):
        there, theta = dataclasses.replace(net, device="cuda"), _generic(net)
        far, near = there.linearize(theta, x), net.linearize(theta, x)
        assert np.allclose(far.jacobian(), near.jacobian(), rtol=1e-12, atol=1e-12)
        assert np.allclose(far.dual_gram(), near.dual_gram(), rtol=1e-12)
        assert np.allclose(far.vjp(near.value), near.vjp(near.value), rtol=1e-11)
