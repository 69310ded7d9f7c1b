"""Bases on large meshes: the same tables as scikit-fem's, made when asked for, and nothing kept."""

import numpy as np
import pytest
import torch
from skfem import (
    Basis,
    ElementHex1,
    ElementTetP1,
    ElementTetP2,
    ElementTriP2,
    ElementTriRT0,
    ElementVector,
    MeshTri2,
)
from skfem.models.poisson import laplace, mass

from fem_ngf import InputError, Model, WeakForm, dot, grad, unit_cube, unit_square
from fem_ngf.bases import LeanBasis, first_function
from fem_ngf.spaces.matrices import components_of
from fem_ngf.spaces.sampling import active_dofs


@pytest.mark.parametrize("mesh, element", [
    (unit_square(3), ElementTriP2()), (unit_square(3), ElementVector(ElementTriP2())), (unit_cube(2), ElementTetP1()),
    (unit_cube(1), ElementTetP2()), (unit_cube(2, "hexahedron"), ElementHex1()),
    (MeshTri2.init_circle(1), ElementTriP2()), (unit_square(3), ElementTriRT0())])
@pytest.mark.parametrize("elements", [None, np.array([1, 4, 5])])
def test_tables_are_those_of_scikit_fem(mesh, element, elements):
    lean, plain = (kind(mesh, element, intorder=3, elements=elements) for kind in (LeanBasis, Basis))
    assert "basis" not in vars(lean)
    for (one,), (other,) in zip(lean.basis, plain.basis, strict=True):
        assert np.array_equal(one, other) and (one.grad is None) == (other.grad is None)
        assert one.grad is None or np.array_equal(one.grad, other.grad)
    for name in ("dx", "doflocs", "element_dofs", "nelems", "N"):
        assert np.array_equal(getattr(lean, name), getattr(plain, name), equal_nan=True)
    for name in ("global_coordinates", "mesh_parameters"):
        assert np.array_equal(getattr(lean, name)(), getattr(plain, name)())
    assert np.array_equal(active_dofs(lean), np.unique(plain.element_dofs))
    assert np.array_equal(first_function(lean)[0], np.asarray(plain.basis[0][0])[..., :1, :])
    if not isinstance(element, ElementTriRT0 | ElementVector):
        again = lean.with_element(element)
        assert isinstance(again, LeanBasis) and components_of(again) == 1
        for form in (laplace, mass):
            assert np.array_equal(form.assemble(again).toarray(), form.assemble(plain).toarray())


def test_constant_gradients_are_kept_once_a_cell():
    assert all(field.grad.strides[-1] == 0 for (field,) in LeanBasis(unit_cube(1), ElementTetP1(), intorder=3).basis)
    assert all(field.grad.strides[-1] != 0 for (field,) in LeanBasis(unit_cube(1), ElementTetP2(), intorder=3).basis)


def test_a_model_keeps_no_tables_and_its_mesh_nothing():
    mesh = unit_cube(2)
    held = set(vars(mesh))
    discrete = Model(lambda u, v, m, w: torch.exp(m) * dot(grad(u), grad(v)) - v, ElementTetP1(), ElementTetP1(),
                     dirichlet=0.0, intorder=3, linear=True).on(mesh)
    assert discrete.space.stiffness.shape == (27, 27) and discrete.solve(0.0 * mesh.p[0]).u.max() > 0
    assert set(vars(mesh)) == held
    assert not any("basis" in vars(each) for each in (discrete.state, discrete.parameter))
    plain = Basis(mesh, ElementTetP1(), intorder=3)
    form = WeakForm(lambda u, v, m, w: torch.exp(m) * dot(grad(u), grad(v)) - v, plain, discrete.parameter)
    u, m = (np.random.default_rng(i).standard_normal(plain.N) for i in range(2))
    assert np.array_equal(discrete.equation.form.tangent(u, m).data, form.tangent(u, m).data)
    with pytest.raises(InputError, match="other quadrature points"):
        WeakForm(lambda u, v, m, w: m * u * v, Basis(mesh, ElementTetP1(), intorder=2), discrete.parameter)
