/** Whole runs of agents that get on with their work. */
import { no, ok, shape, times } from "./trace.ts"

export const working = shape("a whole run", "It goes from question to answer; what is repeated has a reason.", {
  "mends a bug": [
    ok("get_issue", { id: 341 }, "Dates are off by one month"),
    [
      ok("grep", { pattern: "getMonth", path: "src" }, ["src/date.ts:14"]),
      ok("glob", { pattern: "test/**/*date*" }, ["test/date.test.ts"])
    ],
    ok("read_file", { path: "src/date.ts" }, "getMonth()"),
    ok("read_file", { path: "test/date.test.ts" }, "…"),
    ok("run_tests", { filter: "date" }, "1 failed"),
    ok("edit_file", { path: "src/date.ts", old: "getMonth()", new: "getMonth() + 1" }),
    ok("run_tests", { filter: "date" }, "2 passed, 1 failed"),
    ok("read_file", { path: "src/date.ts" }, "getMonth() + 1"),
    ok("edit_file", { path: "src/date.ts", old: "+ 1", new: "+ 1 // months count from 0" }),
    ok("run_tests", { filter: "date" }, "3 passed"),
    ok("run_tests", {}, "120 passed"),
    ok("git_add", { path: "." }),
    ok("git_commit", { message: "Count months from 1" }, "[main 4c1]"),
    ok("git_push", { branch: "main" }, "ok")
  ],
  "plans a journey": [
    [
      ok("search_flights", { from: "VIE", to: "LIS", date: "2026-05-02" }, ["TP1273"]),
      ok("search_hotels", { city: "Lisbon", nights: 3 }, [4, 9])
    ],
    ok("weather", { city: "Lisbon" }, "sunny"),
    no("hold_seat", { flight: "TP1273", seat: "12A" }, "seat is taken"),
    no("hold_seat", { flight: "TP1273", seat: "12B" }, "seat is taken"),
    ok("hold_seat", { flight: "TP1273", seat: "14C" }, "held"),
    ok("book_flight", { flight: "TP1273", seat: "14C" }, "X7PQ"),
    ok("book_hotel", { hotel: 9, nights: 3 }, "confirmed"),
    ok("create_event", { title: "Lisbon", start: "2026-05-02" }),
    ok("send_email", { to: "me@example.com", subject: "Lisbon", body: "X7PQ" })
  ],
  "answers a customer": [
    ok("search_customers", { email: "bo@example.com" }, [4]),
    ok("list_orders", { customer: 4 }, [881, 882]),
    ok("get_order", { id: 881 }, "delivered"),
    ok("get_order", { id: 882 }, "lost"),
    ok("search_kb", { q: "lost parcel" }, ["refund within 30 days"]),
    ok("refund", { order: 882, amount: 30 }),
    ok("get_order", { id: 882 }, "refunded"),
    ok("add_comment", { order: 882, body: "Refunded" }),
    ok("close_ticket", { id: 7 })
  ],
  "analyses data": [
    ok("list_files", { folder: "data" }, ["sales.csv"]),
    ok("column_stats", { file: "sales.csv" }, ["day", "amount"]),
    ok("run_python", { code: "df = read('sales.csv')" }, ""),
    no("run_python", { code: "df.groupby('month')" }, "KeyError: 'month'"),
    ok("run_python", { code: "df['month'] = df.day.dt.month" }, ""),
    ok("run_python", { code: "df.groupby('month').sum()" }, [1, 2]),
    ok("run_python", { code: "plot(df)" }, "plot.png"),
    ok("write_doc", { title: "Sales", body: "…" }),
    ok("final_answer", { text: "May was best." })
  ],
  deploys: [
    ok("git_log", { max: 5 }, ["c1"]),
    ok("build", {}, "built"),
    ok("run_tests", {}, "passed"),
    ok("deploy", { app: "web", env: "staging" }, "started"),
    ...["rolling", "rolling", "live"].map((state) => ok("deploy_status", { app: "web" }, state)),
    ok("check_url", { url: "https://staging.example/health" }, 200),
    ok("deploy", { app: "web", env: "prod" }, "started"),
    ...["rolling", "live"].map((state) => ok("deploy_status", { app: "web" }, state)),
    ok("check_url", { url: "https://example.com/health" }, 200),
    ok("post_message", { channel: "ops", text: "2.1 is live" })
  ],
  "sorts the inbox": [
    ok("list_emails", { folder: "inbox" }, [1, 2, 3]),
    ...[1, 2, 3].flatMap((id) => [
      ok("get_email", { id }, `mail ${id}`),
      ok("label_email", { id, label: id === 2 ? "bill" : "news" })
    ]),
    ok("archive_email", { id: 1 }),
    ok("archive_email", { id: 3 }),
    ok("list_emails", { folder: "inbox" }, [2])
  ],
  "handles an incident": [
    ok("list_alerts", { state: "firing" }, ["api p99"]),
    [
      ok("get_metrics", { service: "api" }, { p99: 9 }),
      ok("pod_logs", { pod: "api-1" }, "timeout"),
      ok("list_pods", { app: "api" }, 2)
    ],
    ok("scale_service", { name: "api", replicas: 4 }),
    ok("get_metrics", { service: "api" }, { p99: 6 }),
    ok("list_commits", { since: "2h" }, ["c9"]),
    ok("git_diff", { commit: "c9" }, "…"),
    ok("rollback", { app: "api" }),
    ok("get_metrics", { service: "api" }, { p99: 0.3 }),
    ok("list_alerts", { state: "firing" }, []),
    ok("post_message", { channel: "incidents", text: "Resolved" })
  ],
  "finds a time for a meeting": [
    ["ann", "bo", "cy"].map((user) => ok("free_slots", { user, day: "Mon" }, [])),
    ["ann", "bo", "cy"].map((user) => ok("free_slots", { user, day: "Tue" }, ["10:00"])),
    ok("create_event", { title: "Sync", start: "Tue 10:00", users: ["ann", "bo", "cy"] }),
    ok("send_email", { to: "all@example.com", subject: "Sync" })
  ],
  computes: times(12, (i) =>
    ok("calculator", { operation: ["add", "multiply", "subtract"][i % 3], a: i + 1, b: 3 }, { result: i })
  ),
  researches: [
    ok("web_search", { query: "heat pump subsidy austria" }, ["a", "b", "c"]),
    ["a", "b", "c"].map((url) => ok("fetch_page", { url }, `page ${url}`)),
    ok("web_search", { query: "heat pump subsidy austria 2026 amount" }, ["d"]),
    no("fetch_page", { url: "d" }, "403"),
    ok("web_search", { query: "heat pump subsidy austria press" }, ["e"]),
    ok("fetch_page", { url: "e" }, "up to 75 %"),
    ok("note", { text: "75 %" }),
    ok("final_answer", { text: "Up to 75 % in 2026." })
  ],
  "fills in a form in a browser": [
    ok("screenshot", {}, "empty form"),
    ok("click", { selector: "#name" }),
    ok("fill_form", { field: "name", value: "Kim" }),
    ok("screenshot", {}, "name filled"),
    ok("press_key", { key: "Tab" }),
    ok("fill_form", { field: "zip", value: "1010" }),
    ok("press_key", { key: "Tab" }),
    ok("screenshot", {}, "both filled"),
    ok("submit_form", {}, "ok"),
    ok("page_text", {}, "Thank you")
  ],
  "migrates a module": times(6, (i) => [
    ok("read_file", { path: `src/m${i}.js` }, "…"),
    ok("write_file", { path: `src/m${i}.ts`, text: "…" }),
    ok("delete_file", { path: `src/m${i}.js` }),
    ok("build", {}, i < 5 ? `${5 - i} errors` : "built")
  ]).flat()
})
