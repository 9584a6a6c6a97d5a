-- Slots that nobody needs, and members that need too much.

-- Slots here for subscribers that have no link from this node, by the topology: for re-routing, of earlier topologies, or of nodes
-- that never came to be.
CREATE FUNCTION spare_slots() RETURNS TABLE (subscriber integer, active boolean) LANGUAGE plpgsql VOLATILE
AS $$
#variable_conflict use_column
BEGIN
	RETURN QUERY
		SELECT right(s.slot_name, 1 - length(replication_plugin.slot_name(0)))::integer, s.active FROM pg_replication_slots s
		WHERE s.slot_name ~ ('^' || left(replication_plugin.slot_name(0), -1) || '[0-9]+$')
			AND NOT EXISTS (SELECT FROM replication_plugin.node n WHERE replication_plugin.slot_name(n.node_id) = s.slot_name)
			AND NOT EXISTS (SELECT FROM replication_plugin.node_reservation r WHERE replication_plugin.slot_name(r.node_id) = s.slot_name
				AND (r.for_backup OR r.reserved_at > now() - interval '1 hour'))
		UNION ALL
		SELECT n.node_id, s.active
		FROM replication_plugin.node n
		JOIN pg_replication_slots s ON s.slot_name = replication_plugin.slot_name(n.node_id)
		WHERE n.state = 'ready' AND NOT EXISTS (SELECT FROM replication_plugin.planned_links('{}') p
			WHERE p.provider = replication_plugin.my_id() AND p.subscriber = n.node_id);
END
$$;
COMMENT ON FUNCTION spare_slots() IS 'slots here that the topology does not ask for';

-- Drops a slot that nobody uses; another is made from the group slot when it is wanted again.
CREATE FUNCTION drop_spare_slot(slot_for integer) RETURNS void LANGUAGE plpgsql VOLATILE
AS $$
BEGIN
	IF EXISTS (SELECT FROM replication_plugin.spare_slots() s WHERE s.subscriber = slot_for AND NOT s.active) THEN
		PERFORM pg_drop_replication_slot(replication_plugin.slot_name(slot_for));
	END IF;
EXCEPTION WHEN object_in_use OR undefined_object THEN
	NULL; -- in use again
END
$$;
COMMENT ON FUNCTION drop_spare_slot(integer) IS 'drops a slot that nobody uses';

-- Drops slots of nodes that are out; all, if it is this one. Whoever reads from one may still be reading the news of it.
CREATE FUNCTION drop_slots_of_removed() RETURNS void LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
	s record;
BEGIN
	FOR s IN
		SELECT r.slot_name, r.active_pid,
			coalesce((SELECT bool_and(coalesce(pg_xact_commit_timestamp(x.xmin), '-infinity') < clock_timestamp() - interval '5 seconds')
				FROM replication_plugin.removal x WHERE x.node_id = CASE WHEN n.state = 'removed' THEN n.node_id ELSE l.node_id END), true) AS old_news
		FROM replication_plugin.node n
		JOIN pg_replication_slots r ON r.slot_name = replication_plugin.slot_name(n.node_id),
			replication_plugin.local_node l
		WHERE n.state = 'removed' OR l.state IN ('removed', 'needs_rejoin')
		UNION ALL SELECT r.slot_name, r.active_pid, true FROM pg_replication_slots r, replication_plugin.local_node l
		WHERE r.slot_name = replication_plugin.group_slot_name() AND l.state IN ('removed', 'needs_rejoin')
	LOOP
		IF s.active_pid IS NOT NULL THEN
			IF s.old_news THEN
				PERFORM pg_terminate_backend(s.active_pid);
			END IF;
			CONTINUE;
		END IF;
		BEGIN
			PERFORM pg_drop_replication_slot(s.slot_name);
		EXCEPTION WHEN object_in_use OR undefined_object THEN
			NULL; -- the next round sees to it
		END;
	END LOOP;
END
$$;
COMMENT ON FUNCTION drop_slots_of_removed() IS 'drops slots of nodes that are out';

-- A node that was joining through one that is removed cannot get on, and would hold everybody up. If it is ready, and only the one
-- that is gone knew, nothing is lost: it takes writes when all know.
CREATE FUNCTION remove_orphans() RETURNS SETOF text LANGUAGE plpgsql VOLATILE
AS $$
#variable_conflict use_column
BEGIN
	RETURN QUERY
		WITH orphan AS (
			SELECT n.node_id, n.node_name FROM replication_plugin.node n JOIN replication_plugin.node s ON s.node_id = n.source
			WHERE n.state = 'joining' AND s.state = 'removed'),
		gone AS (
			INSERT INTO replication_plugin.removal (node_id, removed_by, reason)
				SELECT o.node_id, l.node_id, 'lost' FROM orphan o, replication_plugin.local_node l WHERE l.state = 'ready' AND l.announced
				ON CONFLICT DO NOTHING RETURNING node_id)
		SELECT o.node_name FROM orphan o JOIN gone USING (node_id);
END
$$;
COMMENT ON FUNCTION remove_orphans() IS 'removes nodes whose source was removed while they were joining';

-- Drops unused slots of members that the group slot has overtaken: what they keep is with their subscriber already, by another way.
-- One that is wanted again is made from the group slot.
CREATE FUNCTION drop_overtaken_slots() RETURNS void LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
	s record;
BEGIN
	FOR s IN SELECT r.slot_name FROM replication_plugin.node n
		JOIN pg_replication_slots r ON r.slot_name = replication_plugin.slot_name(n.node_id)
		JOIN pg_replication_slots g ON g.slot_name = replication_plugin.group_slot_name()
		WHERE n.state = 'ready' AND NOT r.active AND g.confirmed_flush_lsn - r.confirmed_flush_lsn > 64 * 1048576::numeric
			AND NOT replication_plugin.group_slot_is_ahead()
	LOOP
		BEGIN
			PERFORM pg_drop_replication_slot(s.slot_name);
		EXCEPTION WHEN object_in_use OR undefined_object THEN
			NULL; -- in use again
		END;
	END LOOP;
END
$$;
COMMENT ON FUNCTION drop_overtaken_slots() IS 'drops unused slots of members that the group slot has overtaken';

-- Removes members for which more WAL is kept here than the setting allows: they join anew when they are back. Counted is what
-- they lack, as they tell themselves, by whatever way they get it; WAL that a slot keeps for a transaction that is open here is not the
-- member's fault.
CREATE FUNCTION remove_stragglers(limit_mb integer, wal_end pg_lsn) RETURNS SETOF text LANGUAGE plpgsql VOLATILE
AS $$
#variable_conflict use_column
BEGIN
	RETURN QUERY
		WITH far AS (
			SELECT n.node_id, n.node_name FROM replication_plugin.node n
			JOIN pg_replication_slots s ON s.slot_name = replication_plugin.slot_name(n.node_id)
			WHERE n.state = 'joining' AND $2 - s.confirmed_flush_lsn > $1 * 1048576::numeric
			UNION SELECT n.node_id, n.node_name FROM replication_plugin.node n
			LEFT JOIN replication_plugin.frontier f USING (node_id), pg_replication_slots s, replication_plugin.local_node l
			WHERE s.slot_name = replication_plugin.group_slot_name() AND n.state <> 'removed' AND n.node_id <> l.node_id
				-- members tell how far they are every 16 MB
				AND $2 - s.confirmed_flush_lsn > ($1 + 32) * 1048576::numeric
				AND $2 - coalesce(replication_plugin.frontier_lsn(coalesce(f.vector, n.add_frontier), l.node_id), '0/0')
					> ($1 + 32) * 1048576::numeric),
		gone AS (
			INSERT INTO replication_plugin.removal (node_id, removed_by, reason)
				SELECT far.node_id, l.node_id, 'needs_rejoin' FROM far, replication_plugin.local_node l WHERE l.state = 'ready' AND l.announced
				ON CONFLICT DO NOTHING RETURNING node_id)
		SELECT far.node_name FROM far JOIN gone USING (node_id);
END
$$;
COMMENT ON FUNCTION remove_stragglers(integer, pg_lsn) IS 'removes members for which more WAL is kept here, up to a position that they had time to reach';
