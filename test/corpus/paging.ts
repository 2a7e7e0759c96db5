/** Going through pages, and getting lost in them. */
import { again, here, no, ok, rounds, shape, times } from "./trace.ts"

const pages = (n: number, tool: string, params: object, from = 1) =>
  times(n, (i) => ok(tool, { ...params, page: from + i }, [`item ${10 * (from + i)}`]))

const cursors = (tool: string, params: object, tokens: ReadonlyArray<string>) =>
  [undefined, ...tokens].map((cursor, i) =>
    ok(tool, cursor === undefined ? params : { ...params, cursor }, { items: [i], next: tokens[i] ?? null })
  )

export const paging = [
  ...shape("page by page", "Each call asks for the next page.", {
    issues: pages(7, "list_issues", { repo: "core", state: "open", per_page: 50 }),
    invoices: pages(12, "list_invoices", { year: 2025 }),
    "users, as text": times(5, (i) => ok("list_users", { page: String(i + 1), org: "acme" }, [i])),
    "tickets from page 0": pages(4, "list_tickets", { queue: "billing" }, 0),
    "a hundred pages": pages(100, "search_products", { query: "cable" })
  }),
  ...shape("by offset", "Each call asks for what follows the last.", {
    rows: times(8, (i) => ok("query_db", { sql: `SELECT * FROM events LIMIT 100 OFFSET ${i * 100}` }, [i])),
    "e-mails": times(6, (i) => ok("list_emails", { folder: "inbox", limit: 25, offset: 25 * i }, [i])),
    "orders, with a short last page": times(4, (i) =>
      ok("list_orders", { offset: i * 10, limit: 10 }, times(i < 3 ? 10 : 2, String))
    ),
    "results of a search": times(5, (i) => ok("search_kb", { q: "refund", start: i * 20, rows: 20 }, [i])),
    "commits by skip": times(9, (i) => ok("list_commits", { branch: "main", skip: 30 * i }, [`c${i}`]))
  }),
  ...shape("by cursor", "Each call carries the cursor of the last result.", {
    channels: cursors("list_channels", { limit: 100 }, ["dGVhbTpDMDY=", "dGVhbTpDMDc=", "dGVhbTpDMDg="]),
    repositories: cursors("list_repos", { first: 50, org: "effect" }, ["Y3Vyc29yOjUw", "Y3Vyc29yOjEwMA=="]),
    transactions: cursors("list_transactions", { account: "DE12" }, ["t_900", "t_800", "t_700", "t_600", "t_500"]),
    messages: cursors("read_channel", { channel: "dev" }, ["1711.01", "1710.33", "1709.70"]),
    files: cursors("list_files", { folder: "root", order: "name" }, ["p2", "p3"])
  }),
  ...shape("a file in pieces", "Each call reads the next lines.", {
    "200 lines each": times(6, (i) =>
      ok("view_range", { path: "engine.c", from: i * 200 + 1, to: i * 200 + 200 }, `${i}`)
    ),
    "from a search hit outwards": [
      ok("grep", { pattern: "panic", path: "kernel.log" }, ["812: panic"]),
      ok("view_range", { path: "kernel.log", from: 800, to: 820 }, "…"),
      ok("view_range", { path: "kernel.log", from: 760, to: 840 }, "…"),
      ok("view_range", { path: "kernel.log", from: 700, to: 760 }, "…")
    ],
    "by shell": times(5, (i) =>
      ok("shell", { command: `sed -n '${i * 80 + 1},${i * 80 + 80}p' main.rs` }, `part ${i}`)
    ),
    "a transcript by time": times(4, (i) =>
      ok("get_transcript", { video: "v1", from: i * 600, to: (i + 1) * 600 }, "…")
    )
  }),
  ...shape("a page fails once", "The failed page is asked for again, then the next.", {
    "a timeout": [
      ...pages(2, "list_issues", { repo: "web" }),
      no("list_issues", { repo: "web", page: 3 }, "504 Gateway Timeout"),
      ...pages(3, "list_issues", { repo: "web" }, 3)
    ],
    "a rate limit, twice": [
      ...pages(3, "list_users", { org: "acme" }),
      no("list_users", { org: "acme", page: 4 }, "429 Too Many Requests"),
      ok("wait", { seconds: 20 }, "ok"),
      no("list_users", { org: "acme", page: 4 }, "429 Too Many Requests"),
      ok("wait", { seconds: 20 }, "ok"),
      ...pages(2, "list_users", { org: "acme" }, 4)
    ],
    "an expired cursor": [
      ...cursors("list_transactions", { account: "AT61" }, ["t9", "t8"]),
      no("list_transactions", { account: "AT61", cursor: "t7" }, "cursor expired"),
      ok("list_transactions", { account: "AT61", before: "2025-11-02" }, [4])
    ],
    "every page once": times(4, (i) => [
      no("search_kb", { q: "vpn", page: i + 1 }, "connection reset"),
      ok("search_kb", { q: "vpn", page: i + 1 }, [i])
    ]).flat()
  }),
  ...shape("by date", "Each call asks for the next days.", {
    "weeks of a calendar": ["02", "09", "16", "23"].map((day) =>
      ok("list_events", { from: `2026-03-${day}`, days: 7 }, [])
    ),
    "days without entries": times(8, (i) => ok("list_events", { day: `2026-07-0${i + 1}`, calendar: "team" }, [])),
    "months of sales": times(12, (i) =>
      ok("query_db", { sql: `SELECT sum(amount) FROM sales WHERE month = ${i + 1}` }, [[i]])
    ),
    "backwards in the news": [2026, 2025, 2024, 2023].map((year) => ok("news_search", { topic: "chips", year }, [year]))
  }),
  ...shape("the tool keeps the place", "The same call gives the next page, and the tool is marked so.", {
    "next page": [
      ok("fetch_page", { url: "shop.example/list" }, "page 1"),
      ...times(5, (i) => ok("next_page", {}, `page ${i + 2}`))
    ],
    "next row": times(8, (i) => ok("next_row", { result_set: "r1" }, [i, `name ${i}`])),
    "next page, reading each": times(4, (i) => [
      ok("next_page", { tab: 1 }, "ok"),
      ok("page_text", { tab: 1 }, `text ${i}`)
    ]).flat()
  }),
  ...shape("several pages at once", "Distinct calls in each turn.", {
    "three and three": times(3, (t) => times(3, (i) => ok("list_issues", { repo: "api", page: 3 * t + i + 1 }, [i]))),
    "two sources in step": times(4, (i) => [
      ok("list_orders", { page: i + 1 }, [i]),
      ok("list_invoices", { page: i + 1 }, [i])
    ]),
    "ten offsets in one turn": [times(10, (i) => ok("list_emails", { offset: i * 50 }, [i]))]
  }),
  ...shape("the same pages of something else", "The page numbers repeat, what is paged through does not.", {
    "two repositories": ["ui", "api"].flatMap((repo) => pages(3, "list_issues", { repo })),
    "open, then closed": ["open", "closed", "all"].flatMap((state) => pages(2, "list_tickets", { state })),
    "three categories": ["hubs", "cables", "docks"].flatMap((category) => pages(3, "search_products", { category }))
  }),
  ...shape(
    "page 1 again because it has changed",
    "What was on it has been dealt with, so that the next items move up.",
    {
      "archiving e-mails": times(5, (i) => [
        ok("list_emails", { folder: "inbox", page: 1 }, [i]),
        ok("archive_email", { id: i }, "ok")
      ]).flat(),
      "assigning tickets": times(4, (i) => [
        ok("list_tickets", { unassigned: true, limit: 1 }, [100 + i]),
        ok("get_ticket", { id: 100 + i }, "…"),
        ok("assign_ticket", { id: 100 + i, to: i % 2 === 0 ? "kim" : "lee" }, "ok")
      ]).flat(),
      "deleting files": times(4, (i) => [
        ok("list_files", { folder: "tmp" }, times(4 - i, String)),
        ok("delete_file", { path: `tmp/${i}` }, "ok")
      ]).flat(),
      "closing alerts in pairs": times(3, (i) => [
        ok("list_alerts", { state: "firing" }, [2 * i, 2 * i + 1]),
        [2 * i, 2 * i + 1].map((id) => ok("update_ticket", { alert: id, state: "acknowledged" }, "ok"))
      ]).flat()
    }
  ),
  ...shape(
    "never gets beyond the first page",
    "The cursor that came with the result is ignored, and the same page is asked for.",
    {
      repositories: again(6, ok("list_repos", { org: "effect", first: 50 }, { items: [1], next: "Y3Vyc29y" }), 2),
      "page 1": again(5, ok("list_invoices", { year: 2025, page: 1, size: 20 }, { items: [1, 2], pages: 9 }), 2),
      "offset 0": again(4, ok("search_kb", { q: "refund", start: 0, rows: 20 }, { total: 211 }), 2),
      "a null cursor": again(7, ok("list_transactions", { account: "DE12", cursor: null }, { next: "t_900" }), 2)
    }
  ),
  ...shape("stuck on a page", "The pages went well until one is asked for over and over.", {
    "the last of three": [
      ...pages(2, "list_issues", { repo: "web" }),
      ...again(5, ok("list_issues", { repo: "web", page: 3 }, []), 2)
    ],
    "an offset": [
      ...times(3, (i) => ok("list_emails", { folder: "inbox", offset: i * 25 }, [i])),
      ...again(4, ok("list_emails", { folder: "inbox", offset: 75 }, [9]), 2)
    ],
    "a cursor that leads to itself": [
      ok("list_files", { folder: "root" }, { next: "p2" }),
      ...again(6, ok("list_files", { folder: "root", cursor: "p2" }, { next: "p2" }), 2)
    ],
    "lines of a file": [
      ok("view_range", { path: "a.c", from: 1, to: 200 }, "…"),
      ...again(5, ok("view_range", { path: "a.c", from: 201, to: 400 }, "…"), 2)
    ]
  }),
  ...shape(
    "starts from the first page again",
    "All pages have been read, and are read again: the third in a row that brings nothing new, or the second of two.",
    {
      "four pages": rounds(3, pages(4, "list_issues", { repo: "core" }), 6),
      "three cursors": rounds(3, cursors("list_repos", { org: "acme" }, ["c1", "c2"]), 5),
      "eight offsets": rounds(
        2,
        times(8, (i) => ok("list_emails", { offset: i * 25, limit: 25 }, [i])),
        10
      ),
      "two dates": rounds(
        4,
        ["2026-01-01", "2026-02-01"].map((from) => ok("list_events", { from, days: 31 }, [])),
        3
      ),
      "thirty pages": rounds(2, pages(30, "list_users", { org: "acme", active: true }), 32),
      "seventy pages, more than are remembered": rounds(2, pages(70, "list_users", { org: "acme" }), 72)
    }
  ),
  ...shape(
    "walks on behind the last page",
    "The pages have been empty for some time, and cannot but be empty.",
    {
      issues: [
        ...pages(3, "list_issues", { repo: "old" }),
        ...times(9, (i) => {
          const call = ok("list_issues", { repo: "old", page: 4 + i }, [])
          return i === 3 ? here(call) : call
        })
      ],
      offsets: [
        ...pages(1, "list_orders", { offset: 0 }),
        ...times(8, (i) => {
          const call = ok("list_orders", { offset: 100 * (i + 1) }, { items: [], total: 37 })
          return i === 3 ? here(call) : call
        })
      ]
    },
    "asks the same of many things"
  )
]
