"""``make fuzz``: everything, with what failed."""

import collections
import sys
import tempfile
import warnings
from pathlib import Path

from . import commands, judge, library

total, failed, slowest = 0, collections.Counter(), ("", 0.0)
with tempfile.TemporaryDirectory() as name:
    for attack, fault, seconds in judge.faults(commands.attacks(0, judge.finished_run(Path(name)))):
        total += 1
        slowest = max(slowest, (attack.name, seconds), key=lambda pair: pair[1])
        if fault:
            failed[fault.partition(":")[0]] += 1
            print(f"{attack.name}\n    {fault}", flush=True)
print(f"{total} command lines, {sum(failed.values())} failed {dict(failed)}; slowest: {slowest[0]} {slowest[1]:.1f} s")
with warnings.catch_warnings():
    warnings.simplefilter("error")
    answers = {name: library.fault(call) for name, call in library.calls()}
wrong = {name: fault for name, fault in answers.items() if fault}
print(*(f"{name}\n    {fault}" for name, fault in wrong.items()), sep="\n", end="")
print(f"{len(answers)} library calls, {len(wrong)} failed")
sys.exit(bool(failed or wrong))
