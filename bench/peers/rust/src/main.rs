//! The original: the published `agent-runtime` crate, timed as its own benches time it (everything is built inside the
//! timed region, results are dropped inside it, the tokio runtime is made outside it).
//!
//! `peer-agent-runtime <multi|current> <variant> <effort as JSON>` prints a JSON line per scenario.

use agent_runtime::llm::types::{ChatRequest, ChatResponse};
use agent_runtime::llm::{GenericChatClient, LlmError, LlmResult};
use agent_runtime::prelude::*;
use agent_runtime::Event;
use serde_json::{json, Value};
use std::future::Future;
use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::{Builder, Runtime};

/// How often the calculator ran.
static RAN: AtomicUsize = AtomicUsize::new(0);

/// The calculator of the crate's own benches.
fn calculator() -> ToolRegistry {
    let mut registry = ToolRegistry::new();
    registry.register(NativeTool::new(
        "calculator",
        "Performs arithmetic",
        json!({
            "type": "object",
            "properties": {
                "operation": {"type": "string"},
                "a": {"type": "number"},
                "b": {"type": "number"}
            }
        }),
        |args| {
            Box::pin(async move {
                let start = Instant::now();
                RAN.fetch_add(1, Ordering::Relaxed);
                let a = args["a"].as_f64().unwrap_or(f64::NAN);
                let b = args["b"].as_f64().unwrap_or(f64::NAN);
                let result = match args["operation"].as_str().unwrap_or("") {
                    "add" => a + b,
                    "subtract" => a - b,
                    "multiply" => a * b,
                    "divide" => a / b,
                    _ => 0.0,
                };
                let duration = start.elapsed().as_secs_f64() * 1000.0;
                Ok(ToolResult::success(json!({"result": result}), duration))
            })
        },
    ));
    registry
}

/// A registry whose calculator waits.
fn waiting(wait: Option<Duration>) -> ToolRegistry {
    let mut registry = ToolRegistry::new();
    registry.register(NativeTool::new(
        "calculator",
        "Waits",
        json!({}),
        move |_| {
            Box::pin(async move {
                match wait {
                    Some(time) => tokio::time::sleep(time).await,
                    None => std::future::pending().await,
                }
                Ok(ToolResult::success(json!({"result": 0}), 0.0))
            })
        },
    ));
    registry
}

fn add(a: usize, b: usize) -> Value {
    json!({"operation": "add", "a": a, "b": b})
}

fn one_tool() -> MockLlmClient {
    MockLlmClient::new()
        .with_tool_call("calculator", add(5, 3))
        .with_response("The result is 8")
}

fn three_tools() -> MockLlmClient {
    MockLlmClient::new()
        .with_tool_call("calculator", add(5, 3))
        .with_tool_call(
            "calculator",
            json!({"operation": "multiply", "a": 8, "b": 2}),
        )
        .with_tool_call(
            "calculator",
            json!({"operation": "subtract", "a": 16, "b": 4}),
        )
        .with_response("All calculations are done now")
}

fn ten_in_one_turn() -> MockLlmClient {
    MockLlmClient::from_mock_responses(vec![
        MockResponse::with_tool_calls((0..10).map(|i| ("calculator", add(i, 1))).collect()),
        MockResponse::text("The result is 8"),
    ])
}

fn turns(count: usize) -> MockLlmClient {
    (0..count)
        .fold(MockLlmClient::new(), |client, i| {
            client.with_tool_call("calculator", add(i, 1))
        })
        .with_response("done")
}

fn agent(
    client: impl GenericChatClient + 'static,
    tools: ToolRegistry,
    max_iterations: usize,
) -> Agent {
    let config = AgentConfig::builder("bench_agent")
        .system_prompt("You are a calculator agent")
        .tools(Arc::new(tools))
        .max_tool_iterations(max_iterations)
        .build();
    Agent::new(config).with_client(Arc::new(client))
}

async fn no_tools() -> AgentOutput {
    let client = MockLlmClient::new().with_response("Test response from agent");
    let config = AgentConfig::builder("bench_agent")
        .system_prompt("You are a test agent")
        .build();
    let agent = Agent::new(config).with_client(Arc::new(client));
    agent
        .execute(&AgentInput::from_text("test input"))
        .await
        .unwrap()
}

async fn with_tool(client: MockLlmClient, max_iterations: usize) -> AgentOutput {
    let agent = agent(client, calculator(), max_iterations);
    agent
        .execute(&AgentInput::from_text("What is 5 + 3?"))
        .await
        .unwrap()
}

async fn with_events() -> AgentOutput {
    let agent = agent(one_tool(), calculator(), 10);
    let stream = EventStream::new();
    agent
        .execute_with_events(AgentInput::from_text("What is 5 + 3?"), Some(&stream))
        .await
        .unwrap()
}

async fn tool_overhead() -> Value {
    let mut registry = ToolRegistry::new();
    registry.register(NativeTool::new(
        "calculator",
        "Simple math",
        json!({}),
        |args| {
            Box::pin(async move {
                let start = Instant::now();
                let a = args["a"].as_f64().unwrap_or(1.0);
                let b = args["b"].as_f64().unwrap_or(1.0);
                let duration = start.elapsed().as_secs_f64() * 1000.0;
                Ok(ToolResult::success(json!({"result": a + b}), duration))
            })
        },
    ));
    let tool = registry.get("calculator").unwrap();
    let mut args = std::collections::HashMap::new();
    args.insert("a".to_string(), json!(5));
    args.insert("b".to_string(), json!(3));
    tool.execute(args).await.unwrap().output
}

async fn event_emission() -> bool {
    let (sender, mut receiver) = tokio::sync::broadcast::channel(100);
    let event = Event::new(
        0,
        EventScope::Agent,
        EventType::Started,
        "bench_agent".to_string(),
        ComponentStatus::Running,
        "bench_workflow".to_string(),
        None,
        json!({"step": 0}),
    )
    .unwrap();
    let _ = sender.send(black_box(event));
    black_box(receiver.recv().await.ok()).is_some()
}

async fn concurrent(agents: usize) -> Vec<AgentOutput> {
    let handles: Vec<_> = (0..agents)
        .map(|i| {
            tokio::spawn(async move {
                let client =
                    MockLlmClient::new().with_response(&format!("Response from agent {i}"));
                let config = AgentConfig::builder(format!("agent_{i}"))
                    .system_prompt("Test agent")
                    .build();
                let agent = Agent::new(config).with_client(Arc::new(client));
                agent.execute(&AgentInput::from_text("test")).await.unwrap()
            })
        })
        .collect();
    futures::future::join_all(handles)
        .await
        .into_iter()
        .map(Result::unwrap)
        .collect()
}

async fn loop_detection() -> AgentOutput {
    let client = MockLlmClient::new()
        .with_tool_call("calculator", json!({"a": 5, "b": 3}))
        .with_tool_call("calculator", json!({"a": 5, "b": 3}))
        .with_response("Result");
    let mut registry = ToolRegistry::new();
    registry.register(NativeTool::new("calculator", "Math", json!({}), |_| {
        Box::pin(async move {
            let start = Instant::now();
            let duration = start.elapsed().as_secs_f64() * 1000.0;
            Ok(ToolResult::success(json!({"result": 8}), duration))
        })
    }));
    agent(client, registry, 10)
        .execute(&AgentInput::from_text("test"))
        .await
        .unwrap()
}

/// A model that never answers.
struct Silent;

#[async_trait::async_trait]
impl GenericChatClient for Silent {
    async fn chat(&self, _: ChatRequest) -> LlmResult<ChatResponse> {
        Err(LlmError::NetworkError("silent".into()))
    }
    async fn chat_stream(
        &self,
        _: ChatRequest,
        _chunks: tokio::sync::mpsc::Sender<String>,
    ) -> LlmResult<ChatResponse> {
        std::future::pending().await
    }
}

struct Harness {
    runtime: Runtime,
    variant: String,
    effort: Value,
    checks: Value,
}

impl Harness {
    /// Prints µs per operation of each batch: CPU time of the whole process, and wall time.
    fn measure<F, O>(&self, scenario: &str, operation: impl Fn() -> F, holds: impl Fn(O) -> bool)
    where
        F: Future<Output = O>,
    {
        let number = |key: &str| self.effort[key].as_f64().unwrap();
        assert!(
            holds(self.runtime.block_on(operation())),
            "{scenario} gives a wrong result"
        );
        let batch = |operations: usize| {
            let (cpu, wall) = (cpu_micros(), Instant::now());
            self.runtime.block_on(async {
                for _ in 0..operations {
                    black_box(operation().await);
                }
            });
            (cpu_micros() - cpu, wall.elapsed().as_secs_f64() * 1e6)
        };
        let (mut operations, mut spent) = (1, 0.0);
        while spent < number("warmUpMillis") {
            let (_, wall) = batch(operations);
            spent += wall / 1000.0;
            if wall / 1000.0 < number("batchMillis") {
                operations *= 2;
            }
        }
        let (_, wall) = batch(operations);
        let operations =
            ((operations as f64 * number("batchMillis") * 1000.0 / wall).ceil() as usize).max(1);
        let (mut cpu, mut walls, start) = (vec![], vec![], Instant::now());
        while cpu.len() < number("batches") as usize
            && (cpu.len() < 3 || start.elapsed().as_secs_f64() * 1000.0 < number("budgetMillis"))
        {
            let (spent, wall) = batch(operations);
            cpu.push(spent / operations as f64);
            walls.push(wall / operations as f64);
        }
        assert!(
            holds(self.runtime.block_on(operation())),
            "{scenario} gives a wrong result afterwards"
        );
        self.print(
            scenario,
            json!({"cpu": cpu, "wall": walls, "operations": operations}),
        );
    }

    /// Prints the bytes that a suspended agent holds, of 10,000.
    fn memory(&self, scenario: &str, make: impl Fn() -> Agent) {
        let count = 10_000;
        let before = allocated();
        let runs: Vec<_> = (0..count)
            .map(|_| {
                let agent = make();
                self.runtime
                    .spawn(async move { agent.execute(&AgentInput::from_text("test input")).await })
            })
            .collect();
        self.wait(300);
        assert!(
            runs.iter().all(|run| !run.is_finished()),
            "{scenario}: an agent did not wait"
        );
        let bytes = allocated().saturating_sub(before) / count;
        runs.iter().for_each(|run| run.abort());
        self.wait(100);
        self.print(scenario, json!({"bytes": bytes}));
    }

    fn wait(&self, millis: u64) {
        self.runtime
            .block_on(async { tokio::time::sleep(Duration::from_millis(millis)).await });
    }

    fn print(&self, scenario: &str, figures: Value) {
        let mut line = json!({
            "peer": "agent-runtime",
            "variant": self.variant,
            "version": "0.4.1",
            "language": "rust",
            "scenario": scenario,
            "checks": self.checks,
        });
        line.as_object_mut()
            .unwrap()
            .extend(figures.as_object().unwrap().clone());
        println!("{line}");
    }
}

fn cpu_micros() -> f64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut time) };
    time.tv_sec as f64 * 1e6 + time.tv_nsec as f64 / 1e3
}

/// Bytes in use, as the allocator counts them.
fn allocated() -> usize {
    let info = unsafe { libc::mallinfo2() };
    info.uordblks + info.hblkhd
}

fn text(output: &AgentOutput) -> &str {
    output.data["response"].as_str().unwrap_or("")
}

fn answers(expected: &'static str, calls: usize) -> impl Fn(AgentOutput) -> bool {
    move |output| text(&output) == expected && output.metadata.tool_calls_count == calls
}

fn checks(runtime: &Runtime) -> Value {
    RAN.store(0, Ordering::Relaxed);
    runtime.block_on(with_tool(three_tools(), 10));
    let ran = RAN.swap(0, Ordering::Relaxed);
    let invalid = json!({"operation": "add", "a": "five", "b": 3});
    let client = MockLlmClient::with_tool_then_text("calculator", invalid, "done");
    runtime.block_on(with_tool(client, 10));
    let ran_invalid = RAN.load(Ordering::Relaxed);
    let two =
        MockResponse::with_tool_calls(vec![("calculator", add(1, 1)), ("calculator", add(2, 1))]);
    let client = MockLlmClient::from_mock_responses(vec![two, MockResponse::text("done")]);
    let waiting = agent(client, waiting(Some(Duration::from_millis(20))), 10);
    let start = Instant::now();
    runtime
        .block_on(waiting.execute(&AgentInput::from_text("wait")))
        .unwrap();
    let millis = start.elapsed().as_secs_f64() * 1000.0;
    json!({
        "ranTools": ran == 3,
        "parallel": millis < 40.0,
        "parallelMillis": millis.round(),
        "validated": ran_invalid == 0,
        "invalid": if ran_invalid == 0 { "told to the model" } else { "tool ran" },
    })
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let effort: Value = serde_json::from_str(&args[3]).expect("an effort");
    let mut builder = if args[1] == "multi" {
        Builder::new_multi_thread()
    } else {
        Builder::new_current_thread()
    };
    let runtime = builder.enable_all().build().unwrap();
    let checks = checks(&runtime);
    let harness = Harness {
        runtime,
        variant: args[2].clone(),
        effort,
        checks,
    };

    harness.measure("no_tools", no_tools, answers("Test response from agent", 0));
    harness.measure(
        "one_tool",
        || with_tool(one_tool(), 10),
        answers("The result is 8", 1),
    );
    harness.measure(
        "three_tools",
        || with_tool(three_tools(), 10),
        answers("All calculations are done now", 3),
    );
    harness.measure(
        "ten_tools_one_turn",
        || with_tool(ten_in_one_turn(), 10),
        answers("The result is 8", 10),
    );
    harness.measure(
        "hundred_turns",
        || with_tool(turns(100), 101),
        answers("done", 100),
    );
    for agents in [1, 5, 10, 20, 50] {
        harness.measure(
            &format!("concurrent_agents/{agents}"),
            || concurrent(agents),
            |outputs| {
                outputs.len() == agents
                    && outputs
                        .iter()
                        .enumerate()
                        .all(|(i, o)| text(o) == format!("Response from agent {i}"))
            },
        );
    }
    harness.measure(
        "one_tool_events",
        with_events,
        answers("The result is 8", 1),
    );
    harness.measure("tool_execution_overhead", tool_overhead, |output| {
        output["result"] == 8.0
    });
    harness.measure("event_emission", event_emission, |received| received);
    harness.measure("tool_loop_detection", loop_detection, answers("Result", 2));
    if harness.effort["long"] != true {
        return;
    }
    harness.measure(
        "thousand_turns",
        || with_tool(turns(1000), 1001),
        answers("done", 1000),
    );
    harness.memory("memory_no_tools", || {
        let config = AgentConfig::builder("bench_agent")
            .system_prompt("You are a test agent")
            .build();
        Agent::new(config).with_client(Arc::new(Silent))
    });
    harness.memory("memory_one_tool", || agent(one_tool(), waiting(None), 10));
}
