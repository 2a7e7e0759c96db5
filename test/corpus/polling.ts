/** Waiting for something: the same question on purpose, and for nothing. */
import { again, here, no, ok, shape, times } from "./trace.ts"

const polls = (tool: string, params: object, results: ReadonlyArray<unknown>) =>
  results.map((result) => ok(tool, params, result))

const paused = (tool: string, params: object, results: ReadonlyArray<unknown>, seconds = 30) =>
  polls(tool, params, results).flatMap((poll, i) => (i === 0 ? [poll] : [ok("wait", { seconds }, "ok"), poll]))

export const polling = [
  ...shape(
    "a poll until it is done",
    "The tool is made to be asked again and is marked so; the answer comes in the end.",
    {
      "a job": polls("job_status", { id: "j1" }, ["queued", "queued", "running", "running", "running", "done"]),
      "a build with percentages": polls("build_status", { branch: "main" }, [5, 30, 55, 80, 100]),
      "an export, many times": polls("export_status", { id: 7, verbose: false }, [
        ...times(40, () => "pending"),
        "ready"
      ]),
      "a long job": polls("job_status", { id: "j7" }, ["queued", ...times(9, () => "running"), "done"]),
      "a slow deployment": paused("deploy_status", { app: "db" }, ["queued", ...times(7, () => "rolling"), "live"]),
      "a payment": polls("payment_status", { id: "pi_3" }, ["processing", "processing", "succeeded"]),
      "a machine": [
        ok("start_vm", { name: "gpu-1", size: "a2" }, "starting"),
        ...polls("vm_status", { name: "gpu-1" }, ["starting", "starting", "starting", "running"]),
        ok("shell", { command: "nvidia-smi" }, "ok")
      ],
      "a transcription, failing once": [
        ...polls("transcription_status", { id: "t4" }, ["queued", "running"]),
        no("transcription_status", { id: "t4" }, "503 Service Unavailable"),
        ...polls("transcription_status", { id: "t4" }, ["running", "completed"]),
        ok("get_transcript", { id: "t4" }, "…")
      ]
    }
  ),
  ...shape("a poll with pauses", "Wait, ask, wait, ask: both are meant to be repeated.", {
    "a deployment": [
      ok("deploy", { app: "web", version: "2.1" }, "started"),
      ...paused("deploy_status", { app: "web" }, ["rolling", "rolling", "rolling", "live"])
    ],
    "a queue": paused("queue_length", { queue: "mail" }, [40, 31, 12, 0], 60),
    "an inbox": [
      ok("send_email", { to: "vendor@example.com", subject: "Quote?", body: "…" }, "sent"),
      ...paused("check_inbox", { from: "vendor@example.com" }, [[], [], [], ["Re: Quote?"]], 300)
    ],
    "a cancelled job": [
      ok("cancel_job", { id: 3 }, "cancelling"),
      ...paused("job_status", { id: 3 }, ["cancelling", "cancelling", "cancelled"], 5)
    ],
    "the clock": [
      ...paused("current_time", { zone: "Europe/Vienna" }, ["08:58", "08:59", "09:00"], 60),
      ok("post_message", { channel: "all", text: "Good morning" })
    ]
  }),
  ...shape("polls and reads", "A poll has something new to say, and what is read beside it has changed too.", {
    "the log of a build": times(4, (i) => [
      ok("build_status", { id: 12 }, `step ${i + 1} of 4`),
      ok("pod_logs", { pod: "build-12", lines: 50 }, `step ${i + 1} …`)
    ]).flat(),
    "the rows of an import": times(3, (i) => [
      ok("get_progress", { id: "imp" }, { rows: 1000 * (i + 1) }),
      ok("query_db", { sql: "SELECT count(*) FROM staging" }, [[1000 * (i + 1)]])
    ]).flat(),
    "the pods of a rollout": [
      ok("deploy", { app: "api", version: "5" }, "ok"),
      ...["1 of 3", "2 of 3", "3 of 3"].flatMap((state) => [
        ok("deploy_status", { app: "api" }, state),
        ok("list_pods", { app: "api" }, `${state} new`)
      ])
    ]
  }),
  ...shape("several polls at once", "Each turn asks for all of them.", {
    "three jobs": times(4, (i) => [1, 2, 3].map((id) => ok("job_status", { id }, i >= id ? "done" : "running"))),
    "a build and a deployment": times(3, (i) => [
      ok("build_status", { branch: "main" }, i > 0 ? "green" : "running"),
      ok("deploy_status", { app: "web" }, i > 1 ? "live" : "waiting")
    ]),
    "two machines": [
      [ok("start_vm", { name: "a" }), ok("start_vm", { name: "b" })],
      ...times(4, (i) => ["a", "b"].map((name) => ok("vm_status", { name }, i === 3 ? "running" : "starting")))
    ]
  }),
  ...shape("waits longer each time", "Distinct arguments, and the answer changes in the end.", {
    "back-off in the call": [5, 10, 20, 40].map((wait) =>
      ok("job_info", { id: "j9", wait_seconds: wait }, wait < 40 ? "running" : "done")
    ),
    "back-off in the pause": [2, 4, 8, 16].flatMap((seconds) => [
      ok("wait", { seconds }, "ok"),
      ok("deploy_status", { app: "web" }, seconds < 16 ? "rolling" : "live")
    ]),
    "by shell": [10, 20, 30].map((s) =>
      ok("shell", { command: `sleep ${s} && kubectl get job migrate` }, s < 30 ? "0/1" : "1/1")
    )
  }),
  ...shape("polls by shell", "A human sees that a pause and a question about a state are repeated on purpose.", {
    "a release": [
      ok("shell", { command: "gh workflow run release" }, ""),
      ...["queued", "in_progress", "success"].flatMap((state) => [
        ok("shell", { command: "sleep 60" }, ""),
        ok("shell", { command: "gh run view --json status" }, state)
      ])
    ]
  }),
  ...shape(
    "polls with a tool that is not marked",
    "A human sees that the answer may change, whatever the annotation says.",
    {
      "a report": ["202 accepted", "202 accepted", "200 report ready"].map((result) =>
        ok("http_request", { method: "GET", url: "https://reports.example/r/5" }, result)
      )
    },
    "an act done twice"
  ),
  ...shape("polls until it is there", "The poll fails as long as what it asks for has not started; then it works.", {
    "a server": [
      ...times(9, () => no("vm_status", { name: "db" }, "404 no such machine")),
      ok("vm_status", { name: "db" }, "running")
    ],
    "a job, with pauses": [
      ok("start_job", { name: "index" }, { id: 8 }),
      ...times(5, () => [no("job_status", { id: 8 }, "404 not scheduled yet"), ok("wait", { seconds: 10 })]).flat(),
      ok("job_status", { id: 8 }, "running")
    ]
  }),
  ...shape(
    "polls what is over",
    "The answer is final, and the model goes on asking.",
    {
      "a failed job": [
        ...polls("job_status", { id: "j5" }, ["running", "failed", "failed"]),
        here(ok("job_status", { id: "j5" }, "failed")),
        ...times(10, () => ok("job_status", { id: "j5" }, "failed"))
      ],
      "a deployment that was rolled back, with pauses": [
        ...paused("deploy_status", { app: "web" }, ["rolling", "rolled back", "rolled back"]),
        ok("wait", { seconds: 30 }),
        here(ok("deploy_status", { app: "web" }, "rolled back")),
        ...times(8, () => [ok("wait", { seconds: 30 }), ok("deploy_status", { app: "web" }, "rolled back")]).flat()
      ]
    },
    "a poll until it is done"
  ),
  ...shape(
    "polls what was never there",
    "The job does not exist, and asking again will not make it.",
    {
      "an undefined id": times(12, (i) => {
        const call = no("job_status", { id: "undefined" }, "404 no such job")
        return i === 3 ? here(call) : call
      })
    },
    "polls until it is there"
  ),
  ...shape(
    "reads instead of polling",
    "A tool that only reads gives the same answer, and nothing is being waited for.",
    {
      alerts: again(6, ok("list_alerts", { state: "firing", team: "db" }, []), 2),
      "the state of a sensor": again(8, ok("sensor_state", { id: "door", unit: "bool" }, false), 2),
      "the metrics of yesterday": again(5, ok("query_metrics", { day: "2026-02-01", metric: "p99" }, [12]), 2)
    }
  )
]
