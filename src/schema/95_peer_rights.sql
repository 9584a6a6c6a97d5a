-- What other nodes may do here, beside reading replicated tables (capture/capture_install.c): what the statements between nodes need, and nothing else.

DO $$
DECLARE
	f regprocedure;
BEGIN
	-- These act on what is the extension's alone, so they do it with its rights.
	FOREACH f IN ARRAY ARRAY['identity()', 'members()', 'handshake(jsonb)', 'handshake(uuid, integer, integer, bigint, bigint, pg_lsn, pg_lsn)', 'renew_slot(integer, pg_lsn, pg_lsn)',
		'wait_for_progress(integer, pg_lsn, interval)', 'wait_for_removal(integer, interval)', 'reserve_node(uuid, integer, text, text)', 'last_node_id()',
		'expel(uuid, integer)', 'admit_node(uuid, integer, text, text)', 'transaction_waited_for(integer)', 'prepare_removal(interval)',
		'take_node_dsn(uuid, integer, bigint, integer, text)', 'note_out_of_step(bigint, text, text, pg_lsn, text)', 'code_paths()',
		'hide_secrets(boolean)', 'end_table_wait(text, text)', 'kept_for_copy(text, text, pg_lsn)', 'forget_joining(integer)', 'free_slot_of(integer)', 'lacks_origin_places()']::regprocedure[]
	LOOP
		EXECUTE format('ALTER FUNCTION %s SECURITY DEFINER SET search_path = pg_catalog, pg_temp', f);
		EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', f);
		EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO replication_plugin_peer', f);
	END LOOP;
END
$$;
-- These look at the caller's rights on the table themselves, or tell nothing of rows.
GRANT EXECUTE ON FUNCTION instance_token(), group_protocol(), transaction_at_hand(), clock_tick(), last_commit_lsn(), sequence_states(), export_states(regclass, bigint),
	export_parked(regclass, bigint), values_of_write(regclass, text[], text[], text[], bigint, integer, xid) TO replication_plugin_peer;
GRANT EXECUTE ON FUNCTION session_lacks() TO PUBLIC;
-- What all members have alike, and a joining node copies.
GRANT SELECT ON member, member_ready, removal, topology_setting, frontier, table_setting, mergeable_table, column_merge, node_priority, awaited_state,
	group_setting, out_of_step, exclusion TO replication_plugin_peer;
GRANT SELECT (schema_name, table_name, kept, owner) ON waiting_table TO replication_plugin_peer;
GRANT SELECT (stable_xid) ON stable_point TO replication_plugin_peer;
GRANT SELECT (relid) ON parked_row, row_pin TO replication_plugin_peer;

-- Commands for who runs a group and is no superuser. Not those that take a dsn: whoever chooses one has the server connect there as its own user. Nor those
-- by which code is run for tables of others.
DO $$
DECLARE
	f regprocedure;
BEGIN
	FOREACH f IN ARRAY ARRAY['preflight()', 'wait_until_ready(interval)', 'set_topology(text, text[])', 'add_link(text, text)', 'drop_link(text, text)', 'pause_link(text)',
		'resume_link(text)', 'skip_transaction(text, pg_lsn)', 'remove_node(text, boolean)', 'leave_group(interval)', 'cancel_leave()', 'cancel_base_backup(text)',
		'set_group_setting(text, text)', 'finish_upgrade()', 'exclude_table(regclass)', 'include_table(regclass)', 'exclude_tables(text, text)', 'include_tables(text, text)', 'discard_kept_changes(text, text)']::regprocedure[]
	LOOP
		EXECUTE format('ALTER FUNCTION %s SECURITY DEFINER SET search_path = pg_catalog, pg_temp', f);
		EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', f);
		EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO replication_plugin_admin', f);
	END LOOP;
END
$$;

-- As pg_monitor.
GRANT SELECT ON links, progress, topology TO replication_plugin_monitor, replication_plugin_admin;
GRANT EXECUTE ON FUNCTION lock_wait(integer), link_states(), origin_progress(integer), topology_graph(text), planned_links(integer[]),
	current_topology(), topology_plan(text, integer[], integer[], integer[], integer[], integer, integer[]) TO replication_plugin_monitor, replication_plugin_admin;

-- After an update; with a new installation there is none.
SELECT replication_plugin.capture_install_all() WHERE EXISTS (SELECT FROM replication_plugin.local_node);
