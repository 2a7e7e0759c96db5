"""LangChain: `create_agent` (a LangGraph graph) on a chat model of our own; tracing off."""

from typing import Any

from langchain.agents import create_agent
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.tools import StructuredTool
from pydantic import BaseModel

PACKAGE = "langchain"
NOTES = ["1.4.7 is the newest version that installs: 1.5.0 depends on a version of certifi that was not found."]


class Calculation(BaseModel):
    operation: str
    a: float
    b: float


class ScriptedChatModel(BaseChatModel):
    script: Any = None

    @property
    def _llm_type(self):
        return "scripted"

    def bind_tools(self, tools, **kwargs):
        return self

    def _generate(self, messages, stop=None, run_manager=None, **kwargs):
        raise NotImplementedError

    async def _agenerate(self, messages, stop=None, run_manager=None, **kwargs):
        turn = await self.script.next()
        if isinstance(turn, str):
            message = AIMessage(content=turn)
        else:
            calls = [{"type": "tool_call", "id": id, "name": name, "args": params} for id, name, params in turn]
            message = AIMessage(content="", tool_calls=calls)
        return ChatResult(generations=[ChatGeneration(message=message)])


def agent(execute, max_turns):
    model = ScriptedChatModel()

    async def calculator(operation: str, a: float, b: float) -> dict:
        return await execute(operation, a, b)

    tools = [] if execute is None else [
        StructuredTool.from_function(
            coroutine=calculator,
            name="calculator",
            description="Performs arithmetic operations",
            args_schema=Calculation,
        )
    ]
    built = create_agent(model, tools, system_prompt="You are a test agent")

    async def run(script):
        model.script = script
        state = await built.ainvoke(
            {"messages": [{"role": "user", "content": "What is 5 + 3?"}]}, {"recursion_limit": 2 * max_turns + 5}
        )
        return state["messages"][-1].content

    return run
