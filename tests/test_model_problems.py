"""What the cases share: mesh sequences, synthetic and measured data."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from skfem import Basis, ElementTriP1, ElementTriP2

from fem_ngf import (
    HilbertSpace,
    InputError,
    Model,
    WholeField,
    bounding_box,
    check_positive,
    dot,
    field_data,
    grad,
    grid_points,
    halvings,
    noisy,
    point_data,
    rectangle,
    refinements,
    unit_cube,
    unit_square,
)

CONDUCTION = Model(lambda u, v, m, w: torch.exp(m) * dot(grad(u), grad(v)), ElementTriP1(), ElementTriP1(),
                   dirichlet={"left": 0.0, "right": 1.0}, linear=True, definite=True)


@pytest.mark.parametrize(("cells", "factor", "expected"), [
    (64, 2, (16, 32, 64)), (128, 2, (16, 32, 64, 128)), (20, 2, (20,)), (25, 2, (13, 25)), (2, 2, (2,)),
    (80, 4, (20, 80)),
])
def test_halvings(cells, factor, expected):
    meshes = halvings(unit_square, cells, factor=factor)
    assert list(meshes) == [f"{n} x {n}" for n in expected]
    assert [mesh.nelements for mesh in meshes.values()] == [2 * n**2 for n in expected]


def test_refinements():
    assert list(refinements(unit_cube(1), 1)) == ["6 cells", "48 cells"]
    with pytest.raises(InputError, match="refinements is -1"):
        refinements(unit_cube(1), -1)


def test_noise_has_its_level_and_seed():
    exact = np.outer(np.linspace(-2.0, 1.0, 5000), [1.0, 10.0])
    values, std = noisy(exact, 0.05, 3)
    assert std[0] == pytest.approx([0.1, 1.0])
    assert (values - exact).std(axis=0) == pytest.approx([0.1, 1.0], rel=0.05)
    np.testing.assert_array_equal(values, noisy(exact, 0.05, 3)[0])
    assert np.abs(values - noisy(exact, 0.05, 4)[0]).max() > 0.1


def test_exact_data_still_have_weights():
    exact = np.array([1.0, -4.0])
    values, std = noisy(exact, 0.0, 0)
    np.testing.assert_array_equal(values, exact)
    assert std == pytest.approx([0.004, 0.004])


def test_grid_points_and_bounding_box():
    points = grid_points((3, 1, 2), (0.0, 0.0, 1.0), (1.0, 1.0, 2.0))
    assert points.shape == (6, 3)
    assert set(points[:, 0]) == {0.0, 0.5, 1.0} and set(points[:, 1]) == {0.5} and set(points[:, 2]) == {1.0, 2.0}
    assert bounding_box(rectangle((2, 2), (-1.0, 0.0), (3.0, 0.5))) == ((-1.0, 0.0), (3.0, 0.5))


def test_whole_fields_measure_the_same_distance_on_every_mesh():
    """The misfit of a coarse function, on its own mesh against projected data, is its distance to the data."""
    coarse, fine = (Basis(unit_square(n), ElementTriP2(), intorder=4) for n in (4, 8))
    data = np.sin(5 * fine.doflocs[0]) * fine.doflocs[1]
    measured = WholeField(fine, data, scale=2.0)
    u = np.cos(coarse.doflocs[0])
    difference = coarse.interpolator(u)(fine.doflocs) - data
    distance = HilbertSpace.l2(fine).norm(difference) ** 2
    observation, projected, noise = measured.on(coarse)
    assert noise.value((observation(u) - projected)[:, None]) == pytest.approx(distance, rel=1e-10)
    observation, same, noise = measured.on(fine)
    assert noise.value((observation(difference + data) - same)[:, None]) == pytest.approx(distance, rel=1e-12)


def test_point_data_from_a_state_and_from_a_file(tmp_path):
    points, mesh = np.array([[0.3, 0.2], [0.9, 0.5]]), unit_square(4)
    found = point_data(None, points, np.zeros(25), CONDUCTION, mesh, noise=0.0, seed=0)
    assert found.values[:, 0] == pytest.approx([0.3, 0.9])
    file = tmp_path / "d.npz"
    np.savez(file, points=points, values=[1.0, 2.0])
    found = point_data(file, None, None, CONDUCTION, mesh, noise=0.01, seed=0)
    assert found.values.tolist() == [[1.0], [2.0]] and found.std == pytest.approx(np.full((2, 1), 0.02))
    with pytest.raises(InputError, match="1 experiments; this case has 2"):
        point_data(file, None, None, replace(CONDUCTION, neumann={"right": (0.0, 1.0)}), mesh, noise=0.01, seed=0)


def test_file_of_a_whole_field_or_of_sensors(tmp_path):
    basis = Basis(unit_square(4), ElementTriP2())
    values, edge, file = 1.0 + basis.doflocs[0], basis.get_dofs().all(), tmp_path / "d.npz"
    np.savez(file, points=basis.doflocs.T[::-1], values=values[::-1])
    found = field_data(file, basis, None, None, noise=0.1, seed=0, exact=edge)
    np.testing.assert_array_equal(found.values, values)
    assert (found.noise_std[edge] == 0.0).all() and found.noise_std.max() == pytest.approx(0.2)
    np.savez(file, points=basis.doflocs.T[3:], values=values[3:])
    with pytest.raises(InputError, match="no std.*not the 81 nodes"):
        field_data(file, basis, None, None, noise=0.1, seed=0)
    np.savez(file, points=basis.doflocs.T[3:], values=values[3:], std=0.5)
    assert field_data(file, basis, None, None, noise=0.1, seed=0).std.shape == (78,)


def test_check_positive_names_the_culprit():
    check_positive(alpha=1.0, beta=1e-300)
    with pytest.raises(InputError, match="beta is nan"):
        check_positive(alpha=1.0, beta=float("nan"))
