-- What other nodes may do here, beside reading replicated tables (conflict/capture_install.c): what the statements between nodes need, and nothing else.

-- How far the sequences are, for a node that joins.
CREATE FUNCTION sequence_states(OUT sequence_name text, OUT last_value bigint, OUT is_called boolean) RETURNS SETOF record
AS 'MODULE_PATHNAME', 'replication_plugin_sequence_states' LANGUAGE C STRICT VOLATILE;
COMMENT ON FUNCTION sequence_states() IS 'how far the sequences are, for a node that joins';

-- Called by a node that joins: ends what an earlier try has left here.
CREATE FUNCTION free_slot_of(joining integer) RETURNS void LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
	name text := replication_plugin.slot_name(joining);
BEGIN
	IF EXISTS (SELECT FROM replication_plugin.node n WHERE n.node_id = joining AND n.state <> 'joining') THEN
		RAISE EXCEPTION 'node number % is taken', joining USING ERRCODE = '42710', HINT = 'Call leave_group() on the new node and join again.';
	END IF;
	PERFORM pg_terminate_backend(s.active_pid, 5000) FROM pg_replication_slots s WHERE s.slot_name = name AND s.active_pid IS NOT NULL;
	PERFORM pg_drop_replication_slot(s.slot_name) FROM pg_replication_slots s WHERE s.slot_name = name;
END
$$;
COMMENT ON FUNCTION free_slot_of(integer) IS 'drops the slot that an earlier try of a joining node has left here';

-- What the role of this session lacks to be one with which nodes connect, and what gives it that. For everybody: who asks has not been given anything yet.
CREATE FUNCTION session_lacks(OUT problem text, OUT fix text) RETURNS SETOF record LANGUAGE sql STABLE
AS $$
	SELECT x.problem, x.fix FROM pg_roles r, LATERAL (VALUES
		(NOT pg_has_role(r.oid, p.oid, 'USAGE'), format('role "%s" has not the rights of role "replication_plugin_peer"', r.rolname),
			CASE WHEN pg_has_role(r.oid, p.oid, 'MEMBER') THEN format('ALTER ROLE %I INHERIT', r.rolname) ELSE format('GRANT replication_plugin_peer TO %I', r.rolname) END),
		(NOT r.rolreplication, format('role "%s" may not replicate', r.rolname), format('ALTER ROLE %I REPLICATION', r.rolname))) x(lacks, problem, fix)
	JOIN pg_roles p ON p.rolname = 'replication_plugin_peer'
	WHERE r.rolname = session_user AND NOT r.rolsuper AND x.lacks
$$;
COMMENT ON FUNCTION session_lacks() IS 'what the role of this session lacks to be one with which nodes connect, and what gives it that';

DO $$
DECLARE
	f regprocedure;
BEGIN
	-- These act on what is the extension's alone, so they do it with its rights.
	FOREACH f IN ARRAY ARRAY['identity()', 'members()', 'handshake(uuid, integer, integer, bigint, bigint, pg_lsn, pg_lsn)', 'renew_slot(integer, pg_lsn, pg_lsn)',
		'wait_for_progress(integer, pg_lsn, interval)', 'wait_for_removal(integer, interval)', 'reserve_node(uuid, integer, text, text)', 'last_node_id()',
		'expel(uuid, integer)', 'admit_node(uuid, integer, text, text)', 'transaction_waited_for(integer)', 'prepare_removal(interval)',
		'take_node_dsn(uuid, integer, bigint, integer, text)', 'note_out_of_step(bigint, text, text, pg_lsn, text)', 'code_paths()',
		'hide_secrets(boolean)', 'end_table_wait(text, text)', 'kept_for_copy(text, text, pg_lsn)', 'forget_joining(integer)', 'free_slot_of(integer)']::regprocedure[]
	LOOP
		EXECUTE format('ALTER FUNCTION %s SECURITY DEFINER SET search_path = pg_catalog, pg_temp', f);
		EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', f);
		EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO replication_plugin_peer', f);
	END LOOP;
END
$$;
REVOKE ALL ON FUNCTION sequence_states() FROM PUBLIC;
-- These look at the caller's rights on the table themselves, or tell nothing of rows.
GRANT EXECUTE ON FUNCTION instance_token(), transaction_at_hand(), clock_tick(), last_commit_lsn(), sequence_states(), export_states(regclass, bigint),
	export_parked(regclass, bigint), values_of_write(regclass, text[], text[], text[], bigint, integer, xid) TO replication_plugin_peer;
ALTER FUNCTION session_lacks() SET search_path = pg_catalog, pg_temp;
GRANT EXECUTE ON FUNCTION session_lacks() TO PUBLIC;
-- What all members have alike, and a joining node copies.
GRANT SELECT ON member, member_ready, removal, topology_setting, frontier, table_setting, mergeable_table, column_merge, node_priority, awaited_state,
	group_setting, out_of_step, exclusion TO replication_plugin_peer;
GRANT SELECT (stable_xid) ON stable_point TO replication_plugin_peer;
GRANT SELECT (relid) ON parked_row, row_pin TO replication_plugin_peer;

-- As pg_monitor.
GRANT SELECT ON links, progress, topology TO replication_plugin_monitor;
GRANT EXECUTE ON FUNCTION lock_wait(integer), link_states(), origin_progress(integer), topology_graph(text), planned_links(integer[]),
	current_topology(), topology_plan(text, integer[], integer[], integer[], integer[], integer, integer[]) TO replication_plugin_monitor;
