"""AutoGen: an `AssistantAgent` on a model client of our own."""

import json

from autogen_agentchat.agents import AssistantAgent
from autogen_core import CancellationToken, FunctionCall
from autogen_core.models import ChatCompletionClient, CreateResult, RequestUsage
from autogen_core.tools import FunctionTool

PACKAGE = "autogen-agentchat"
NOTES = ["In maintenance; its successor is Microsoft Agent Framework."]


class ScriptedClient(ChatCompletionClient):
    script = None

    async def create(self, messages, **options):
        turn = await self.script.next()
        calls = not isinstance(turn, str)
        return CreateResult(
            finish_reason="function_calls" if calls else "stop",
            content=[FunctionCall(id=id, name=name, arguments=json.dumps(params)) for id, name, params in turn]
            if calls
            else turn,
            usage=RequestUsage(prompt_tokens=10, completion_tokens=5),
            cached=False,
        )

    def create_stream(self, messages, **options):
        raise NotImplementedError

    async def close(self):
        pass

    def actual_usage(self):
        return RequestUsage(prompt_tokens=0, completion_tokens=0)

    def total_usage(self):
        return RequestUsage(prompt_tokens=0, completion_tokens=0)

    def count_tokens(self, messages, **options):
        return 0

    def remaining_tokens(self, messages, **options):
        return 100_000

    @property
    def capabilities(self):
        return self.model_info

    @property
    def model_info(self):
        return {
            "vision": False,
            "function_calling": True,
            "json_output": False,
            "family": "unknown",
            "structured_output": False,
        }


def agent(execute, max_turns):
    client = ScriptedClient()

    async def calculator(operation: str, a: float, b: float) -> dict:
        return await execute(operation, a, b)

    built = AssistantAgent(
        "test_agent",
        model_client=client,
        system_message="You are a test agent",
        max_tool_iterations=max_turns,
        tools=[] if execute is None else [FunctionTool(calculator, "Performs arithmetic operations")],
    )
    used = False

    async def run(script):
        nonlocal used
        client.script = script
        if used:
            await built.on_reset(CancellationToken())
        used = True
        result = await built.run(task="What is 5 + 3?")
        return result.messages[-1].content

    return run
