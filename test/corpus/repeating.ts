/** The same call again: the loop everyone knows, and work that looks like it. */
import type { Turn } from "./trace.ts"
import { again, here, no, ok, reordered, shape, times } from "./trace.ts"

const weather = ok("weather", { city: "Oslo", unit: "celsius", days: 3 }, { forecast: [4, 6, 5] })
const query = ok("query_db", { sql: "SELECT count(*) FROM orders WHERE status = 'open'", database: "shop" }, [[412]])
const file = (path: string, text: string) => ok("read_file", { path }, text)

export const repeating = [
  ...shape(
    "same question again",
    "Nothing has changed, the answer has been given twice, and the model asks for it a third time.",
    {
      "a web search": again(
        6,
        ok("web_search", { query: "effect typescript streams", max: 10 }, ["effect.website"]),
        2
      ),
      "the weather": again(5, weather, 2),
      "a count in a database": again(7, query, 2),
      "a source file": again(5, file("src/server.ts", "export const port = 3000"), 2),
      "a ticket": again(4, ok("get_ticket", { id: "SUP-1182", fields: ["status", "owner"] }, { status: "open" }), 2),
      "an empty directory": again(6, ok("list_dir", { path: "/var/log/app" }, []), 2),
      "a sum": again(9, ok("calculator", { operation: "multiply", a: 12.5, b: 8 }, { result: 100 }), 2),
      "free slots": again(5, ok("free_slots", { from: "2026-03-02", to: "2026-03-06", minutes: 30 }, ["Tue 10:00"]), 2),
      "a call without arguments": again(6, ok("list_channels", {}, ["general", "random"]), 2),
      "with a nested filter": again(
        5,
        ok("search_tickets", { filter: { state: "open", labels: ["p1"] }, sort: "age", limit: 20 }, []),
        2
      ),
      "an exchange rate": again(5, ok("convert_currency", { from: "EUR", to: "CHF", amount: 250 }, 241.3), 2),
      "a customer": again(4, ok("get_customer", { email: "ada@example.com" }, { id: 17, plan: "pro" }), 2)
    }
  ),
  ...shape("an act done twice", "It has been done. Once more is a second mail, charge or ticket.", {
    "an e-mail": again(4, ok("send_email", { to: "li@example.com", subject: "Invoice", body: "Attached." }, "sent"), 1),
    "a ticket": again(3, ok("create_ticket", { title: "VPN down", priority: "high", team: "network" }, { id: 91 }), 1),
    "a refund": again(5, ok("refund", { order: "A-773", amount: 49.9, reason: "damaged" }, { ok: true }), 1),
    "a chat message": again(4, ok("post_message", { channel: "ops", text: "Deploy finished" }, { ts: "1" }), 1),
    "a row": again(4, ok("insert_row", { table: "leads", values: { name: "Kim", source: "web" } }, { inserted: 1 }), 1),
    "a meeting": again(3, ok("create_event", { title: "Sync", start: "2026-04-01T09:00", minutes: 30 }, "created"), 1),
    "a comment with another id each time": [
      ok("add_comment", { issue: 55, body: "Fixed in main." }, { id: 1001 }),
      here(ok("add_comment", { body: "Fixed in main.", issue: 55 }, { id: 1002 })),
      ok("add_comment", { issue: 55, body: "Fixed in main." }, { id: 1003 })
    ],
    "a published post": again(3, ok("publish_post", { title: "Release 2.0", draft: 12 }, "published"), 1)
  }),
  ...shape("stuck at the end of good work", "After several useful calls the last one is made over and over.", {
    research: [
      ok("web_search", { query: "heat pump efficiency 2025" }, ["a.org/1", "b.org/2"]),
      ok("fetch_page", { url: "https://a.org/1" }, "COP of 3.2 to 4.5"),
      ok("fetch_page", { url: "https://b.org/2" }, "COP depends on the outside temperature"),
      ...again(5, ok("web_search", { query: "heat pump COP at -10 °C", region: "eu" }, ["c.org/3"]), 2)
    ],
    support: [
      ok("get_customer", { email: "bo@example.com" }, { id: 4 }),
      ok("list_orders", { customer: 4 }, [881, 882]),
      ok("get_order", { id: 882 }, { status: "lost in transit" }),
      ok("create_ticket", { title: "Order 882 lost", customer: 4 }, { id: "T-9" }),
      ...again(6, ok("get_ticket", { id: "T-9" }, { status: "open" }), 2)
    ],
    data: [
      ok("list_tables", {}, ["sales", "stores"]),
      ok("describe_table", { table: "sales" }, ["store_id", "day", "amount"]),
      ok("query_db", { sql: "SELECT store_id, sum(amount) FROM sales GROUP BY 1" }, [[1, 200]]),
      ...again(5, ok("describe_table", { table: "stores" }, ["id", "city"]), 2)
    ],
    travel: [
      ok("search_flights", { from: "VIE", to: "LIS", date: "2026-05-02" }, ["TP1273"]),
      ok("hold_seat", { flight: "TP1273", seat: "12A" }, "held"),
      ...again(4, ok("search_hotels", { city: "Lisbon", nights: 3, stars: 4 }, ["Hotel Avenida"]), 2)
    ],
    code: [
      ok("grep", { pattern: "parseDate", path: "src" }, ["src/date.ts:14"]),
      file("src/date.ts", "export const parseDate = …"),
      ok("edit_file", { path: "src/date.ts", old: "getMonth()", new: "getMonth() + 1" }, "ok"),
      ...again(6, file("src/date.ts", "export const parseDate = … + 1"), 2)
    ],
    "smart home": [
      ok("list_devices", {}, ["lamp", "heater"]),
      ok("set_light", { device: "lamp", level: 40 }, "ok"),
      ...again(5, ok("device_state", { device: "lamp" }, { level: 40 }), 2)
    ]
  }),
  ...shape("verifies for ever", "It was done, it was verified, and it is verified again and again.", {
    "an event": [
      ok("create_event", { title: "Dentist", start: "2026-06-11T15:00" }, { id: "e7" }),
      ...again(5, ok("get_event", { id: "e7", calendar: "private" }, { title: "Dentist" }), 2)
    ],
    "a file": [
      ok("write_file", { path: "notes.md", text: "# Notes" }, "ok"),
      ...again(6, file("notes.md", "# Notes"), 2)
    ],
    "a scaled service": [
      ok("scale_service", { name: "api", replicas: 5 }, "ok"),
      ...again(4, ok("list_pods", { service: "api", namespace: "prod" }, ["api-1", "api-2", "api-3"]), 2)
    ],
    "a spreadsheet cell": [
      ok("write_sheet", { sheet: "Q1", cell: "B7", value: 1200 }, "ok"),
      ...again(5, ok("read_sheet", { sheet: "Q1", range: "B7" }, [[1200]]), 2)
    ],
    "a user": [
      ok("create_user", { name: "kim", role: "viewer" }, { id: 9 }),
      ok("get_user", { id: 9 }, { role: "viewer" }),
      ok("list_users", { role: "viewer" }, [9]),
      ...again(4, ok("get_user", { id: 9 }, { role: "viewer" }), 1)
    ]
  }),
  ...shape(
    "cannot end: gives its answer again",
    "The answer was accepted; giving the same one again changes nothing.",
    {
      "a structured answer": again(6, ok("set_model_response", { city: "Wien", population: 2005760 }, "accepted"), 1),
      "a verdict": again(4, ok("submit_answer", { verdict: "spam", confidence: 0.93 }, "recorded"), 1),
      "a text": again(5, ok("final_answer", { text: "The meeting is on Tuesday." }, null), 1),
      "after research": [
        ok("web_search", { query: "capital of Kazakhstan" }, ["Astana"]),
        ...again(4, ok("submit_answer", { answer: "Astana", sources: ["wikipedia"] }, "ok"), 1)
      ]
    }
  ),
  ...shape(
    "cannot end: rewords its answer",
    "The answer was accepted; another wording of it is not progress.",
    {
      "of a capital": [
        ok("final_answer", { text: "The capital is Astana." }, "accepted"),
        ok("final_answer", { text: "Astana is the capital." }, "accepted"),
        here(ok("final_answer", { text: "It is Astana, the capital of Kazakhstan." }, "accepted")),
        ...times(5, (i) =>
          ok("final_answer", { text: `Astana is the capital of Kazakhstan${"!".repeat(i + 1)}` }, "accepted")
        )
      ]
    },
    "asks the same of many things"
  ),
  ...shape(
    "the same call with a new excuse",
    "Only the explanation differs, which the tool leaves out of the call's identity.",
    {
      "to view a file": [
        "Let me look at the file",
        "I need to check the current content",
        "Checking the file before I change it",
        "Verifying the content once more",
        "Looking at the implementation"
      ].map((explanation, i) => {
        const call = ok("view_file", { path: "lib/cart.py", explanation }, "def total(items): …")
        return i === 2 ? here(call) : call
      }),
      "to find a symbol": ["where is it defined", "find the definition", "locate it", "to see its uses"].map(
        (why, i) => {
          const call = ok("find_symbol", { why, symbol: "OrderService" }, ["src/order.ts:8"])
          return i === 2 ? here(call) : call
        }
      ),
      "to view a file, among other work": [
        ok("grep", { pattern: "TODO", path: "lib" }, ["lib/a.py:1"]),
        ok("view_file", { path: "lib/a.py", explanation: "the file with the TODO" }, "# TODO"),
        ok("view_file", { path: "lib/a.py", explanation: "to understand the TODO" }, "# TODO"),
        here(ok("view_file", { path: "lib/a.py", explanation: "before editing" }, "# TODO")),
        ok("view_file", { path: "lib/a.py", explanation: "one more look" }, "# TODO")
      ]
    }
  ),
  ...shape(
    "the same call with a new excuse, to a tool that does not say so",
    "A human sees that only the explanation differs.",
    {
      "to inspect a file": [
        "first look",
        "to be sure",
        "once more",
        "final check",
        "before answering",
        "to confirm",
        "again"
      ].map((reason, i) => {
        const call = ok("inspect_file", { path: "app.yaml", reason }, "replicas: 2")
        return i === 2 ? here(call) : call
      }),
      "with a request id": times(8, (i) => {
        const call = ok("inspect_record", { id: 31, request_id: `req-${7919 * (i + 3)}` }, { name: "Kim" })
        return i === 2 ? here(call) : call
      })
    },
    "asks the same of many things"
  ),
  ...shape("the same calls at once, again", "The whole turn repeats the last two.", {
    "three files": [
      ...times(5, (i) => {
        const turn = ["a.ts", "b.ts", "c.ts"].map((path) => file(path, `// ${path}`))
        return i === 2 ? turn.map(here) : turn
      })
    ],
    "two cities, in another order": times(5, (i): Turn => {
      const turn = ["Rome", "Bern"].map((city) => ok("weather", { city, unit: "celsius" }, 20))
      const mixed = i % 2 === 0 ? turn : turn.toReversed().map(reordered)
      return i === 2 ? mixed.map(here) : mixed
    }),
    "one call four times a turn": times(3, (i) => {
      const turn = times(4, () => ok("stock_price", { symbol: "NESN", exchange: "SIX" }, 81.2))
      return i === 1 ? turn.map(here) : turn
    }),
    "four metrics": times(4, (i) => {
      const turn = ["cpu", "memory", "disk", "network"].map((metric) =>
        ok("query_metrics", { metric, host: "web-1", minutes: 15 }, [0.4])
      )
      return i === 2 ? turn.map(here) : turn
    })
  }),
  ...shape("one look back", "A single second look at something seen long before; the work goes on.", {
    "at a file": [
      file("README.md", "# App"),
      file("src/a.ts", "a"),
      file("src/b.ts", "b"),
      ok("grep", { pattern: "main", path: "src" }, ["src/a.ts"]),
      file("README.md", "# App"),
      file("src/c.ts", "c")
    ],
    "at a table": [
      ok("describe_table", { table: "users" }, ["id", "mail"]),
      ok("describe_table", { table: "logins" }, ["user_id", "at"]),
      ok("query_db", { sql: "SELECT max(at) FROM logins" }, [["2026-01-04"]]),
      ok("describe_table", { table: "users" }, ["id", "mail"]),
      ok("query_db", { sql: "SELECT mail FROM users LIMIT 5" }, [["a@b.c"]])
    ],
    "at a search": [
      ok("web_search", { query: "sqlite wal mode" }, ["sqlite.org/wal.html"]),
      ok("fetch_page", { url: "sqlite.org/wal.html" }, "WAL …"),
      ok("web_search", { query: "sqlite wal mode" }, ["sqlite.org/wal.html"]),
      ok("web_search", { query: "sqlite wal checkpoint starvation" }, ["sqlite.org/wal.html#ckpt"])
    ],
    "at an order, twice": [
      ok("get_order", { id: 5 }, { total: 30 }),
      ok("get_invoice", { order: 5 }, { paid: false }),
      ok("get_order", { id: 5 }, { total: 30 }),
      ok("get_customer", { id: 2 }, { name: "Bo" }),
      ok("get_order", { id: 5 }, { total: 30 }),
      ok("send_email", { to: "bo@example.com", subject: "Reminder", body: "30 €" }, "sent")
    ],
    "at a configuration": [
      ok("get_config", { service: "api" }, { timeout: 30 }),
      ok("pod_logs", { pod: "api-1", lines: 200 }, "upstream timed out"),
      ok("get_config", { service: "gateway" }, { timeout: 10 }),
      ok("get_config", { service: "api" }, { timeout: 30 }),
      ok("get_metrics", { service: "gateway" }, { p99: 9.8 })
    ]
  }),
  ...shape(
    "looks back while exploring",
    "A reference page is opened again between new pages: wasteful, but it gets on.",
    {
      "an index page": ["install", "models", "views", "admin"].flatMap((page) => [
        ok("open_doc", { page: "index" }, ["install", "models", "views", "admin"]),
        ok("open_doc", { page }, `the ${page} page`)
      ]),
      "a directory": ["a", "b", "c"].flatMap((name) => [
        ok("list_dir", { path: "pkg" }, ["a", "b", "c"]),
        ok("list_dir", { path: `pkg/${name}` }, [`${name}.go`])
      ]),
      "a price list": [3, 8, 11].flatMap((id) => [
        ok("search_products", { query: "usb hub", sort: "price" }, [3, 8, 11]),
        ok("get_product", { id }, { ports: id })
      ])
    }
  ),
  ...shape(
    "reads again what it no longer sees",
    "Older results have left the context window; the files are needed for the edit that comes.",
    {
      "three files": [
        ...["a.ts", "b.ts", "c.ts", "d.ts", "e.ts", "f.ts"].map((path) => file(path, `// ${path}`)),
        ...["a.ts", "b.ts", "c.ts"].map((path) => file(path, `// ${path}`)),
        ok("edit_file", { path: "a.ts", old: "a", new: "b" })
      ]
    }
  ),
  ...shape("meant to be repeated", "The same call again is how one gets on with such a tool, and it is marked so.", {
    dice: times(6, (i) => ok("roll_dice", { sides: 6, count: 1 }, [(i * 5) % 6])),
    cards: times(5, (i) => ok("draw_card", { deck: "main" }, `card ${i * 9}`)),
    "tabs through a form": [
      ok("click", { selector: "#name" }, "focused"),
      ...times(4, () => ok("press_key", { key: "Tab" }, "ok")),
      ok("fill_form", { field: "zip", value: "1010" }, "ok"),
      ...times(3, () => ok("press_key", { key: "Tab" }, "ok")),
      ok("press_key", { key: "Enter" }, "ok")
    ],
    "scrolls and looks": times(6, (i) => [
      ok("scroll_down", { pixels: 600 }, "ok"),
      ok("screenshot", {}, `image ${i}`)
    ]).flat(),
    "walks and looks": ["hall", "stairs", "attic", "roof"].flatMap((room) => [
      ok("move", { direction: "north" }, "you walk"),
      ok("look", {}, `you see the ${room}`)
    ]),
    "works off a queue": [
      ...times(5, (i) => [
        ok("take_from_queue", { queue: "mail" }, { id: i }),
        ok("label_email", { id: i, label: i % 2 === 0 ? "bill" : "other" }, "ok")
      ]).flat(),
      ok("take_from_queue", { queue: "mail" }, null)
    ],
    "steps through a program": times(5, (i) => [
      ok("debugger_step", { thread: 1 }, `line ${i + 4}`),
      ok("locals", { frame: 0 }, { total: i * i })
    ]).flat(),
    "steps through a program whose line stays the same": times(4, (i) => [
      ok("debugger_step", { thread: 1 }, "line 12"),
      ok("locals", { frame: 0 }, { i, sum: (i * (i + 1)) / 2 })
    ]).flat()
  }),
  ...shape(
    "the same act twice on purpose",
    "The user wants two of them, and the tool is one that is not called so as a rule.",
    {
      "two of the same in a cart": [
        ok("search_products", { query: "desk lamp" }, [41]),
        ok("add_to_cart", { product: 41, quantity: 1 }, { items: 1 }),
        ok("add_to_cart", { product: 41, quantity: 1 }, { items: 2 }),
        ok("checkout", { cart: "c1" }, "ordered")
      ]
    }
  ),
  ...shape("nothing special", "Distinct calls that succeed.", {
    "four questions at once": [
      ["Graz", "Linz", "Wels", "Steyr"].map((city) => ok("weather", { city }, 12)),
      ok("final_answer", { text: "12 °C everywhere" }, "ok")
    ],
    sums: times(9, (i) => ok("calculator", { operation: "add", a: i, b: i + 1 }, { result: 2 * i + 1 })),
    "the same arguments to two tools": ["get_order", "get_invoice", "order_status"].map((tool) =>
      ok(tool, { id: 7 }, {})
    ),
    "one failure in the middle": [
      ok("get_user", { id: 1 }, "Ann"),
      no("get_user", { id: 2 }, "404 not found"),
      ok("get_user", { id: 3 }, "Cy")
    ],
    "two notes": [ok("note", { text: "buy milk" }), ok("note", { text: "buy milk and bread" })],
    translations: ["de", "fr", "it", "es", "pt"].map((to) => ok("translate", { text: "Thank you", to }, `(${to})`))
  })
]
