/** Cycles of several calls: to and fro, and rounds that do get somewhere. */
import { here, no, ok, rounds, shape, times } from "./trace.ts"

const read = (path: string) => ok("read_file", { path }, `text of ${path}`)

export const cycling = [
  ...shape("to and fro", "Two calls that only read, in turns; both answers are known.", {
    "two files": rounds(4, [read("a.ts"), read("b.ts")], 3),
    "search and page": rounds(
      3,
      [ok("web_search", { query: "tea", max: 5 }, ["t"]), ok("fetch_page", { url: "t" }, "tea")],
      3
    ),
    "list and get": rounds(5, [ok("list_tickets", { state: "open" }, [4]), ok("get_ticket", { id: 4 }, "printer")], 3),
    "order and customer": rounds(
      3,
      [ok("get_order", { id: 3 }, { customer: 8 }), ok("get_customer", { id: 8 }, { orders: [3] })],
      3
    ),
    "schema and count": rounds(
      4,
      [ok("describe_table", { table: "t" }, ["id"]), ok("query_db", { sql: "SELECT count(*) FROM t" }, [[0]])],
      3
    ),
    "two currencies": rounds(
      6,
      [
        ok("convert_currency", { from: "EUR", to: "USD", amount: 1 }, 1.1),
        ok("convert_currency", { from: "USD", to: "EUR", amount: 1.1 }, 1)
      ],
      3
    ),
    "definition and use": rounds(
      3,
      [ok("grep", { pattern: "def run" }, ["a.py:1"]), ok("grep", { pattern: "run\\(" }, ["b.py:2"])],
      3
    ),
    "page and screenshot": rounds(4, [ok("page_text", { tab: 1 }, "Sign in"), ok("screenshot", { tab: 1 }, "image")], 3)
  }),
  ...shape("rounds of several", "A longer round of calls that only read; the third in a row that brings nothing new.", {
    "three files": rounds(3, ["a", "b", "c"].map(read), 5),
    "four dashboards": rounds(
      3,
      ["cpu", "ram", "net", "disk"].map((metric) => ok("get_metrics", { metric, host: "w1" }, 0.2)),
      6
    ),
    "five tools": rounds(
      2,
      [
        ok("list_repos", {}, [1]),
        ok("list_issues", { repo: 1 }, [2]),
        ok("get_issue", { id: 2 }, "…"),
        ok("list_commits", { repo: 1 }, [3]),
        ok("git_diff", { commit: 3 }, "…")
      ],
      7
    ),
    "six cities": rounds(
      2,
      ["Rome", "Bern", "Oslo", "Paris", "Lima", "Cairo"].map((city) => ok("weather", { city }, 20)),
      8
    ),
    "with one that fails": rounds(4, [read("a"), no("read_file", { path: "b" }, "ENOENT"), read("c")], 5),
    "twenty tables": rounds(
      2,
      times(20, (i) => ok("describe_table", { table: `t${i}` }, ["id"])),
      22
    )
  }),
  ...shape("does and undoes", "Both states have been tried, and both are made once more.", {
    "a flag": rounds(
      4,
      [true, false].map((value) => ok("set_flag", { name: "new_ui", value })),
      3
    ),
    "a light": rounds(
      5,
      [80, 20].map((level) => ok("set_light", { device: "lamp", level })),
      3
    ),
    "a replica": rounds(
      4,
      [3, 2].map((replicas) => ok("scale_service", { name: "api", replicas })),
      3
    ),
    "moves an e-mail": rounds(
      4,
      ["archive", "inbox"].map((folder) => ok("move_email", { id: 5, folder })),
      3
    ),
    "a price": rounds(
      3,
      [19.9, 21.9].map((price) => ok("set_price", { product: 4, price })),
      3
    ),
    "deploys and rolls back": rounds(
      3,
      [ok("deploy", { app: "web", version: "9" }), ok("rollback", { app: "web" })],
      3
    ),
    "books and cancels": rounds(
      3,
      [ok("create_event", { title: "Sync", start: "10:00" }), ok("delete_event", { title: "Sync" })],
      3
    )
  }),
  ...shape("back to what has failed", "A version that has failed is written again, after the other that has failed.", {
    "two versions of a function": rounds(
      3,
      [
        ok("write_file", { path: "f.py", text: "def f(x): return x" }),
        ok("run_tests", { file: "f.py" }, "1 failed: f(-1)"),
        ok("write_file", { path: "f.py", text: "def f(x): return abs(x)" }),
        ok("run_tests", { file: "f.py" }, "1 failed: f(2)")
      ],
      4
    ),
    "two settings": rounds(
      3,
      [
        ok("edit_file", { path: "c.yml", old: "a", new: "b" }),
        no("build", {}, "invalid key b"),
        ok("edit_file", { path: "c.yml", old: "b", new: "a" }),
        no("build", {}, "invalid key a")
      ],
      4
    ),
    "two statements": rounds(
      3,
      [
        ok("sql", { statement: "CREATE INDEX i ON t (a)" }),
        ok("query_db", { sql: "EXPLAIN SELECT 1" }, "seq scan"),
        ok("sql", { statement: "DROP INDEX i" }),
        ok("query_db", { sql: "EXPLAIN SELECT 1" }, "seq scan")
      ],
      4
    )
  }),
  ...shape("writes and looks, the same each time", "It is written already, and the look has shown it.", {
    "a file": rounds(4, [ok("write_file", { path: "a", text: "1" }), ok("read_file", { path: "a" }, "1")], 2),
    "a cell": rounds(3, [ok("write_sheet", { cell: "A1", value: 5 }), ok("read_sheet", { range: "A1" }, [[5]])], 2),
    "a ticket": rounds(5, [ok("update_ticket", { id: 1, state: "open" }), ok("get_ticket", { id: 1 }, "open")], 2),
    "a thermostat": rounds(
      3,
      [ok("set_thermostat", { room: "hall", celsius: 21 }), ok("device_state", { device: "hall" }, 21)],
      2
    )
  }),
  ...shape("hands over to and fro", "Two agents hand the same user to each other.", {
    "billing and support": rounds(
      5,
      [ok("transfer_to_billing", { reason: "refund" }), ok("transfer_to_support", { reason: "defect" })],
      3
    ),
    "three teams": rounds(
      3,
      ["sales", "support", "billing"].map((team) => ok(`transfer_to_${team}`, { user: 5 })),
      5
    ),
    "without arguments": rounds(6, [ok("transfer_to_billing", {}), ok("transfer_to_support", {})], 3)
  }),
  ...shape("to and fro, several at once", "A round of turns with several calls each.", {
    "two and one": times(4, (i) => {
      const last = ok("get_config", { app: "x" }, {})
      return [[read("a"), read("b")], i === 1 ? here(last) : last]
    }).flat(),
    "two and two": times(3, (i) => {
      const second = [ok("list_alerts", { team: "a" }, []), ok("list_alerts", { team: "b" }, [])]
      return [["a", "b"].map((team) => ok("list_tickets", { team }, [])), i === 1 ? second.map(here) : second]
    }).flat()
  }),
  ...shape("edit, test, edit, test", "The tests are the same call each time, the edits are not.", {
    "a parser": times(6, (i) => [
      ok("edit_file", { path: "parse.ts", old: `v${i}`, new: `v${i + 1}` }),
      ok("run_tests", { suite: "parse" }, `${6 - i} failed`)
    ]).flat(),
    "a page": times(4, (i) => [
      ok("write_file", { path: "index.html", text: `<h${i + 1}>` }),
      ok("screenshot", { url: "localhost" }, `image ${i}`)
    ]).flat(),
    "a query": times(5, (i) => [
      ok("edit_file", { path: "q.sql", line: i, new: "…" }),
      ok("shell", { command: "psql -f q.sql" }, `${90 - i * 15} ms`)
    ]).flat(),
    "a file that is read again": times(5, (i) => [
      read("a.ts"),
      ok("edit_file", { path: "a.ts", old: `${i}`, new: `${i + 1}` })
    ]).flat(),
    "a document": times(4, (i) => [
      ok("append_file", { path: "report.md", text: `Section ${i}` }),
      ok("read_file", { path: "report.md" }, `…${i}`)
    ]).flat(),
    "with a formatter": times(3, (i) => [
      ok("edit_file", { path: "x.go", line: i, new: "y" }),
      ok("format", { path: "x.go" }),
      ok("build", {}, "ok")
    ]).flat(),
    "types and lint at once": times(4, (i) => [
      ok("edit_file", { path: `m${i}.ts`, old: "any", new: "unknown" }),
      [ok("shell", { command: "tsc" }, `${3 - i} errors`), ok("shell", { command: "oxlint" }, "ok")]
    ]).flat(),
    "a prompt": times(4, (i) => [
      ok("write_file", { path: "prompt.txt", text: `Be brief. ${i}` }),
      ok("run_python", { file: "eval.py" }, 0.5 + i / 10)
    ]).flat()
  }),
  ...shape("rounds over a list", "The same steps for each item of a list.", {
    commits: times(3, (i) => [
      ok("edit_file", { path: `f${i}`, old: "a", new: "b" }),
      ok("git_diff", {}, `f${i}`),
      ok("git_add", { path: "." }),
      ok("git_commit", { message: `Change f${i}` })
    ]).flat(),
    tickets: [4, 5, 6].flatMap((id) => [
      ok("get_ticket", { id }, "…"),
      ok("add_comment", { id, body: "Thanks" }),
      ok("close_ticket", { id })
    ]),
    images: ["a", "b", "c"].flatMap((name) => [
      ok("resize_image", { name, width: 800 }),
      ok("upload_file", { path: `${name}.png` })
    ]),
    rows: times(6, (i) => [
      ok("query_db", { sql: "SELECT * FROM todo WHERE done = 0 LIMIT 1" }, [i]),
      ok("update_row", { table: "todo", id: i, done: 1 })
    ]).flat(),
    "the inventory after each purchase": ["sword", "rope", "lamp"].flatMap((item) => [
      ok("add_to_cart", { item }),
      ok("inventory", {}, item),
      ok("get_balance", {}, item)
    ])
  }),
  ...shape("on and off, for a reason each time", "The same switch again, because something was done in between.", {
    "maintenance mode": ["12", "13"].flatMap((to) => [
      ok("set_flag", { name: "maintenance", value: true }),
      ok("migrate", { to }),
      ok("set_flag", { name: "maintenance", value: false })
    ]),
    "a branch": ["fix-1", "fix-2", "fix-3"].flatMap((name) => [
      ok("shell", { command: "git checkout main" }, ""),
      ok("create_branch", { name }),
      ok("git_commit", { message: name })
    ]),
    "a machine": ["a.py", "b.py"].flatMap((file) => [
      ok("start_vm", { name: "gpu" }),
      ok("run_python", { file }, "ok"),
      ok("stop_vm", { name: "gpu" })
    ]),
    "a light while measuring": [10, 20, 30].flatMap((exposure) => [
      ok("set_light", { level: 100 }),
      ok("generate_image", { exposure }, "image"),
      ok("set_light", { level: 0 })
    ]),
    "a service after each change": ["a", "b", "c"].flatMap((key) => [
      ok("update_row", { table: "config", key }),
      ok("restart_service", { name: "api" }),
      ok("get_metrics", { name: "api" }, key)
    ])
  }),
  ...shape("compares two versions", "Each is measured once more to be sure: slow, but a reason.", {
    "two indexes": ["a", "b", "a"].flatMap((index) => [
      ok("sql", { statement: `SET index = ${index}` }),
      ok("query_db", { sql: "EXPLAIN ANALYZE SELECT 1" }, `${index}: 12 ms`)
    ])
  })
]
