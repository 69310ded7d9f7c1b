"""Hostile calls of the library: every argument of every constructor with what it cannot be."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import scipy.sparse as sp
import torch
from skfem import Basis, ElementLineP1, ElementTriP1, ElementTriP2, MeshTet

import fem_ngf as ngf
from fem_ngf import dot, grad

MESH = ngf.unit_square(3)
STATE = Basis(MESH, ElementTriP2())
BASIS = STATE.with_element(ElementTriP1())
SPACE = ngf.HilbertSpace.h1(BASIS)
POINTS = np.array([[0.3, 0.4], [0.6, 0.5], [0.2, 0.7], [0.5, 0.1]])
VALUES = np.array([0.1, 0.2, 0.3, 0.4])
NETWORK = ngf.MLP((2, 3, 1))
GENERATOR = np.random.default_rng(0)
THETA = NETWORK.initial(GENERATOR)


def residual(u, v, m, w):
    return torch.exp(m) * dot(grad(u), grad(v)) - v


FORM = ngf.WeakForm(residual, STATE, BASIS)
PDE = ngf.StationaryProblem(FORM, dirichlet="left", linear=True)
SENSORS = ngf.point_values(STATE, POINTS)
NOISE, PRIOR = ngf.GaussianNoise.from_std(0.1), ngf.Tikhonov(SPACE)
ENERGY = ngf.InverseProblem(PDE, SENSORS, VALUES, NOISE, PRIOR, SPACE)
OTHER = Basis(ngf.unit_square(4), ElementTriP1())

TIMES = np.linspace(0.0, 1.0, 5)
MASS = ngf.WeakForm(lambda u, v, m, w: u * v, STATE, BASIS)
HEAT = ngf.WeakForm(lambda u, v, m, w: dot(grad(u), grad(v)) - m * v, STATE, BASIS)
WARMED = ngf.EvolutionProblem(MASS, HEAT, TIMES, dirichlet="left", linear=True)
IN_TIME = ngf.HilbertSpace.l2(Basis(ngf.interval(4), ElementLineP1()))
ARGUMENTS = Basis(ngf.interval(4), ElementLineP1())

NUMBER = ["x", None, 1j, [1.0, 2.0], float("nan"), True]
POSITIVE = [*NUMBER, 0, -1.0, float("inf")]
COUNT = ["x", None, 1.5, 0, -3, float("nan"), [2]]
WORD = ["luck", "", 3, None]
VECTOR = ["x", None, 1j, VALUES[:2], VALUES * 1j, VALUES.astype(object), [[1], [2, 3]], VALUES[None]]
UNKNOWNS = ["nowhere", ["left", "nowhere"], [-1], [10**6], [0.5], [1j], np.ones(3, bool), [None], "", [["left"]]]
COORDINATES = [POINTS.T, POINTS[:, :1], POINTS + 5, POINTS * np.nan, POINTS * 1j, "x", None, POINTS[:0], POINTS[0],
               np.zeros((4, 3)), POINTS.astype(object)]

MOMENTS = ["x", None, 1j, [0.0], [0.0, 0.0], [1.0, 0.0], [0.0, np.nan], [0.0, np.inf], [[0.0, 1.0]], []]

# name -> (what is called, its good arguments, argument -> what it cannot be)
CALLS: dict[str, tuple[Callable, dict, dict[str, list]]] = {
    "unit_square": (ngf.unit_square, {"n": 3}, {"n": [*COUNT, 10**7], "kind": WORD}),
    "unit_cube": (ngf.unit_cube, {"n": 2}, {"n": [*COUNT, 10**5], "kind": WORD}),
    "interval": (ngf.interval, {"n": 3}, {"n": COUNT, "lower": [1.0, float("nan"), "x"], "upper": [0.0, float("inf")]}),
    "rectangle": (ngf.rectangle, {"cells": (2, 2)}, {"cells": [(0, 2), (2,), (2, 2, 2), 2, "ab", (2.5, 1), None],
                                                     "lower": [(1, 1), (0,), "ab", None], "upper": [(0, 0), 1]}),
    "halvings": (ngf.halvings, {"mesh": ngf.unit_square, "cells": 4}, {
        "cells": [*COUNT, 1], "smallest": COUNT, "factor": [*COUNT, 1]}),
    "grid_points": (ngf.grid_points, {"numbers": (2, 2), "lower": (0, 0), "upper": (1, 1)}, {
        "numbers": [(0, 2), (2, -1), (2.5, 2), (2, None), (10**6, 10**6)]}),
    "disk": (ngf.disk, {}, {"radius": POSITIVE, "size": [*NUMBER[:4], 0, -1, 2.0, 1e-9]}),
    "MLP": (ngf.MLP, {}, {"widths": [(2,), (), (2, 0, 1), (2, -1, 1), (2, 1.5, 1), "ab", None, 3, (2, 10**6, 10**6, 1)],
                          "activation": WORD, "box": [((0, 0), (0, 1)), (0, 1), "ab", ((0,), (1,)), 3],
                          "scale": POSITIVE,
                          "start": ["x", None, 1j, float("nan"), (1, 2), [[1]]], "output_scale": [*NUMBER, -1.0],
                          "device": ["gpu", "", 3, None, "cuda:99"]}),
    "MLP.call": (NETWORK.__call__, {"theta": THETA, "x": POINTS}, {
        "theta": ["x", None, THETA[:-1], THETA * 1j, THETA[None], []],
        "x": [POINTS.T, "x", None, POINTS * 1j, POINTS[0], np.zeros((4, 3)), POINTS.astype(object)]}),
    "l2": (ngf.HilbertSpace.l2, {"basis": BASIS}, {"fixed": UNKNOWNS, "sampling": WORD}),
    "h1": (ngf.HilbertSpace.h1, {"basis": BASIS}, {"length": POSITIVE, "fixed": [*UNKNOWNS[:3], np.arange(16)]}),
    "sobolev": (ngf.HilbertSpace.sobolev, {"basis": BASIS, "s": 0.5}, {"s": [*NUMBER, 3, -2.1, float("inf")],
                                                                       "length": POSITIVE}),
    "h1_seminorm": (ngf.HilbertSpace.h1_seminorm, {"basis": BASIS, "fixed": "left"}, {"fixed": [*UNKNOWNS, []]}),
    "from_matrix": (ngf.HilbertSpace.from_matrix, {"basis": BASIS, "matrix": SPACE.matrix}, {
        "matrix": [np.eye(3), sp.eye_array(3), None, "x", 1.0, np.ones(16)]}),
    "space.evaluate": (SPACE.evaluate, {"vector": np.ones(16)}, {"vector": VECTOR}),
    "space.project": (SPACE.project, {"samples": np.ones(len(SPACE.points))}, {"samples": VECTOR}),
    "space.riesz": (SPACE.riesz, {"covector": np.ones(16)}, {"covector": VECTOR}),
    "WeakForm": (ngf.WeakForm, {"residual": residual, "state": STATE, "parameter": BASIS}, {
        "residual": [None, 3, "x"], "state": [None, 3, MESH, ElementTriP2()],
        "parameter": [None, 3, OTHER, MESH, ElementTriP1, (BASIS, 3)], "f": [1j, "x", None, np.ones(3), VALUES * 1j]}),
    "form.residual": (FORM.residual, {"u": np.zeros(STATE.N), "m": np.zeros(16)}, {"u": VECTOR, "m": VECTOR}),
    "StationaryProblem": (ngf.StationaryProblem, {"form": FORM}, {
        "form": [None, 3, residual], "dirichlet": UNKNOWNS, "values": ["x", 1j, np.ones(3), float("nan")],
        "loads": ["x", 1j, np.ones(3), float("inf")], "tolerance": POSITIVE, "max_iterations": COUNT}),
    "solve": (PDE.solve, {"m": np.zeros(16)}, {"m": VECTOR}),
    "Model": (ngf.Model, {"residual": residual, "state": ElementTriP2(), "parameter": ElementTriP1()}, {
        "residual": [None, 3], "state": [None, ElementTriP2, STATE], "parameter": [None, ElementTriP1, 3]}),
    "Model.on": (lambda mesh, **more: ngf.Model(residual, ElementTriP2(), ElementTriP1(), linear=True, **more).on(mesh),
                 {"mesh": MESH}, {
        "mesh": [None, 3, MeshTet()], "dirichlet": ["nowhere", ["left", "no"], {"no": 0.0}, 1j],
        "neumann": [{"no": 1.0}, {"left": "x"}, 3], "boundary": [{"no": residual}, {"left": 3}],
        "data": [{"f": 1j}, {"x": 1.0}, 3], "intorder": [-1, "x"]}),
    "EvolutionProblem": (ngf.EvolutionProblem, {"mass": MASS, "form": HEAT, "times": TIMES, "linear": True}, {
        "mass": [None, 3, residual], "form": [None, 3, residual], "times": MOMENTS, "method": WORD,
        "initial": ["x", 1j, np.ones(3), np.full(STATE.N, np.nan), FORM.residual], "velocity": [1.0],
        "damping": [MASS, 3], "parameter_times": [["x"], [0.0, 0.0], [0.5, 1.0], [0.0, 0.5]], "dirichlet": UNKNOWNS,
        "values": ["x", 1j, np.ones(3), float("nan"), lambda t: np.ones(3)],
        "loads": ["x", 1j, np.ones(3), float("inf"), lambda t: "x"], "tolerance": POSITIVE, "max_iterations": COUNT}),
    "evolution.solve": (WARMED.solve, {"m": np.zeros(16)}, {"m": VECTOR, "start": ["x", 1j, np.ones(3)]}),
    "CheckpointedEvolution": (ngf.CheckpointedEvolution, {
        "problem": WARMED, "observation": SENSORS, "weights": ngf.time_weights(TIMES, [0.5]), "snapshots": 2}, {
        "problem": [None, PDE, 3], "observation": [None, 3, ngf.point_values(OTHER, POINTS)],
        "weights": [None, "x", np.ones((1, 3)), 1j], "snapshots": [0, -1, "x", float("nan"), None, 1.5],
        "memory": [1e6, -1], "disk": [-1, "x", None]}),
    "Evolution": (lambda times=TIMES, **more: ngf.Model(
        lambda u, v, m, w: dot(grad(u), grad(v)) - m * v, ElementTriP2(), ElementTriP1(), linear=True,
        evolution=ngf.Evolution(**{"mass": lambda u, v, m, w: u * v, "times": times, **more})).on(MESH), {}, {
        "mass": [None, 3], "times": [*MOMENTS, lambda mesh: "x"], "method": WORD,
        "initial": ["x", 1j, np.ones(3), float("nan")], "start": [3, "x"], "damping": [3], "pulse": [3, "x"],
        "absorbing": [3, {"no": residual}, {"left": 3}], "parameter_times": [["x"], [0.0, 0.0], [0.5, 1.0]],
        "memory": ["x", -1.0, float("nan"), 1j], "disk": [-1, "x", None, 3]}),
    "at_times": (ngf.at_times, {"observation": SENSORS, "times": TIMES, "when": [0.5]}, {
        "observation": [None, 3, VALUES], "times": MOMENTS, "when": ["x", 1j, None, [], [2.0], [-0.1], [np.nan], 0.5]}),
    "TimeSeries": (lambda std=1.0, **more: ngf.TimeSeries(**{
        "points": POINTS, "times": [0.2, 0.6], "values": np.ones((2, 4)), "std": std, **more}).on(STATE, TIMES), {}, {
        "points": COORDINATES, "times": [*MOMENTS, [0.2, 3.0], [-1.0, 0.2]],
        "values": ["x", None, 1j, np.ones((4, 2)), np.ones(4), np.ones((2, 4, 1, 1))],
        "std": ["x", 1j, None, 0.0, -1.0, np.nan, np.ones(2), np.zeros((2, 4))]}),
    "TensorSpace": (ngf.TensorSpace, {"spatial": SPACE, "temporal": IN_TIME}, {
        "spatial": [None, 3, BASIS], "temporal": [None, SPACE, 3, IN_TIME.nodal_twin], "product": [3, SPACE, "x"]}),
    "TensorSpace.h1": (ngf.TensorSpace.h1, {"spatial": SPACE, "temporal": IN_TIME}, {
        "spatial": [None, 3], "temporal": [None, SPACE, 3], "length": POSITIVE, "time": POSITIVE}),
    "Law": (ngf.Law, {"basis": ARGUMENTS}, {"basis": [None, BASIS, 3, ngf.interval(3)], "continuation": WORD}),
    "point_values": (ngf.point_values, {"basis": STATE, "points": POINTS}, {"points": COORDINATES}),
    "boundary_trace": (ngf.boundary_trace, {"basis": STATE, "name": "left"}, {
        "name": ["no", 3, None, ["left", "no"], ""]}),
    "subdomain_averages": (ngf.subdomain_averages, {"basis": STATE, "names": []}, {"names": ["no", ["no"], [3], 3]}),
    "from_std": (ngf.GaussianNoise.from_std, {"std": 1.0}, {"std": [
        "x", None, 1j, 0.0, -1.0, float("nan"), [], [1, 0], np.ones((2, 2, 2)), [[1], [2, 3]]]}),
    "StudentNoise": (ngf.StudentNoise, {"std": 1.0}, {
        "std": ["x", 1j, 0.0, [1, -1]], "degrees": [0, -1, "x", 1j, None]}),
    "HuberNoise": (ngf.HuberNoise, {"std": 1.0}, {"std": ["x", 1j, 0.0, []], "threshold": [0, -1, "x", 1j, None]}),
    "Measurements": (ngf.Measurements, {"points": POINTS, "values": VALUES, "std": 1.0}, {
        "points": [POINTS.T, "x", None, POINTS * 1j, POINTS[0]], "values": VECTOR,
        "std": ["x", 1j, VALUES[:2], np.ones((3, 3)), {}]}),
    "Tikhonov": (ngf.Tikhonov, {"metric": SPACE}, {"metric": [None, 3, "x", np.ones(3), np.ones((2, 3))],
                                                   "weight": POSITIVE, "mean": [np.ones(3), "x", 1j]}),
    "TotalVariation": (ngf.TotalVariation, {"basis": BASIS, "weight": 1.0, "epsilon": 0.1}, {
        "basis": [None, MESH], "weight": POSITIVE, "epsilon": POSITIVE}),
    "InverseProblem": (ngf.InverseProblem, {"pde": PDE, "observation": SENSORS, "data": VALUES, "noise": NOISE,
                                            "regularization": PRIOR, "space": SPACE}, {
        "pde": [None, FORM, 3], "observation": [
            None, VALUES, ngf.point_values(OTHER, POINTS), ngf.point_values(STATE, POINTS * [0.0, 1.0])],
        "data": [np.ma.masked_less(VALUES, 0.2), VALUES[:2], VALUES * 1j, VALUES * np.nan, "x", None, np.ones((4, 2))],
        "noise": [None, 0.1, ngf.GaussianNoise.from_std(np.ones(3))],
        "regularization": [None, 1.0, ngf.Tikhonov(ngf.HilbertSpace.l2(OTHER))],
        "space": [None, BASIS, ngf.HilbertSpace.l2(OTHER)], "weight": [*NUMBER, -1.0]}),
    "NewtonFlow": (lambda theta=THETA, **more: ngf.NewtonFlow(**{"energy": ENERGY, "ansatz": NETWORK, "space": SPACE,
                                                                 **more}).start(theta), {}, {
        "energy": [None, PDE, 3], "space": [None, BASIS, ngf.HilbertSpace.l2(OTHER)],
        "ansatz": [None, torch.nn.Linear(2, 1), ngf.MLP((3, 2, 1)), ngf.MLP((2, 2, 2)), THETA],
        "iterations": COUNT, "tolerance": [*NUMBER, -1.0, 1.0],
        "theta": ["x", None, THETA[:-1], THETA * 1j, THETA * np.nan]}),
    "SobolevFlow": (lambda **more: ngf.SobolevFlow(ENERGY, NETWORK, SPACE, **more).start(THETA), {}, {
        "iterations": COUNT, "tolerance": [*NUMBER, -1.0, 1.0], "discretization": WORD, "duration": [0, -1, "x", 1j],
        "accuracy": [0, -1, "x", float("nan")]}),
    "Expansion": (ngf.Expansion, {}, {"trigger": WORD, "selection": WORD, "neurons": COUNT, "candidates": COUNT,
                                      "max_parameters": COUNT}),
    "RunOptions": (ngf.RunOptions, {}, {
        "seed": ["x", -1, 1.5, None, True], "levels": ["x", 0, 1.5], "ansatz": WORD, "flow": WORD, "metric": [3, None],
        "iterations": ["x", 0, 1.5], "tolerance": ["x", 0, -1, True], "device": ["gpu", 3], "threads": [0, "x", 10**6],
        "grow": ["yes", 1], "weight": ["x", "-1", 3], "out": [3, 1j]}),
    "Case": (ngf.Case, {"name": "a", "levels": (ngf.Level("l", ENERGY, BASIS),), "ansatz": NETWORK}, {
        "name": ["", None, 3, "a/b", "../a", "a\nb"], "levels": [(), None, 3, (3,)], "defaults": [3, None, [1], {1: 2}],
        "ansatz": [None, 3, ngf.MLP((3, 2, 1)), torch.nn.Linear(2, 1)], "start": ["x", 1j, float("nan")],
        "length": POSITIVE, "tuning": [3, [1]], "title": [3, None], "outcome": [3, "x"]}),
    "Level": (ngf.Level, {"label": "l", "energy": ENERGY, "basis": BASIS}, {
        "truth": ["x", 1j, np.ones(3), np.full(16, np.nan)], "basis": [None, MESH, OTHER]}),
    "taylor_rate": (ngf.taylor_rate, {"function": ENERGY.as_scipy(), "m": np.zeros(16), "direction": np.ones(16)}, {
        "direction": [np.zeros(16), np.ones(3), "x", 1j], "m": [np.ones(3), "x"]}),
}


def calls() -> Iterator[tuple[str, Callable]]:
    """Name and call; each must raise an `InputError`."""
    for name, (function, good, wrong) in CALLS.items():
        for argument, values in wrong.items():
            for number, value in enumerate(values):
                text = " ".join(repr(value).split())[:30]
                yield f"{name}({argument}={text}) {number}", partial(function, **{**good, argument: value})


def fault(call: Callable) -> str:
    """What was wrong with the answer to a call, empty where nothing was."""
    try:
        call()
    except ngf.InputError as error:
        return "" if len(str(error)) > 15 else f"says only {str(error)!r}"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "accepted"


