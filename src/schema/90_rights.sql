-- Only views that give nothing away, and waiting, are for everybody.
REVOKE ALL ON ALL TABLES IN SCHEMA replication_plugin FROM PUBLIC;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA replication_plugin FROM PUBLIC;
GRANT USAGE ON SCHEMA replication_plugin TO PUBLIC;
GRANT SELECT ON group_settings, nodes, slots, tables, exclusions, conflicts, conflict_stats TO PUBLIC;
-- errors of links can hold values of rows
GRANT SELECT ON links, progress, topology TO pg_monitor;
GRANT EXECUTE ON FUNCTION lock_wait(integer), link_states(), origin_progress(integer), topology_graph(text), planned_links(integer[]),
	current_topology(), topology_plan(text, integer[], integer[], integer[], integer[], integer, integer[]) TO pg_monitor;
ALTER FUNCTION planned_links(integer[]) SECURITY DEFINER;
ALTER FUNCTION topology_graph(text) SECURITY DEFINER;
-- what those views call (with the rights of the reader)
GRANT EXECUTE ON FUNCTION dsn_without_password(text), frontier_lsn(text, integer), clock_offset(integer), slot_name(integer), origin_name(text),
	unmet_requirement(), manager_pid(), local_progress(text, text), error_for_reader(text), worker_waits(), may_read(oid), exclusion(text, text), foreign_partitions(), require_no_foreign_partitions(), identity_note(oid, "char"), capture_note(oid, text), my_id(), group_slot_name(), origin_names(integer, text) TO PUBLIC;
-- these look at the caller's rights on the table themselves
GRANT SELECT ON unresolved, parked_rows, waiting_tables TO PUBLIC;
GRANT EXECUTE ON FUNCTION parked_json(tid), parked_of(anyelement), dangling_references(), rows_of_query(text) TO PUBLIC;
GRANT EXECUTE ON FUNCTION siblings(regclass, jsonb), row_of_json(regclass, jsonb), row_of(anyelement, jsonb), siblings_of(regclass, record), causal_context(regclass, jsonb), context_of(regclass, record),
	context_is_here(regclass, record, text), wait_for_context(regclass, jsonb, text, interval), resolve(regclass, jsonb, jsonb, text), delete_unshown(regclass, record),
	require_key(regclass, jsonb), require_arguments(text, text[]), stored_key(text, tid), code_search_path(oid) TO PUBLIC;
ALTER FUNCTION origin_names(integer, text) SECURITY DEFINER;
GRANT EXECUTE ON FUNCTION wait_for_apply(interval), flush_point(), write_token(), covers(text), wait_for(text, interval) TO PUBLIC;
ALTER FUNCTION wait_for_apply(interval) SECURITY DEFINER;
ALTER FUNCTION my_id() SECURITY DEFINER;

-- Names in function bodies mean what they mean here, whatever search_path the caller has: else
-- a reader of the view conflicts could bring his own has_table_privilege().
DO $$
DECLARE
	f regprocedure;
BEGIN
	FOR f IN SELECT p.oid FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
		WHERE p.pronamespace = 'replication_plugin'::regnamespace AND l.lanname IN ('sql', 'plpgsql')
	LOOP
		EXECUTE format('ALTER FUNCTION %s SET search_path = pg_catalog, pg_temp', f);
		-- what their statements call is never run with a superuser's rights, unless it is a superuser's own
		EXECUTE format('ALTER FUNCTION %s SET replication_plugin.code_as_owners = on', f);
	END LOOP;
END
$$;
