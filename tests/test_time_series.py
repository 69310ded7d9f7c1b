"""Measurements over time: their files, and what an evolution is compared with."""

from dataclasses import replace

import numpy as np
import pytest
from skfem import Basis, ElementTriP1
from test_measurements import csv, npz

from fem_ngf import (
    Evolution,
    InputError,
    Measurements,
    Model,
    Tikhonov,
    TimeSeries,
    at_times,
    boundary_trace,
    dot,
    grad,
    levels,
    read_time_series,
    subdomain_averages,
    time_data,
    time_weights,
    unit_square,
    whole_field,
)

POINTS = np.array([[0.5, 0.6], [0.1, 0.2], [0.3, 0.4]])
TIMES = np.array([0.0, 0.5])
VALUES = np.array([[1.0, -2.0, 3.5], [4.0, 5.0, -6.0]])


def rows(*, std=False, order=(0, 1, 2, 3, 4, 5)):
    """A line for each pair of a time and a point, and the same in another order."""
    pairs = [f"{x},{y},{t},{v}{',.5' if std else ''}" for t, line in zip(TIMES, VALUES, strict=True)
             for (x, y), v in zip(POINTS, line, strict=True)]
    return "\n".join(pairs[i] for i in order) + "\n"


@pytest.mark.parametrize("std", [None, 0.5, [0.5, 0.5, 0.5], 0.5 * np.ones((2, 3))])
def test_npz(tmp_path, std):
    extra = {} if std is None else {"std": std}
    series = read_time_series(npz(tmp_path, points=POINTS, times=TIMES, values=VALUES, **extra), dimension=2)
    assert np.array_equal(series.points, POINTS) and np.array_equal(series.times, TIMES)
    assert np.array_equal(series.values, VALUES)
    assert series.std is None if std is None else np.array_equal(series.std, 0.5 * np.ones((2, 3)))


def test_npz_of_several_experiments(tmp_path):
    values = np.stack([VALUES, -VALUES], axis=2)
    series = read_time_series(npz(tmp_path, points=POINTS, times=TIMES, values=values, std=values**2))
    assert np.array_equal(series.values, values) and np.array_equal(series.std, values**2)


@pytest.mark.parametrize("header", ["", "x,y,t,value{}\n"])
@pytest.mark.parametrize("std", [False, True])
def test_csv_in_any_order(tmp_path, header, std):
    """Points keep the order of their first rows, times are sorted."""
    for order, points in (((0, 1, 2, 3, 4, 5), [0, 1, 2]), ((5, 3, 1, 0, 4, 2), [2, 0, 1])):
        text = header.format(",std" if std else "") + rows(std=std, order=order)
        series = read_time_series(csv(tmp_path, text), dimension=2)
        assert np.array_equal(series.points, POINTS[points]) and np.array_equal(series.times, TIMES)
        assert np.array_equal(series.values, VALUES[:, points])
        assert np.array_equal(series.std, 0.5 * np.ones((2, 3))) if std else series.std is None


def test_csv_of_other_dimensions(tmp_path):
    assert read_time_series(csv(tmp_path, "0.1,0,1\n0.1,1,2\n0.1,2,3\n")).values.tolist() == [[1], [2], [3]]
    series = read_time_series(csv(tmp_path, "t,value,z,y,x\n0,1,0,0,1\n0,2,0,1,1\n"))
    assert series.points.tolist() == [[1, 0, 0], [1, 1, 0]] and series.values.tolist() == [[1, 2]]


BAD_ARRAYS = [
    ({"times": TIMES[::-1]}, r"times must increase; entry 1 is 0 after 0.5"),
    ({"times": [0.5, 0.5]}, "times must increase"),
    ({"times": [0.0, np.nan]}, "times has 1 entries that are not finite"),
    ({"times": np.zeros(0)}, r"times has shape \(0,\)"),
    ({"values": VALUES.T}, r"values has shape \(3, 2\) for 2 times and 3 points; it needs \(2, 3\)"),
    ({"values": np.where(VALUES > 3.9, np.nan, VALUES)}, "values has 2 entries that .* first at t = 0.5"),
    ({"points": POINTS[:, :1]}, "points have 1 coordinates; the problem has 2"),
    ({"points": POINTS[[0, 0, 1]]}, "1 points are duplicates"),
    ({"std": 0.0}, "std has 6 values that are not positive"),
    ({"std": np.ones(2)}, r"std has shape \(2,\); it needs that of values, \(2, 3\)"),
]


@pytest.mark.parametrize(("arrays", "message"), BAD_ARRAYS)
def test_bad_arrays(tmp_path, arrays, message):
    whole = {"points": POINTS, "times": TIMES, "values": VALUES} | arrays
    with pytest.raises(InputError, match=message):
        read_time_series(npz(tmp_path, **whole), dimension=2)


def test_missing_arrays(tmp_path):
    with pytest.raises(InputError, match="lacks times; it has points, values"):
        read_time_series(npz(tmp_path, points=POINTS, values=VALUES))


@pytest.mark.parametrize(("text", "message"), [
    (rows(order=(0, 1, 2, 3, 4)), r"the point \[0.3, 0.4\] lacks a value at t = 0.5 \(one of 1 such pairs\)"),
    (rows(order=(0, 0, 1, 2, 3, 4, 5)), r"the point \[0.5, 0.6\] has several values at t = 0"),
    (rows().replace("-2.0", "nan"), r"values has 1 entries .*, the first at t = 0 of the point \[0.1, 0.2\]"),
    (rows().replace("0.1,", "inf,"), "a point or a time is not finite"),
    ("x,y,value\n0,0,1\n", "lacks column t; it has x, y, value"),
    ("1,2,3,4,5\n", "has five columns and no header.*x,y,z,t,value or x,y,t,value,std"),
    ("1,2\n", r"has 2 columns; it needs x, y\[, z\], t, value\[, std\]"),
    ("x,y,t,value\n0,0,now,1\n", "line 2: '0,0,now,1' is not 4 numbers"),
])
def test_bad_tables(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        read_time_series(csv(tmp_path, text))


def test_other_files(tmp_path):
    with pytest.raises(InputError, match="suffix '.txt'; give .npz or .csv"):
        (tmp_path / "data.txt").write_text("1")
        read_time_series(tmp_path / "data.txt")
    with pytest.raises(InputError, match="does not exist"):
        read_time_series(tmp_path / "none.csv")


# ---- what an evolution is compared with -----------------------------------------------------------------------------


def test_observations_of_a_trajectory():
    """Linear functions of space and time are observed exactly, at any point and time, in blocks too."""
    basis, times = Basis(unit_square(3), ElementTriP1()), np.array([0.0, 0.1, 0.5, 1.0])
    film = np.stack([(1.0 + basis.doflocs[0] - 2.0 * basis.doflocs[1]) * (1.0 + t) for t in times])
    series = TimeSeries(POINTS, np.array([0.05, 0.5, 0.7]), np.ones((3, 3)), np.full((3, 3), 0.5))
    observation, values, noise = series.on(basis, times)
    expected = (1.0 + POINTS[:, 0] - 2.0 * POINTS[:, 1]) * (1.0 + series.times[:, None])
    assert np.allclose(observation(film.reshape(-1, 1))[:, 0], expected.ravel())
    assert np.allclose(observation(np.stack(2 * [film.reshape(-1, 1)], axis=2))[:, 0, 1], expected.ravel())
    assert np.array_equal(observation.points[3:6], POINTS)
    assert noise.value(observation(film.reshape(-1, 1)) - values) == pytest.approx(2.0 * np.sum((expected - 1.0) ** 2))
    r, u = np.random.default_rng(0).standard_normal(9), np.random.default_rng(1).standard_normal(film.size)
    assert r @ observation(u) == pytest.approx(u @ observation.transpose(r))


@pytest.mark.parametrize(("series", "message"), [
    (TimeSeries(POINTS, TIMES, VALUES), "the time series has no std"),
    (TimeSeries(POINTS, TIMES + 0.6, VALUES, VALUES**2), "1 of 2 observations lie outside .*, e.g. t = 1.1; these run"),
    (TimeSeries(POINTS + 0.5, TIMES, VALUES, VALUES**2), "points: 1 of 3 lie outside the mesh"),
])
def test_series_that_do_not_fit_the_evolution(series, message):
    with pytest.raises(InputError, match=message):
        series.on(Basis(unit_square(3), ElementTriP1()), np.linspace(0.0, 1.0, 5))


@pytest.mark.parametrize(("change", "message"), [
    ({"values": VALUES[:1]}, r"values has shape \(1, 3\), points \(3, 2\) and times \(2,\)"),
    ({"times": TIMES[::-1]}, "times must increase"), ({"std": np.ones(3)}, r"std has shape \(3,\); give a number"),
    ({"points": "here"}, "points holds str"),
])
def test_a_series_is_checked_where_it_is_made(change, message):
    given = {"points": POINTS.tolist(), "times": TIMES.tolist(), "values": VALUES.tolist(), "std": 0.5}
    observation, values, _ = TimeSeries(**given).on(Basis(unit_square(2), ElementTriP1()), np.linspace(0.0, 1.0, 3))
    assert observation.shape == (6, 27) and np.array_equal(values[:, 0], VALUES.ravel())
    with pytest.raises(InputError, match=message):
        TimeSeries(**given | change)


@pytest.mark.parametrize("observed", [
    lambda basis: subdomain_averages(basis, ["left half"]), lambda basis: boundary_trace(basis, "top"), whole_field])
def test_whatever_sees_a_state_sees_it_at_any_time(observed):
    """Averages, traces and whole fields of a film that is linear in time."""
    mesh = unit_square(3).with_subdomains({"left half": lambda x: x[0] < 0.5})
    basis, times, when = Basis(mesh, ElementTriP1()), np.array([0.0, 0.1, 0.5, 1.0]), np.array([0.0, 0.3, 0.9])
    u, v = np.random.default_rng(0).standard_normal((2, basis.N))
    film = u + times[:, None] * v
    seen, one = at_times(observed(basis), times, when), observed(basis)
    assert np.allclose(seen(film.ravel()).reshape(3, -1), [one(u + t * v) for t in when])
    assert len(seen.points) == seen.shape[0] if one.points is not None else seen.points is None


@pytest.mark.parametrize(("change", "message"), [
    ({"initial": np.zeros(3)}, r"initial has shape \(3,\); give a number, \(9,\)"),
    ({"initial": "hot"}, "initial holds"), ({"initial": np.nan}, "initial has entries that are not finite"),
    ({"times": [0.0, 1.0, 0.5]}, "times must increase; entry 2 is 0.5 after 1"), ({"mass": None}, "mass is None"),
    ({"times": [0.0, -1.0]}, "times must increase; entry 1 is -1 after 0"),
    ({"times": [0.0, 0.1, 1.0], "method": "bdf2"}, "step 2 is 9 times as long as the one before; BDF2 is unstable"),
    ({"absorbing": ["left"]}, "absorbing is a list; give a dict"), ({"pulse": 3.0}, "pulse is 3.0; give a function"),
    ({"pulse": lambda t: np.ones(3)}, r"pulse has shape \(3,\)"),
])
def test_an_evolution_that_cannot_be_is_told(change, message):
    given = {"mass": lambda u, v, m, w: u * v, "times": np.linspace(0.0, 1.0, 3), "initial": np.zeros(9)}
    model = Model(lambda u, v, m, w: dot(grad(u), grad(v)), ElementTriP1(), ElementTriP1(), linear=True)
    assert replace(model, evolution=Evolution(**given)).on(unit_square(2)).equation.experiments == 1
    with pytest.raises(InputError, match=message) as caught:
        replace(model, evolution=Evolution(**given | change), neumann={"top": 1.0}).on(unit_square(2))
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="evolution is a float; give an Evolution"):
        replace(model, evolution=1.0)


def test_a_stationary_model_has_no_time_series():
    model = Model(lambda u, v, m, w: (u - m) * v, ElementTriP1(), ElementTriP1(), linear=True)
    with pytest.raises(InputError, match="data is a TimeSeries; give Measurements or a WholeField: this is stationary"):
        model.on(unit_square(2)).inverse_problem(TimeSeries(POINTS, TIMES, VALUES, 0.5), Tikhonov)
    moving = replace(model, evolution=Evolution(lambda u, v, m, w: u * v, TIMES))
    with pytest.raises(InputError, match="data is a Measurements; give a TimeSeries: this evolves"):
        moving.on(unit_square(2)).inverse_problem(Measurements(POINTS, VALUES[0], 0.5), Tikhonov)
    with pytest.raises(InputError, match="this one is stationary, use point_data"):
        time_data(None, POINTS, TIMES, lambda x: x[0], model, unit_square(2), noise=0.1, seed=0)


def test_an_evolution_shows_its_states_and_readings():
    """The film of a level: what stays, what moves at few enough frames, and data beside the prediction."""
    times = np.linspace(0.0, 1.0, 251)
    model = Model(lambda u, v, m, w: dot(grad(u), grad(v)), ElementTriP1(), ElementTriP1(), linear=True,
                  evolution=Evolution(lambda u, v, m, w: u * v, times, start=lambda u, v, m, w: (u - m) * v))
    series = TimeSeries(POINTS, TIMES, VALUES, np.full((2, 3), 0.5))
    (level,) = levels(model, {"3 x 3": unit_square(3)}, series, lambda space: Tikhonov(space), truth=lambda x: x[0])
    at = level.energy.linearize(level.truth + 1.0)
    film = level.film(at)
    assert film.times[0] == 0.0 and film.times[-1] == 1.0 and len(film.times) == 121
    frame = film.frame(len(film.times) - 1)
    assert list(frame) == ["m", "truth", "error", "state"]
    assert np.allclose(frame["error"][1], 1.0) and np.allclose(frame["state"][1], at.state.film[-1, :, 0])
    readings = film.readings
    assert np.array_equal(readings.times, TIMES) and np.array_equal(readings.values, VALUES)
    assert np.allclose(readings.predicted[0], 1.0 + POINTS[:, 0], atol=1e-12)


@pytest.mark.parametrize("memory", [3 * 8 * 16.0, 1e6])
def test_a_model_with_a_budget_of_memory_is_the_same_problem(memory):
    """Its energy, derivatives, film and readings, by snapshots: three of the sixteen unknowns, or all."""
    evolution = Evolution(lambda u, v, m, w: u * v, np.linspace(0.0, 1.0, 9), start=lambda u, v, m, w: (u - m**2) * v)
    model = Model(lambda u, v, m, w: dot(grad(u), grad(v)), ElementTriP1(), ElementTriP1(), linear=True)
    series = TimeSeries(POINTS, TIMES, VALUES, 0.5)
    kept, short = (levels(replace(model, evolution=each), {"3 x 3": unit_square(3)}, series, Tikhonov)[0]
                   for each in (evolution, replace(evolution, memory=memory)))
    assert short.energy.pde.snapshots == memory // 128
    m, dm = np.random.default_rng(0).standard_normal((2, 16))
    one, other = (level.energy.linearize(m) for level in (kept, short))
    assert other.value == pytest.approx(one.value, rel=1e-13)
    for found, expected in ((other.derivative, one.derivative),
                            *((other.hessian_action(dm, kind), one.hessian_action(dm, kind))
                              for kind in ("gauss-newton", "newton"))):
        assert np.allclose(found, expected, rtol=0.0, atol=1e-12 * np.abs(expected).max())
    films = kept.film(one), short.film(other)
    assert np.array_equal(films[0].fields["state"][1], films[1].fields["state"][1])
    assert np.allclose(films[0].readings.predicted, films[1].readings.predicted)
    assert np.array_equal(kept.exports(one)["state"][1], short.exports(other)["state"][1])


def test_observations_and_snapshots_that_are_not_used_are_refused():
    times = np.linspace(0.0, 1.0, 11)
    with pytest.raises(InputError, match=r"when has shape \(0,\); give times"):
        time_weights(times, np.array([]))
    with pytest.raises(InputError, match="disk is 3, but without memory all states are kept"):
        Evolution(lambda u, v, m, w: u * v, times, disk=3)


def test_nothing_is_interpolated_at_the_times_of_the_scheme():
    """Rounding of the times does not make two states of one."""
    times = np.linspace(0.0, 1.0, 11)
    weights = time_weights(times, np.array([0.1 + 0.2, 0.55, 1.0 + 1e-16]))
    assert np.diff(weights.indptr).tolist() == [1, 2, 1] and np.allclose(weights.sum(axis=1), 1.0)
    assert np.allclose(weights @ times, [0.3, 0.55, 1.0])
