"""Microsoft Agent Framework, the successor of AutoGen and Semantic Kernel: an `Agent` on a chat client of our own."""

from agent_framework import Agent, BaseChatClient, ChatResponse, Content, FunctionInvocationLayer, Message

PACKAGE = "agent-framework-core"


class ScriptedClient(FunctionInvocationLayer, BaseChatClient):
    script = None

    async def _inner_get_response(self, *, messages, stream, options, **kwargs):
        turn = await self.script.next()
        contents = (
            [turn]
            if isinstance(turn, str)
            else [Content.from_function_call(id, name, arguments=params) for id, name, params in turn]
        )
        return ChatResponse(messages=[Message("assistant", contents)])


def agent(execute, max_turns):
    client = ScriptedClient(function_invocation_configuration={"max_iterations": max_turns})

    async def calculator(operation: str, a: float, b: float) -> dict:
        """Performs arithmetic operations"""
        return await execute(operation, a, b)

    built = Agent(client=client, instructions="You are a test agent", tools=None if execute is None else [calculator])

    async def run(script):
        client.script = script
        return (await built.run("What is 5 + 3?")).text

    return run
