/** Calls that fail: tried again with reason, and without. */
import { again, here, no, ok, rounds, shape, times } from "./trace.ts"

/** The call fails so many times; the human's mark on one of them. */
const fails = (n: number, tool: string, params: object, error: unknown, mark?: number) =>
  again(n, no(tool, params, error), mark)

export const retrying = [
  ...shape("fails once, then works", "A transient failure is tried again.", {
    "a timeout": [
      ...fails(1, "web_search", { query: "gdp of chile" }, "timeout after 10 s"),
      ok("web_search", { query: "gdp of chile" }, ["imf.org"])
    ],
    "a deadlock": [
      no("sql", { statement: "UPDATE stock SET n = n - 1 WHERE id = 4" }, "deadlock detected"),
      ok("sql", { statement: "UPDATE stock SET n = n - 1 WHERE id = 4" }, "1 row")
    ],
    "a flaky test": [
      ok("edit_file", { path: "a.ts", old: "1", new: "2" }),
      no("run_tests", { filter: "a" }, "1 failed: timeout in beforeAll"),
      ok("run_tests", { filter: "a" }, "12 passed")
    ],
    "a server error on booking": [
      ok("search_flights", { from: "VIE", to: "OSL" }, ["OS301"]),
      no("book_flight", { flight: "OS301", seats: 2 }, { status: 502, message: "Bad Gateway" }),
      ok("book_flight", { flight: "OS301", seats: 2 }, { code: "X7PQ" })
    ],
    "a lock file": [
      no("git_commit", { message: "Fix typo" }, "fatal: Unable to create '.git/index.lock': File exists."),
      ok("git_commit", { message: "Fix typo" }, "[main 1a2b3c] Fix typo")
    ],
    "two of three at once": [
      [
        ok("fetch_page", { url: "a" }, "A"),
        no("fetch_page", { url: "b" }, "ECONNRESET"),
        no("fetch_page", { url: "c" }, "ECONNRESET")
      ],
      [ok("fetch_page", { url: "b" }, "B"), ok("fetch_page", { url: "c" }, "C")]
    ]
  }),
  ...shape("fails twice, then works", "The third attempt is within what one would try.", {
    "a geocoder": [
      ...fails(2, "geocode", { address: "Ring 1, Wien" }, "503"),
      ok("geocode", { address: "Ring 1, Wien" }, [48.2, 16.4])
    ],
    "with pauses": [
      no("get_invoice", { id: 1 }, "429"),
      ok("wait", { seconds: 10 }),
      no("get_invoice", { id: 1 }, "429"),
      ok("wait", { seconds: 20 }),
      ok("get_invoice", { id: 1 }, { total: 12 })
    ],
    "with two errors": [
      no("upload_file", { path: "a.pdf" }, "connection reset"),
      no("upload_file", { path: "a.pdf" }, "timeout"),
      ok("upload_file", { path: "a.pdf" }, "uploaded")
    ],
    "a slow start": [
      ok("start_vm", { name: "db" }),
      ...fails(2, "connect", { host: "db", port: 5432 }, "ECONNREFUSED"),
      ok("connect", { host: "db", port: 5432 }, "connected")
    ]
  }),
  ...shape(
    "fails, is put right, works",
    "The error was understood: the next call has other arguments, or something was mended first.",
    {
      "a wrong column": [
        no("query_db", { sql: "SELECT mail FROM users" }, 'column "mail" does not exist'),
        ok("describe_table", { table: "users" }, ["id", "email"]),
        ok("query_db", { sql: "SELECT email FROM users" }, [["a@b.c"]])
      ],
      "a missing field": [
        no("create_event", { title: "Sync" }, "start is missing"),
        no("create_event", { title: "Sync", start: "tomorrow" }, "start: expected an ISO date"),
        ok("create_event", { title: "Sync", start: "2026-05-04T10:00" }, { id: 1 })
      ],
      "a login": [
        no("list_invoices", { year: 2026 }, "401 token expired"),
        ok("refresh_token", { scope: "billing" }, "ok"),
        ok("list_invoices", { year: 2026 }, [1, 2])
      ],
      "a missing package": [
        no("run_python", { file: "plot.py" }, "ModuleNotFoundError: No module named 'matplotlib'"),
        ok("install_package", { name: "matplotlib" }, "installed"),
        no("run_python", { file: "plot.py" }, "ModuleNotFoundError: No module named 'seaborn'"),
        ok("install_package", { name: "seaborn" }, "installed"),
        no("run_python", { file: "plot.py" }, "FileNotFoundError: data.csv"),
        ok("download_csv", { url: "https://x.example/data.csv", to: "data.csv" }, "ok"),
        ok("run_python", { file: "plot.py" }, "saved plot.png")
      ],
      "malformed JSON": [
        no("write_file", '{"path": "a.md", "text": "# A', "the arguments are not JSON"),
        ok("write_file", { path: "a.md", text: "# A" }, "ok")
      ],
      "malformed JSON, twice": [
        no("write_sheet", '{"cell": "B2", "value": 1,}', "the arguments are not JSON"),
        no("write_sheet", '{"cell": "B2" "value": 1}', "the arguments are not JSON"),
        ok("write_sheet", { cell: "B2", value: 1 }, "ok")
      ],
      "a made-up tool": [
        no("google", { q: "tea" }, "there is no tool 'google'; there are: web_search"),
        ok("web_search", { query: "tea" }, ["tea.org"])
      ],
      "a flag that is off": [
        no("deploy", { app: "web" }, "deploys are frozen"),
        ok("set_flag", { name: "freeze", value: false }),
        ok("deploy", { app: "web" }, "started"),
        ok("set_flag", { name: "freeze", value: true })
      ]
    }
  ),
  ...shape("every item fails once", "Each is tried again and works; the failures are as many as the items.", {
    uploads: ["a", "b", "c", "d", "e"].flatMap((name) => [
      no("upload_file", { path: `${name}.png` }, "connection reset"),
      ok("upload_file", { path: `${name}.png` }, "ok")
    ]),
    "translations at once": [
      ["de", "fr", "it"].map((to) => no("translate", { text: "Hi", to }, "429 Too Many Requests")),
      ["de", "fr", "it"].map((to) => ok("translate", { text: "Hi", to }, to))
    ],
    "pages, twice each": ["/a", "/b", "/c", "/d"].flatMap((url) => [
      ...fails(2, "fetch_page", { url }, "timeout"),
      ok("fetch_page", { url }, "…")
    ])
  }),
  ...shape(
    "test, mend, test",
    "The tests fail again and again, each time after another edit, and with another result.",
    {
      "until green": [
        ...times(6, (i) => [
          no("run_tests", { suite: "unit" }, `${6 - i} failed`),
          ok("edit_file", { path: `src/${i}.ts`, old: "x", new: "y" })
        ]).flat(),
        ok("run_tests", { suite: "unit" }, "all passed")
      ],
      "a build, error after error": [
        ...["cannot find name 'Foo'", "missing return", "unused variable 'x'"].flatMap((error, i) => [
          no("build", { target: "web" }, error),
          ok("edit_file", { path: "src/main.ts", line: i, new: "…" })
        ]),
        ok("build", { target: "web" }, "built")
      ],
      "the same error until the cause is found": [
        ...["src/a.ts", "src/b.ts", "vite.config.ts"].flatMap((path) => [
          no("build", {}, "cannot resolve '@/lib'"),
          ok("read_file", { path }, "…"),
          ok("edit_file", { path, old: "lib", new: "@/lib" })
        ]),
        ok("build", {}, "built")
      ],
      "one hard test": [
        ...times(10, (i) => [
          no("run_tests", { name: "leap year" }, "1 failed: expected 29, was 28"),
          ok("edit_file", { path: "src/calendar.ts", line: i, new: "…" })
        ]).flat(),
        ok("run_tests", { name: "leap year" }, "1 passed")
      ],
      "by shell, where a failure is a text": [
        ...times(5, (i) => [
          ok("shell", { command: "cargo test" }, `exit 101: ${5 - i} failed`),
          ok("edit_file", { path: "src/lib.rs", old: `${i}`, new: `${i + 1}` })
        ]).flat(),
        ok("shell", { command: "cargo test" }, "exit 0")
      ],
      "a migration": [
        no("migrate", { to: 12 }, 'relation "a" exists'),
        ok("edit_file", { path: "12.sql", old: "CREATE TABLE a", new: "CREATE TABLE IF NOT EXISTS a" }),
        no("migrate", { to: 12 }, 'column "b" is null'),
        ok("edit_file", { path: "12.sql", old: "NOT NULL", new: "" }),
        ok("migrate", { to: 12 }, "ok")
      ]
    }
  ),
  ...shape(
    "a long outage",
    "Five attempts with pauses, then it works: patient, but no loop.",
    {
      "a rate limit": [
        ...times(4, () => [
          no("post_message", { channel: "ops", text: "Done" }, "429"),
          ok("wait", { seconds: 30 })
        ]).flat(),
        ok("post_message", { channel: "ops", text: "Done" }, "ok")
      ]
    },
    "fails for ever, with pauses"
  ),
  ...shape(
    "the same call, failing for ever",
    "Nothing has changed since it failed three times, and the error does not go away by itself.",
    {
      "a missing file": fails(7, "read_file", { path: "src/indx.ts" }, "ENOENT: no such file or directory", 3),
      "no permission": fails(6, "delete_file", { path: "/etc/hosts", force: true }, "EACCES: permission denied", 3),
      "a syntax error": fails(
        5,
        "query_db",
        { sql: "SELEC * FROM users", database: "crm" },
        'syntax error at or near "SELEC"',
        3
      ),
      "an invalid address": fails(
        8,
        "send_email",
        { to: "bob", subject: "Hi", body: "…" },
        "to: not an e-mail address",
        3
      ),
      "a missing argument": fails(
        6,
        "book_hotel",
        { city: "Rome", nights: 2 },
        { issue: "guests is missing", path: ["guests"] },
        3
      ),
      "a made-up tool": fails(
        9,
        "search_internet",
        { query: "news" },
        "there is no tool 'search_internet'; there are: web_search",
        3
      ),
      "arguments that are not JSON": times(6, (i) => {
        const call = no("write_file", '{"path": "a.ts", "text": "const a = "b""}', "the arguments are not JSON")
        return i === 3 ? here(call) : call
      }),
      "a wrong id": fails(5, "get_ticket", { id: "1182", fields: ["status"] }, "404 no ticket 1182", 3),
      "an edit that does not match": fails(
        10,
        "edit_file",
        { path: "a.ts", old: "foo( )", new: "foo()" },
        "the old text was not found",
        3
      ),
      "an error that numbers its requests": times(7, (i) => {
        const call = no("geocode", { address: "???" }, `400 bad request (request ${1000 + i * 37})`)
        return i === 3 ? here(call) : call
      }),
      "a declined card": fails(
        5,
        "charge_card",
        { customer: 8, amount: 120, currency: "EUR" },
        "card_declined: do_not_honor",
        3
      ),
      "after some work": [
        ok("list_dir", { path: "." }, ["Makefile", "src"]),
        ok("read_file", { path: "Makefile" }, "all: …"),
        ...fails(6, "shell", { command: "make instal" }, "No rule to make target 'instal'", 3)
      ]
    }
  ),
  ...shape("fails for ever, with pauses", "Waiting does not help against this error, as four attempts have shown.", {
    "a key that is not valid": times(6, (i) => {
      const call = no("stock_price", { symbol: "ABBN" }, "401 invalid API key")
      return [i === 3 ? here(call) : call, ok("wait", { seconds: 10 })]
    }).flat(),
    "a host that is not there": times(7, (i) => {
      const call = no("connect", { host: "db.intern", port: 5432 }, "ENOTFOUND")
      return [i === 3 ? here(call) : call, ok("wait", { seconds: 5 * 2 ** i })]
    }).flat(),
    "an account that is closed": times(5, (i) => {
      const call = no("charge_card", { account: 77, amount: 10 }, "account closed")
      return [i === 3 ? here(call) : call, ok("wait", { seconds: 60 })]
    })
      .flat()
      .slice(0, -1)
  }),
  ...shape("fails, looks, fails, looks", "The look shows the same each time, and the call is the same each time.", {
    "a file that is not there": rounds(
      5,
      [no("read_file", { path: "config.yml" }, "ENOENT"), ok("list_dir", { path: "." }, ["config.yaml"])],
      5
    ),
    "a wrong table": rounds(
      4,
      [
        no("query_db", { sql: "SELECT * FROM user" }, "no such table"),
        ok("list_tables", { schema: "public" }, ["users"])
      ],
      5
    ),
    "an unknown branch": rounds(
      6,
      [
        no("merge_branch", { from: "fix-1", to: "main" }, "unknown branch"),
        ok("git_log", { branch: "main", max: 5 }, ["c1"])
      ],
      5
    ),
    "a full room": rounds(
      4,
      [
        no("create_event", { room: "A", start: "09:00" }, "room is taken"),
        ok("free_slots", { room: "A", day: "Mon" }, ["11:00"])
      ],
      5
    )
  }),
  ...shape("two failing calls in turns", "Neither has worked in two attempts, nothing else is tried.", {
    "two paths": rounds(
      6,
      ["src/app.tsx", "app/app.tsx"].map((path) => no("read_file", { path }, "ENOENT")),
      5
    ),
    "two tools": rounds(
      5,
      [no("web_search", { query: "x" }, "quota exceeded"), no("news_search", { query: "x" }, "quota exceeded")],
      5
    ),
    "two spellings": rounds(
      7,
      ["Zurich", "Zürich"].map((city) => no("search_hotels", { city, nights: 1 }, { code: 500 })),
      5
    ),
    "commit and push": rounds(
      5,
      [
        no("git_commit", { message: "Fix" }, "nothing to commit"),
        no("git_push", { branch: "fix" }, "no upstream branch")
      ],
      5
    ),
    "login and fetch": rounds(
      6,
      [no("login", { user: "bot" }, "wrong password"), no("list_invoices", { year: 2026 }, "401")],
      5
    ),
    "two commands": rounds(
      5,
      ["npm run biuld", "yarn biuld"].map((command) => no("shell", { command }, "unknown script: biuld")),
      5
    )
  }),
  ...shape("the same failing calls at once, again", "The whole turn has failed three times.", {
    "three pages": times(6, (i) => {
      const turn = ["/a", "/b", "/c"].map((url) => no("fetch_page", { url }, "403 Forbidden"))
      return i === 3 ? turn.map(here) : turn
    }),
    "two messages": times(5, (i) => {
      const turn = ["ops", "dev"].map((channel) => no("post_message", { channel, text: "Done" }, "not_in_channel"))
      return i === 3 ? turn.map(here) : turn
    }),
    "one works, one does not": times(6, (i) => {
      const turn = [ok("get_user", { id: 1 }, "Ann"), no("get_user", { id: 0 }, "404")]
      return i === 2 ? turn.map(here) : turn
    })
  }),
  ...shape(
    "mends and fails with the same error",
    "Six edits have not changed the error; the seventh, of the same kind, will not either.",
    {
      "a build": times(10, (i) => {
        const build = no("build", { target: "app" }, "TS2307: cannot find module 'lodash-es'")
        return [i === 6 ? here(build) : build, ok("edit_file", { path: "tsconfig.json", key: `paths.${i}`, new: "…" })]
      }).flat()
    },
    "test, mend, test"
  )
]
