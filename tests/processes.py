"""Processes that kill themselves, forked from one that has loaded the library once for all of them."""

import multiprocessing

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["pytest", "skfem", "fem_ngf.run.execution", "fem_ngf.run.identification",
                              "fem_ngf.flows.identify"])


def exit_code(function, *arguments) -> int:
    """Of a process that calls a function of a module; minus the number of the signal that ended it."""
    process = FORKS.Process(target=function, args=arguments)
    process.start()
    process.join(120.0)
    return process.exitcode
