"""Pydantic AI: an `Agent` on its own `FunctionModel`."""

from pydantic_ai import Agent
from pydantic_ai.messages import ModelResponse, TextPart, ToolCallPart
from pydantic_ai.models.function import FunctionModel
from pydantic_ai.usage import UsageLimits

PACKAGE = "pydantic-ai-slim"
NOTES = ["Derives the tool's schema from the function's signature whenever an agent is built."]


def agent(execute, max_turns):
    current = None

    async def respond(messages, info):
        turn = await current.next()
        if isinstance(turn, str):
            return ModelResponse(parts=[TextPart(turn)])
        return ModelResponse(parts=[ToolCallPart(name, params, tool_call_id=id) for id, name, params in turn])

    async def calculator(operation: str, a: float, b: float) -> dict:
        """Performs arithmetic operations"""
        return await execute(operation, a, b)

    built = Agent(
        FunctionModel(respond), instructions="You are a test agent", tools=[] if execute is None else [calculator]
    )

    async def run(script):
        nonlocal current
        current = script
        result = await built.run("What is 5 + 3?", usage_limits=UsageLimits(request_limit=max_turns))
        return result.output

    return run
