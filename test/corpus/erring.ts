/** The same error whatever the arguments: reworded in vain, or put right step by step; and arguments that grow. */
import { here, no, ok, shape, times } from "./trace.ts"

/** Each call has other arguments. The human's mark is on the fifth: four different attempts had the same error. */
const reworded = (tool: string, attempts: ReadonlyArray<object>, error: (attempt: any) => unknown, mark = 4) =>
  attempts.map((params, i) => {
    const call = no(tool, params, error(params))
    return i === mark ? here(call) : call
  })

const list = (key: string, values: ReadonlyArray<unknown>, more: object = {}) =>
  values.map((value) => ({ [key]: value, ...more }))

export const erring = [
  ...shape(
    "other arguments, the same error",
    "Nothing in the arguments has to do with the error, as four attempts have shown.",
    {
      "no permission": reworded(
        "delete_file",
        list("path", ["/data/a", "/data/b", "/data/a/", "/data", "/data/*", "/data/c", "/data/d", "/data/e"]),
        () => "EACCES: permission denied"
      ),
      "a locked database": reworded(
        "sql",
        list(
          "statement",
          times(9, (i) => `UPDATE t SET a = ${i}`)
        ),
        () => "database is locked"
      ),
      "an invalid key": reworded(
        "web_search",
        list("query", ["tea", "green tea", "tea types", "best tea", "tea shop", "what is tea", "tea wiki"]),
        () => "401: the API key is not valid"
      ),
      "a used-up quota": reworded(
        "translate",
        list("text", ["Hello", "Hello!", "Hi", "Hey", "Good day", "Greetings", "Welcome"], { to: "de" }),
        () => ({ code: "quota_exceeded" })
      ),
      "a required field": reworded(
        "create_ticket",
        list("title", ["VPN", "VPN down", "VPN is down", "The VPN", "VPN problem", "VPN outage", "No VPN", "VPN!"]),
        () => "project is missing"
      ),
      "a closed shop": reworded(
        "checkout",
        times(8, (i) => ({ cart: "c1", attempt: i })),
        () => ({ status: 503, message: "closed for inventory" })
      ),
      "not in the sandbox": reworded(
        "shell",
        list("command", [
          "curl x.org",
          "wget x.org",
          "curl -L x.org",
          "python -c 'import urllib'",
          "nc x.org 80",
          "ping x.org",
          "curl -k x.org"
        ]),
        () => "network is disabled"
      ),
      "an old client": reworded(
        "http_request",
        list(
          "url",
          times(8, (i) => `https://api.example/v${i}/users`)
        ),
        () => "426 Upgrade Required"
      ),
      "a made-up tool": reworded(
        "browse",
        list("url", ["a.org", "b.org", "c.org", "d.org", "e.org", "f.org", "g.org"]),
        () => "there is no tool 'browse'; there are: fetch_page"
      ),
      "not JSON": times(8, (i) => {
        const call = no("write_file", `{"path": "a.ts", "text": "${"x".repeat(i)}"y"}`, "the arguments are not JSON")
        return i === 4 ? here(call) : call
      })
    }
  ),
  ...shape(
    "guesses at names",
    "The error names what was asked for, but it is the same error: there is no such thing.",
    {
      paths: reworded(
        "read_file",
        list("path", [
          "config.json",
          "src/config.json",
          "app/config.json",
          "config/config.json",
          "lib/config.json",
          "etc/config.json",
          "conf/config.json",
          "settings/config.json",
          "dist/config.json"
        ]),
        ({ path }) => `ENOENT: no such file or directory, open '${path}'`,
        5
      ),
      columns: reworded(
        "query_db",
        list(
          "sql",
          ["user_name", "username", "name", "login", "full_name", "nick", "display_name", "handle", "alias"].map(
            (column) => `SELECT ${column} FROM accounts`
          )
        ),
        ({ sql }) => `column "${sql.split(" ")[1]}" does not exist`,
        5
      ),
      ids: reworded(
        "get_ticket",
        list("id", ["SUP-1", "SUP-01", "SUP-001", "1", "sup-1", "SUP1", "SUP 1", "#1", "T-1"]),
        ({ id }) => ({ error: "not_found", message: `no ticket ${id}` }),
        5
      ),
      packages: reworded(
        "install_package",
        list("name", [
          "pdf-tool",
          "pdftool",
          "pdf_tool",
          "pdf-tools",
          "py-pdf-tool",
          "pdftools2",
          "pdf.tool",
          "pdfutil"
        ]),
        ({ name }) => `no matching distribution found for ${name}`,
        5
      ),
      functions: reworded(
        "run_python",
        list("code", [
          "df.sumall()",
          "df.total()",
          "df.sum_all()",
          "df.addup()",
          "df.grand_total()",
          "df.allsum()",
          "df.sums()",
          "df.summarise()"
        ]),
        ({ code }) => `AttributeError: 'DataFrame' object has no attribute '${code.slice(3, -2)}'`,
        5
      ),
      hosts: reworded(
        "connect",
        list("host", ["db", "db1", "database", "postgres", "pg", "sql", "db.local", "db.internal"], { port: 5432 }),
        ({ host }) => `getaddrinfo ENOTFOUND ${host}`,
        5
      ),
      "made-up tools": times(8, (i) => {
        const name = ["search", "google", "browse", "lookup", "find", "query", "internet", "web"][i]!
        const call = no(name, { q: "tea" }, `there is no tool '${name}'; there are: web_search`)
        return i === 5 ? here(call) : call
      })
    }
  ),
  ...shape(
    "the same error with a number of its own",
    "Only a request id, a time or a count in the error differs.",
    {
      "a request id": reworded(
        "geocode",
        list(
          "address",
          times(9, (i) => `Ring ${i + 1}, Wien`)
        ),
        ({ address }) => `internal error (request 8f3a${address.length * 7919}${address.slice(5, 7).trim()}c1)`
      ),
      "a time": reworded(
        "book_hotel",
        times(8, (i) => ({ hotel: i, nights: 2 })),
        ({ hotel }) => ({ error: "unavailable", at: `2026-03-01T10:0${hotel}:00Z` })
      ),
      "a duration": reworded(
        "query_db",
        list(
          "sql",
          times(9, (i) => `SELECT * FROM big WHERE k > ${i}`)
        ),
        ({ sql }) => `statement timeout after ${30000 + sql.length + Number(sql.at(-1))} ms`
      )
    },
    "one error after the other"
  ),
  ...shape("grows, and fails in the same way", "More of the same does not help against this error.", {
    "a longer text": reworded(
      "post_message",
      times(8, (i) => ({ channel: "x", text: "please ".repeat(i + 1) })),
      () => "channel_not_found"
    ),
    "more tags": reworded(
      "create_ticket",
      times(8, (i) => ({ title: "A", tags: times(i + 1, (n) => `t${n}`) })),
      () => "tags are not allowed here"
    ),
    "more recipients": reworded(
      "send_email",
      times(7, (i) => ({ to: times(i + 1, (n) => `u${n}@example.com`), subject: "Hi" })),
      () => "the mailbox is suspended"
    ),
    "longer timeouts": reworded(
      "connect",
      times(8, (i) => ({ host: "10.0.0.9", timeout: 1000 * 2 ** i })),
      () => "ECONNREFUSED"
    ),
    "deeper nesting": reworded(
      "update_row",
      times(8, (i) => ({ table: "t", value: times(i, String).reduce<unknown>((inner) => ({ inner }), 1) })),
      () => "value: expected a number"
    ),
    "more quotes": times(8, (i) => {
      const call = no(
        "shell",
        { command: `echo ${"\\".repeat(i)}"it's` },
        "unexpected EOF while looking for matching quote"
      )
      return i === 4 ? here(call) : call
    })
  }),
  ...shape(
    "grows, and gets the same",
    "The answer has been complete for long; asking for more of it brings nothing.",
    {
      "a limit": [10, 50, 100, 200, 500, 1000, 2000, 5000].map((limit, i) => {
        const call = ok("list_orders", { customer: 4, limit }, { total: 3, items: [1, 2, 3] })
        return i === 4 ? here(call) : call
      })
    },
    "asks the same of many things"
  ),
  ...shape(
    "thinks, and thinks on",
    "The thought grows by a few words each time; nothing is done.",
    {
      "about a plan": times(10, (i) => {
        const call = ok("think", { thought: `I should check the plan.${" And check again.".repeat(i)}` })
        return i === 4 ? here(call) : call
      })
    },
    "asks the same of many things"
  ),
  ...shape("grows, and gets more", "Each call asks for more than the last, and gets it.", {
    "a limit": [10, 20, 40, 80].map((limit) => ok("search_products", { query: "hub", limit }, times(limit, String))),
    "lines of a log": [50, 200, 1000].map((lines) => ok("pod_logs", { pod: "api-1", lines }, `${lines} lines`)),
    depth: [1, 2, 3, 4].map((depth) => ok("list_files", { path: ".", depth }, times(depth * 7, String))),
    "a document": times(6, (i) => ok("write_doc", { title: "Report", body: "Paragraph. ".repeat(i + 1) })),
    days: [7, 30, 90, 365].map((days) => ok("get_metrics", { metric: "sales", days }, days)),
    "a list of columns": times(4, (i) =>
      ok("query_db", { sql: `SELECT ${times(i + 1, (n) => `c${n}`).join()} FROM t` }, i)
    ),
    "a thought for each step": ["Read the file first.", "The bug is in parse.", "Fix: trim the input."].flatMap(
      (thought, i) => [ok("think", { thought }), ok("read_file", { path: `f${i}` }, "…")]
    ),
    "a timeout until it is enough": [
      ...[5, 15, 60].map((timeout) => no("run_python", { file: "train.py", timeout }, "timed out")),
      ok("run_python", { file: "train.py", timeout: 300 }, "done")
    ]
  }),
  ...shape("a few attempts, then right", "The same error twice to four times; then it is understood.", {
    "a path": [
      ...["a", "b", "c"].map((path) => no("read_file", { path }, `ENOENT: no such file, open '${path}'`)),
      ok("list_dir", { path: "." }, ["d"]),
      ok("read_file", { path: "d" }, "…")
    ],
    "a date": [
      ...["tomorrow", "4.5.", "May 4"].map((start) => no("create_event", { start }, "start: expected an ISO date")),
      ok("create_event", { start: "2026-05-04" })
    ],
    "a column": [
      ...["mail", "e_mail"].map((c) => no("query_db", { sql: `SELECT ${c} FROM u` }, `no column ${c}`)),
      ok("query_db", { sql: "SELECT email FROM u" }, [])
    ],
    "an edit": [
      ...["foo()", "foo( )", "foo ()", "foo(  )"].map((old) =>
        no("edit_file", { path: "a", old, new: "bar()" }, "the old text was not found")
      ),
      ok("read_file", { path: "a" }, "f00()"),
      ok("edit_file", { path: "a", old: "f00()", new: "bar()" })
    ],
    "a user": [
      no("get_user", { name: "ann" }, "404"),
      no("get_user", { name: "anna" }, "404"),
      no("get_user", { name: "anne" }, "404"),
      ok("get_user", { name: "annie" }, 4)
    ],
    "a currency": [
      ...["€", "Euro", "euros"].map((from) => no("convert_currency", { from, to: "USD" }, `unknown currency ${from}`)),
      ok("convert_currency", { from: "EUR", to: "USD" }, 1.1)
    ]
  }),
  ...shape("one error after the other", "Each call is refused for another reason, and the reason is dealt with.", {
    "a form": [
      "name is missing",
      "zip is missing",
      "zip: expected 4 digits",
      "terms must be accepted",
      "phone: not a number",
      "country: unknown"
    ].map((error, i) => no("submit_form", { step: i }, error)),
    "a query": [
      ...times(10, (i) => no("query_db", { sql: `SELECT … -- ${i}` }, `syntax error at line ${12 - i}`)),
      ok("query_db", { sql: "SELECT …" }, [[1]])
    ],
    "a configuration": [
      ...["port", "host", "user", "tls", "ca", "pool"].map((key, i) =>
        no("connect", { keys: i }, `unknown option '${key}'`)
      ),
      ok("connect", { keys: 0, clean: true })
    ],
    "a compiler": [...times(10, (i) => no("build", { fix: i }, `${10 - i} errors`)), ok("build", { fix: 10 }, "built")],
    "status codes": [401, 403, 404, 405, 415, 422].map((status, i) =>
      no("http_request", { url: "https://api.example", attempt: i }, `HTTP ${status}`)
    ),
    types: [
      ...["a", "b", "c", "d", "e"].map((name, i) =>
        no("run_python", { version: i }, `NameError: name '${name}' is not defined`)
      ),
      ok("run_python", { version: 5 }, "done")
    ]
  }),
  ...shape("many items, some of which fail in the same way", "The failures are as many as the items they belong to.", {
    links: times(12, (i) =>
      i % 4 === 3 ? no("fetch_page", { url: `/p${i}` }, "404") : ok("fetch_page", { url: `/p${i}` }, `page ${i}`)
    ),
    "users at once": [times(8, (i) => no("get_user", { id: i }, "404 not found")), [ok("create_user", { id: 0 })]],
    rows: times(10, (i) => (i % 2 === 0 ? no("insert_row", { id: i }, "duplicate key") : ok("insert_row", { id: i }))),
    domains: ["a", "b", "c", "d"].map((name) => no("check_domain", { name }, "not registered"))
  })
]
