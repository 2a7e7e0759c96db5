"""Semantic Kernel: a `ChatCompletionAgent` on a chat service of our own, which calls functions by itself."""

from typing import Any, ClassVar

from semantic_kernel.agents import ChatCompletionAgent
from semantic_kernel.connectors.ai.chat_completion_client_base import ChatCompletionClientBase
from semantic_kernel.connectors.ai.function_choice_behavior import FunctionChoiceBehavior
from semantic_kernel.contents import AuthorRole, ChatMessageContent, FunctionCallContent, TextContent
from semantic_kernel.contents.utils.finish_reason import FinishReason
from semantic_kernel.functions import kernel_function

PACKAGE = "semantic-kernel"
NOTES = ["Its successor is Microsoft Agent Framework. The C# edition was not measured: this is the Python one."]


class ScriptedService(ChatCompletionClientBase):
    SUPPORTS_FUNCTION_CALLING: ClassVar[bool] = True
    script: Any = None

    async def _inner_get_chat_message_contents(self, chat_history, settings):
        turn = await self.script.next()
        if isinstance(turn, str):
            items, reason = [TextContent(text=turn)], FinishReason.STOP
        else:
            items = [
                FunctionCallContent(id=id, plugin_name="math", function_name=name, arguments=params)
                for id, name, params in turn
            ]
            reason = FinishReason.TOOL_CALLS
        return [ChatMessageContent(role=AuthorRole.ASSISTANT, items=items, finish_reason=reason)]


def agent(execute, max_turns):
    service = ScriptedService(ai_model_id="scripted")

    class Math:
        @kernel_function(description="Performs arithmetic operations")
        async def calculator(self, operation: str, a: float, b: float) -> dict:
            return await execute(operation, a, b)

    built = ChatCompletionAgent(
        service=service,
        name="test_agent",
        instructions="You are a test agent",
        function_choice_behavior=FunctionChoiceBehavior.Auto(maximum_auto_invoke_attempts=max_turns),
    )
    if execute is not None:
        built.kernel.add_plugin(Math(), plugin_name="math")

    async def run(script):
        service.script = script
        response = await built.get_response(messages="What is 5 + 3?")
        return str(response.message)

    return run
