/** The tools in the traces. A tool that is not here does not exist: the model made it up. */
import type { Kind, Tool } from "./trace.ts"

const all = (kind: Kind, names: string): ReadonlyArray<readonly [string, Tool]> =>
  names.split(/\s+/).map((name) => [name, { kind }])

const own = (kind: Kind, name: string, identity: (params: any) => unknown): readonly [string, Tool] => [
  name,
  { kind, identity }
]

export const tools: ReadonlyMap<string, Tool> = new Map([
  ...all(
    "reads",
    `read_file list_dir grep glob search_code git_diff git_log web_search fetch_page wikipedia arxiv_search news_search
    query_db describe_table list_tables get_ticket list_tickets search_tickets get_customer search_customers get_order
    list_orders get_invoice list_invoices get_event list_events free_slots list_emails get_email search_emails weather
    geocode directions convert_currency stock_price calculator list_pods pod_logs get_config list_issues get_issue
    list_repos list_commits list_users get_user search_flights search_hotels screenshot page_text locals look inventory
    search_products get_product list_files download_csv column_stats read_sheet search_docs open_doc get_transcript
    translate sensor_state device_state list_devices get_metrics query_metrics list_alerts check_domain check_url
    job_info search_kb search_jobs check_stock list_channels read_channel lookup_term view_range test_value get_balance
    list_transactions search_recipes lookup_code open_file search_papers`
  ),
  ...all(
    "acts",
    `write_file edit_file append_file delete_file move_file run_tests shell bash sql http_request send_email
    create_ticket update_ticket close_ticket add_comment refund charge_card create_event delete_event update_event
    post_message book_flight book_hotel hold_seat deploy rollback scale_service restart_service set_flag login
    refresh_token connect install_package git_add git_commit git_push git_revert build format submit_answer
    set_model_response final_answer think note transfer_to_billing transfer_to_support transfer_to_sales
    archive_email label_email move_email set_thermostat set_light lock_door upload_file insert_row update_row
    add_to_cart checkout write_sheet start_job cancel_job create_branch merge_branch open_pr fill_form click submit_form
    create_user assign_ticket write_doc run_python generate_image resize_image publish_post schedule_post migrate
    start_vm stop_vm set_price`
  ),
  ...all(
    "polls",
    `job_status deploy_status build_status export_status check_inbox queue_length get_progress payment_status order_status
    vm_status transcription_status current_time tail_log`
  ),
  ...all(
    "steps",
    "wait scroll_down press_key next_page next_row debugger_step move roll_dice draw_card take_from_queue"
  ),
  // Tools with a field for the model to say why: one that leaves it out of its identity, one that does not.
  own("reads", "view_file", ({ path }) => path),
  own("reads", "find_symbol", ({ symbol }) => symbol),
  own("reads", "product_search", ({ query }) => query.trim().toLowerCase().split(/\s+/)),
  ...all("reads", "inspect_file inspect_record search_shop")
])
