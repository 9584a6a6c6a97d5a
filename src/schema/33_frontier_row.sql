-- Frontier rows, and the group slot.

-- Tells the group how far this node is. Which nodes it is cut off from is read before how far it has come.
CREATE FUNCTION write_frontier_row() RETURNS void LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
	fenced_now integer[] := replication_plugin.fenced_nodes();
	links_now jsonb := (SELECT coalesce(jsonb_object_agg(s.provider::text, jsonb_build_object('kind', s.kind, 'state', s.state,
		'full', s.full_origins, 'lag', greatest(s.provider_lsn - s.applied_lsn, 0))), '{}') FROM replication_plugin.link_states() s);
BEGIN
	INSERT INTO replication_plugin.frontier AS f (node_id, vector, fenced, view, links, incarnation, run_token, written_at)
		SELECT l.node_id, replication_plugin.frontier(), fenced_now, replication_plugin.group_view(), links_now, l.incarnation, l.run_token, clock_timestamp()
		FROM replication_plugin.local_node l WHERE l.run_token = replication_plugin.instance_token()
		ON CONFLICT ON CONSTRAINT frontier_pkey DO UPDATE SET vector = excluded.vector, fenced = excluded.fenced, view = excluded.view,
			links = excluded.links, incarnation = excluded.incarnation, run_token = excluded.run_token, written_at = excluded.written_at;
END
$$;
COMMENT ON FUNCTION write_frontier_row() IS 'tells the group how far this node is';

-- Makes the slot that keeps what any member may lack. Once: from then on there must be one.
CREATE FUNCTION make_group_slot() RETURNS void LANGUAGE plpgsql VOLATILE
AS $$
BEGIN
	IF NOT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = replication_plugin.group_slot_name()) THEN
		PERFORM pg_create_logical_replication_slot(replication_plugin.group_slot_name(), 'replication_plugin');
		-- that has waited for all who did not know of the group yet: they may have made tables
		PERFORM replication_plugin.capture_install_all();
	END IF;
	UPDATE replication_plugin.stable_point SET slot_made = true,
		slot_lsn = (SELECT r.confirmed_flush_lsn FROM pg_replication_slots r WHERE r.slot_name = replication_plugin.group_slot_name());
END
$$;
COMMENT ON FUNCTION make_group_slot() IS 'makes the slot that keeps what any member may lack';

-- A node that is alone in its group goes on after pg_upgrade, which keeps neither slots (since 17 only those that have decoded everything) nor replication
-- origins nor internal triggers: what it is to make anew. A server that was restored from a base backup has no slots either, but it has its origins; it may
-- not know of members that were added since, so its node joins anew.
CREATE FUNCTION needs_renewal() RETURNS boolean LANGUAGE plpgsql VOLATILE
AS $$
BEGIN
	RETURN EXISTS (SELECT FROM replication_plugin.stable_point p, replication_plugin.local_node l WHERE p.slot_made AND l.state = 'ready')
		AND NOT EXISTS (SELECT FROM pg_replication_origin o WHERE starts_with(o.roname, replication_plugin.origin_name('')))
		AND NOT EXISTS (SELECT FROM replication_plugin.node n WHERE n.node_id <> replication_plugin.my_id() AND n.state <> 'removed');
END
$$;
COMMENT ON FUNCTION needs_renewal() IS 'whether this node is alone in its group and has been through pg_upgrade';

-- Local writes that wait for a judgement of the run hold locks of their tables: so they are refused, in a transaction before that of finish_renewal().
CREATE FUNCTION begin_renewal() RETURNS boolean LANGUAGE plpgsql VOLATILE
AS $$
BEGIN
	UPDATE replication_plugin.local_node SET announced = false, progress = 'internal triggers are made anew after pg_upgrade'
		WHERE replication_plugin.needs_renewal();
	RETURN FOUND;
END
$$;
COMMENT ON FUNCTION begin_renewal() IS 'after pg_upgrade of a node that is alone in its group: it takes no writes until finish_renewal(), which is to be called if this is true';

CREATE FUNCTION finish_renewal() RETURNS void LANGUAGE plpgsql VOLATILE
AS $$
BEGIN
	IF replication_plugin.needs_renewal() THEN
		PERFORM replication_plugin.capture_install_all();
		PERFORM pg_drop_replication_slot(r.slot_name) FROM pg_replication_slots r WHERE r.slot_name = replication_plugin.group_slot_name();
		UPDATE replication_plugin.stable_point SET slot_made = false;
		UPDATE replication_plugin.local_node SET announced = true, progress = NULL;
	END IF;
END
$$;
COMMENT ON FUNCTION finish_renewal() IS 'lets a node that is alone in its group go on after pg_upgrade';

-- Every new run of the server is noted before it takes part: see check_run().
CREATE FUNCTION note_run() RETURNS void LANGUAGE sql VOLATILE
AS $$
	UPDATE replication_plugin.local_node SET incarnation = incarnation + 1, run_token = replication_plugin.instance_token(),
		run_start = replication_plugin.run_start(), run_row = NULL WHERE run_token IS DISTINCT FROM replication_plugin.instance_token()
$$;
COMMENT ON FUNCTION note_run() IS 'notes that the server runs anew';
