"""Measures one Python peer in this process: `python suite.py <peer file> <effort as JSON>` prints a JSON line per scenario.

A peer file defines:

- `PACKAGE`: the distribution whose version counts.
- `agent(execute, max_turns)`: builds model, tool and agent as the framework's docs do, with the tool `calculator`
  (`operation: str, a: float, b: float`) if `execute` is given, and returns `async (script) -> str`, which runs the agent
  on a script.
- `REUSABLE`: False if an agent cannot run again with a clean conversation.
- `NOTES`: what a reader has to know.

`await script.next()` is the model's next turn: a text, or a list of calls `(id, name, params)`.
"""

import asyncio
import gc
import importlib.metadata
import importlib.util
import json
import math
import os
import sys
import time
import tracemalloc

os.environ.setdefault("OTEL_SDK_DISABLED", "true")
os.environ.setdefault("LANGSMITH_TRACING", "false")

path, effort_text = sys.argv[1:3]
effort = json.loads(effort_text)
spec = importlib.util.spec_from_file_location("peer", path)
peer = importlib.util.module_from_spec(spec)
sys.modules["peer"] = peer
spec.loader.exec_module(peer)

# --- Scripts ---


class Script:
    def __init__(self, turns):
        self.turns = iter(turns)

    async def next(self):
        return next(self.turns)


class Silence:
    async def next(self):
        await asyncio.get_running_loop().create_future()


ids = 0


def call(a, b, operation="add"):
    global ids
    ids += 1
    return (f"call_{ids}", "calculator", {"operation": operation, "a": a, "b": b})


def no_tools():
    return Script(["Test response from agent"])


def one_tool():
    return Script([[call(5, 3)], "The result is 8"])


def three_tools():
    return Script(
        [[call(5, 3)], [call(8, 2, "multiply")], [call(16, 4, "subtract")], "All calculations are done now"]
    )


def ten_in_one_turn():
    return Script([[call(i, 1) for i in range(10)], "The result is 8"])


def hundred_turns():
    return Script([*([call(i, 1)] for i in range(100)), "done"])


# --- Tools ---

ran = 0


async def calculate(operation, a, b):
    global ran
    ran += 1
    return {"result": a * b if operation == "multiply" else a - b if operation == "subtract" else a + b}


async def never(operation, a, b):
    await asyncio.get_running_loop().create_future()


# --- Checks ---


async def checks():
    global ran
    ran = 0
    await peer.agent(calculate, 10)(three_tools())
    ran_tools = ran == 3
    ran = 0
    wrong = ("call_wrong", "calculator", {"operation": "add", "a": "five", "b": 3})
    invalid = "told to the model"
    try:
        await peer.agent(calculate, 10)(Script([[wrong], "done"]))
    except Exception:
        invalid = "run fails"
    if ran > 0:
        invalid = "tool ran"
    waiting = most = 0

    async def waits(operation, a, b):
        nonlocal waiting, most
        waiting += 1
        most = max(most, waiting)
        await asyncio.sleep(0.02)
        waiting -= 1
        return {"result": 0}

    millis = math.inf
    for _ in range(5):
        start = time.perf_counter()
        await peer.agent(waits, 10)(Script([[call(1, 1), call(2, 1)], "done"]))
        millis = min(millis, round((time.perf_counter() - start) * 1000))
    return {
        "ranTools": ran_tools,
        "parallel": most == 2,
        "parallelMillis": millis,
        "validated": invalid != "tool ran",
        "invalid": invalid,
    }


# --- Scenarios ---


def built(script, execute, max_turns):
    return lambda: lambda: peer.agent(execute, max_turns)(script())


def prepared(script, execute, max_turns):
    def make():
        run = peer.agent(execute, max_turns)
        return lambda: run(script())

    return make


def concurrent(agents):
    async def operation():
        return await asyncio.gather(
            *(peer.agent(None, 10)(Script([f"Response from agent {i}"])) for i in range(agents))
        )

    return lambda: operation


def answers(expected, tools):
    return lambda text: text == expected and ran == tools


def answer_each(agents):
    return lambda texts: texts == [f"Response from agent {i}" for i in range(agents)]


scenarios = [
    ("no_tools", built(no_tools, None, 10), answers("Test response from agent", 0)),
    ("one_tool", built(one_tool, calculate, 10), answers("The result is 8", 1)),
    ("three_tools", built(three_tools, calculate, 10), answers("All calculations are done now", 3)),
    ("ten_tools_one_turn", built(ten_in_one_turn, calculate, 10), answers("The result is 8", 10)),
    ("hundred_turns", built(hundred_turns, calculate, 102), answers("done", 100)),
    ("concurrent_agents/10", concurrent(10), answer_each(10)),
    ("concurrent_agents/50", concurrent(50), answer_each(50)),
]
if getattr(peer, "REUSABLE", True):
    scenarios += [
        ("no_tools/prepared", prepared(no_tools, None, 10), answers("Test response from agent", 0)),
        ("one_tool/prepared", prepared(one_tool, calculate, 10), answers("The result is 8", 1)),
        ("three_tools/prepared", prepared(three_tools, calculate, 10), answers("All calculations are done now", 3)),
    ]

# --- Measuring ---


async def timed(operation, operations):
    """µs of CPU (of the whole process) and of wall time that a batch takes."""
    cpu, wall = time.process_time(), time.perf_counter()
    for _ in range(operations):
        await operation()
    return (time.process_time() - cpu) * 1e6, (time.perf_counter() - wall) * 1e6


async def verify(name, operation, holds):
    global ran
    ran = 0
    result = await operation()
    if not holds(result):
        raise AssertionError(f"{name} gives a wrong result: {result!r}, {ran} tools ran")


async def measure(name, make, holds):
    operation = make()
    await verify(name, operation, holds)
    operations, spent = 1, 0.0
    while spent < effort["warmUpMillis"]:
        _, wall = await timed(operation, operations)
        spent += wall / 1000
        if wall / 1000 < effort["batchMillis"]:
            operations *= 2
    _, trial = await timed(operation, operations)
    operations = max(1, math.ceil(operations * effort["batchMillis"] * 1000 / trial))
    cpus, walls, start = [], [], time.perf_counter()
    while len(cpus) < effort["batches"] and (
        len(cpus) < 3 or (time.perf_counter() - start) * 1000 < effort["budgetMillis"]
    ):
        cpu, wall = await timed(operation, operations)
        cpus.append(cpu / operations)
        walls.append(wall / operations)
    await verify(name, operation, holds)
    return {"cpu": cpus, "wall": walls, "operations": operations}


async def memory(start):
    """Bytes that Python holds for a suspended agent: 200 of them, waiting for their model or their tool."""
    count = 200
    warm = asyncio.ensure_future(start())
    await asyncio.sleep(0.2)
    gc.collect()
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    runs = [asyncio.ensure_future(start()) for _ in range(count)]
    for _ in range(200):
        await asyncio.sleep(0.005)
    if any(run.done() for run in runs):
        raise AssertionError(f"an agent did not wait: {next(run for run in runs if run.done())!r}")
    gc.collect()
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    for run in [warm, *runs]:
        run.cancel()
    await asyncio.gather(warm, *runs, return_exceptions=True)
    return {"bytes": round((after - before) / count)}


# --- Report ---


async def main():
    common = {
        "version": importlib.metadata.version(peer.PACKAGE),
        "language": "python",
        "notes": getattr(peer, "NOTES", []),
        "checks": await checks(),
    }

    async def report(scenario, figures):
        try:
            result = await figures
        except Exception as error:
            result = {"failure": f"{type(error).__name__}: {error}"[:300]}
        print(json.dumps({**common, "scenario": scenario, **result}), flush=True)

    for name, make, holds in scenarios:
        await report(name, measure(name, make, holds))
    if effort["long"]:
        await report("memory_no_tools", memory(lambda: peer.agent(None, 10)(Silence())))
        await report("memory_one_tool", memory(lambda: peer.agent(never, 10)(one_tool())))


asyncio.run(main())
