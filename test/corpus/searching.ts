/** Looking for something: by refining, by enumerating, and by turning in circles. */
import { here, no, ok, rounds, shape, times } from "./trace.ts"

const searches = (tool: string, key: string, queries: ReadonlyArray<string>, more: object = {}) =>
  queries.map((query, i) => ok(tool, { [key]: query, ...more }, [`${tool} ${i}`]))

export const searching = [
  ...shape("refines a query", "Each query says it more exactly, and finds other things.", {
    "on the web": searches("web_search", "query", [
      "bun vs node",
      "bun vs node benchmark 2026",
      "bun vs node http throughput benchmark 2026 linux"
    ]),
    "in the news": searches("news_search", "q", [
      "strike",
      "rail strike",
      "rail strike germany",
      "rail strike germany march agreement"
    ]),
    "in code": searches("grep", "pattern", ["timeout", "timeoutMs", "timeoutMs\\s*=", "timeoutMs\\s*=\\s*30"], {
      path: "src"
    }),
    "for papers": searches(
      "arxiv_search",
      "query",
      ["loop detection", "loop detection llm agents", "tool call repetition language model agents"],
      { max: 20 }
    ),
    "in a knowledge base": searches("search_kb", "q", ["vpn", "vpn mac", "vpn mac certificate expired"]),
    "for flights, by day": ["2026-05-01", "2026-05-02", "2026-05-03"].map((date) =>
      ok("search_flights", { from: "VIE", to: "LIS", date }, [date])
    ),
    "with a wider radius": [1, 5, 20].map((km) => ok("search_hotels", { city: "Graz", km }, times(km, String))),
    "with operators": searches("search_emails", "q", [
      "invoice",
      "invoice from:acme",
      "invoice from:acme has:attachment",
      "invoice from:acme after:2026/01/01"
    ])
  }),
  ...shape("narrows with filters", "Each call has one filter more.", {
    hotels: [{}, { stars: 4 }, { stars: 4, pool: true }, { stars: 4, pool: true, max_price: 150 }].map((filter) =>
      ok("search_hotels", { city: "Split", ...filter }, filter)
    ),
    tickets: [{}, { state: "open" }, { state: "open", label: "p1" }].map((filter) =>
      ok("search_tickets", { q: "login", ...filter }, filter)
    ),
    logs: ["error", "error AND service:api", "error AND service:api AND NOT timeout"].map((query) =>
      ok("query_metrics", { query, hours: 24 }, query)
    ),
    jobs: [{ remote: false }, { remote: true }, { remote: true, lang: "en" }].map((filter) =>
      ok("search_jobs", { role: "nurse", ...filter }, [])
    )
  }),
  ...shape("searches, opens, searches on", "What was found leads to the next search.", {
    "a chip": ["H100", "H200", "B200"].flatMap((chip) => [
      ok("web_search", { query: `${chip} memory` }, [chip]),
      ok("fetch_page", { url: `https://x.example/${chip}` }, "…")
    ]),
    "a person": [
      ok("search_customers", { name: "Meyer" }, [3, 9]),
      ok("get_customer", { id: 3 }, "Linz"),
      ok("get_customer", { id: 9 }, "Graz"),
      ok("list_orders", { customer: 9 }, [70]),
      ok("get_order", { id: 70 }, { state: "sent" })
    ],
    "a bug": [
      ok("grep", { pattern: "NaN" }, ["price.ts:4"]),
      ok("read_file", { path: "price.ts" }, "parse(x)"),
      ok("grep", { pattern: "parse\\(" }, ["num.ts:1"]),
      ok("read_file", { path: "num.ts" }, "Number(x)"),
      ok("edit_file", { path: "num.ts", old: "Number(x)", new: "Number(x ?? 0)" })
    ],
    "at once": [
      [ok("wikipedia", { title: "Tea" }, "…"), ok("web_search", { query: "tea history" }, [1])],
      [ok("wikipedia", { title: "Camellia sinensis" }, "…"), ok("web_search", { query: "tea trade" }, [2])]
    ],
    "a recipe": [
      ok("search_recipes", { with: ["lentils"] }, [1, 2]),
      ok("open_doc", { recipe: 1 }, "needs cumin"),
      ok("search_recipes", { with: ["lentils"], without: ["cumin"] }, [2]),
      ok("open_doc", { recipe: 2 }, "needs salt")
    ]
  }),
  ...shape("finds nothing at first", "A few queries are empty; the next finds it.", {
    "a function": [
      ...searches("search_code", "q", ["fetchUser", "getUser", "loadUser"]).map((call) => ({ ...call, result: [] })),
      ok("search_code", { q: "user", kind: "function" }, ["readUser"])
    ],
    "an e-mail": [
      ok("search_emails", { q: "contract" }, []),
      ok("search_emails", { q: "agreement" }, []),
      ok("search_emails", { q: "signed pdf" }, ["m1"])
    ],
    "a product, in three shops": ["a", "b", "c"].map((shop) =>
      ok("search_products", { shop, query: "left-handed scissors" }, shop === "c" ? [1] : [])
    ),
    "a word": ["colour", "color", "hue", "tint"].map((term) =>
      ok("lookup_term", { term }, term === "tint" ? "…" : null)
    )
  }),
  ...shape("asks the same of many things", "The answers are all alike because the things are.", {
    "free names": ["nova", "luma", "kiro", "vexa", "tilo", "zuno", "orbi", "mira"].map((name) =>
      ok("check_domain", { name: `${name}.com` }, "taken")
    ),
    links: times(14, (i) => ok("check_url", { url: `https://docs.example/p${i}` }, 200)),
    "stock in branches": ["Linz", "Graz", "Wels", "Enns", "Steyr", "Wien", "Bregenz"].map((branch) =>
      ok("check_stock", { branch, product: 41 }, 0)
    ),
    "stock in branches, the first of which has some": times(10, (i) =>
      ok("check_stock", { branch: i, product: 41 }, i === 0 ? 12 : 0)
    ),
    "days, the last of which are free": times(13, (i) =>
      ok("list_events", { day: i + 1 }, i < 3 ? [`event ${i}`] : [])
    ),
    "rows without duplicates": times(10, (i) =>
      ok("query_db", { sql: `SELECT count(*) FROM t WHERE key = ${i}` }, [[1]])
    ),
    "writes that answer ok": times(12, (i) => ok("write_file", { path: `out/${i}.json`, text: `{"i":${i}}` }, "ok")),
    "mails that are no spam": times(9, (i) => ok("get_email", { id: i }, { spam: false }))
  }),
  ...shape(
    "rules out one after the other",
    "Each thing is looked for once, and that it is not there is the answer.",
    {
      "dead links": ["/a", "/b", "/c", "/d", "/e", "/f", "/g", "/h"].map((path) =>
        no("fetch_page", { url: `https://old.example${path}` }, "404 Not Found")
      )
    },
    "other arguments, the same error"
  ),
  ...shape(
    "looks for free names",
    "Each name is looked for once, and that nobody has it is the answer.",
    {
      "of users": ["ann", "bo", "cy", "di", "ed", "flo", "gus", "hal", "ida", "jo"].map((name) =>
        no("get_user", { name }, `there is no user '${name}'`)
      )
    },
    "guesses at names"
  ),
  ...shape("halves", "Each call halves what is left.", {
    "a number": [50, 25, 37, 43, 40].map((n) =>
      ok("test_value", { n }, n > 40 ? "too high" : n < 40 ? "too low" : "found")
    ),
    "a commit": ["v1.8", "v1.4", "v1.6", "v1.5"].flatMap((ref) => [
      ok("shell", { command: `git checkout ${ref}` }, ""),
      ok("run_tests", { filter: "date" }, ref < "v1.5" ? "pass" : "fail")
    ]),
    "a file": [
      [1, 800],
      [400, 800],
      [600, 800],
      [600, 700]
    ].map(([from, to]) => ok("view_range", { path: "big.sql", from, to }, "…"))
  }),
  ...shape(
    "rewords a query that finds nothing",
    "Eight wordings have found nothing: what is looked for is not there.",
    {
      "a setting": [
        "enable turbo mode",
        "turbo mode setting",
        "turn on turbo",
        "turbo option",
        "how to enable turbo",
        "activate turbo mode",
        "turbo mode config",
        "turbo flag",
        "turbo mode switch",
        "turbo parameter",
        "turbo setup"
      ].map((q, i) => {
        const call = ok("search_docs", { q }, [])
        return i === 8 ? here(call) : call
      }),
      "a person": [
        "J. Smithe",
        "John Smithe",
        "Smithe, John",
        "Jon Smithe",
        "Smithe J",
        "John A. Smithe",
        "Dr. Smithe",
        "Smithe",
        "john smithe",
        "Mr Smithe",
        "Smithe John"
      ].map((name, i) => {
        const call = ok("search_customers", { name }, [])
        return i === 8 ? here(call) : call
      })
    },
    "asks the same of many things"
  ),
  ...shape("the same query in other letters", "Case and blanks differ, which the tool declares to be the same.", {
    "a lamp": ["Desk lamp", "desk lamp", "desk  lamp", "DESK LAMP", " desk lamp"].map((query, i) => {
      const call = ok("product_search", { query }, [41, 42])
      return i === 2 ? here(call) : call
    }),
    "a cable": ["usb-c cable", "USB-C cable", "USB-C Cable", "usb-c Cable "].map((query, i) => {
      const call = ok("product_search", { query, page: 1 }, [7])
      return i === 2 ? here(call) : call
    })
  }),
  ...shape(
    "the same query in other letters, to a tool that does not say so",
    "A human sees that it is the same query.",
    {
      "a chair": [
        "Office chair",
        "office chair",
        "office  chair",
        "OFFICE CHAIR",
        "office Chair",
        " office chair",
        "Office Chair"
      ].map((query, i) => {
        const call = ok("search_shop", { query }, [1])
        return i === 2 ? here(call) : call
      })
    },
    "asks the same of many things"
  ),
  ...shape("goes round a few queries", "The queries were answered, and are asked again in the same order.", {
    "three on the web": rounds(
      3,
      searches("web_search", "query", ["mars distance", "mars distance km", "distance to mars"]),
      5
    ),
    "two in the docs": rounds(4, searches("search_docs", "q", ["auth", "authentication"]), 3),
    "search and open": rounds(
      4,
      [ok("web_search", { query: "sql upsert" }, ["a"]), ok("fetch_page", { url: "a" }, "…")],
      3
    ),
    "four places": rounds(
      3,
      ["wikipedia", "web_search", "news_search", "search_kb"].map((tool) => ok(tool, { q: "Enns" }, [])),
      6
    ),
    "grep and list": rounds(
      5,
      [
        ok("grep", { pattern: "foo" }, []),
        ok("list_dir", { path: "src" }, ["a"]),
        ok("glob", { pattern: "**/*.ts" }, ["a.ts"])
      ],
      5
    )
  })
]
