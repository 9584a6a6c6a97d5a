-- Members: numbers, admission, and whether all know the same.

-- Promises a number and a name to a node that wants to join. An hour later they are free again.
CREATE FUNCTION reserve_node(group_id uuid, node_id integer, node_name text, dsn text) RETURNS void
LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
	l replication_plugin.local_node;
BEGIN
	SELECT * INTO l FROM replication_plugin.local_node;
	IF NOT FOUND OR l.group_id <> $1 OR l.state <> 'ready' OR NOT l.announced THEN
		RAISE EXCEPTION 'this is no ready member of group %', $1 USING ERRCODE = '55000';
	END IF;
	LOCK TABLE replication_plugin.node_reservation IN EXCLUSIVE MODE;
	DELETE FROM replication_plugin.node_reservation r WHERE NOT r.for_backup AND (r.reserved_at < now() - interval '1 hour' OR r.dsn = $4)
		OR EXISTS (SELECT FROM replication_plugin.node n WHERE n.node_id = r.node_id);
	IF EXISTS (SELECT FROM replication_plugin.node n WHERE n.node_name = $3 AND n.state <> 'removed')
		OR EXISTS (SELECT FROM replication_plugin.node_reservation r WHERE r.node_name = $3) THEN
		RAISE EXCEPTION 'node name "%" is taken', $3 USING ERRCODE = '42710',
			HINT = 'Choose another name, or remove the node of that name first.';
	END IF;
	IF EXISTS (SELECT FROM replication_plugin.node n WHERE n.node_id = $2)
		OR EXISTS (SELECT FROM replication_plugin.node_reservation r WHERE r.node_id = $2) THEN
		-- join_group() then tries the next number
		RAISE EXCEPTION 'node number % is taken', $2 USING ERRCODE = '55P03',
			HINT = 'Another node is joining at the same time. Try again.';
	END IF;
	INSERT INTO replication_plugin.node_reservation (node_id, node_name, dsn) VALUES ($2, $3, $4);
END
$$;
COMMENT ON FUNCTION reserve_node(uuid, integer, text, text) IS 'promises a number and a name to a node that wants to join';

-- Takes a member out that has said itself that it must join anew.
CREATE FUNCTION expel(group_id uuid, node_id integer) RETURNS void LANGUAGE sql VOLATILE
AS $$
	INSERT INTO replication_plugin.removal (node_id, removed_by, reason)
		SELECT n.node_id, l.node_id, 'needs_rejoin' FROM replication_plugin.node n, replication_plugin.local_node l
		WHERE l.group_id = $1 AND n.node_id = $2 AND n.state <> 'removed' AND l.state = 'ready'
		ON CONFLICT DO NOTHING
$$;
COMMENT ON FUNCTION expel(uuid, integer) IS 'takes a member out that must join anew';

-- Greatest number that is used or promised here.
CREATE FUNCTION last_node_id() RETURNS integer LANGUAGE sql VOLATILE
AS $$
	SELECT max(i) FROM (SELECT node_id FROM replication_plugin.node
		UNION ALL SELECT node_id FROM replication_plugin.node_reservation) u(i)
$$;
COMMENT ON FUNCTION last_node_id() IS 'greatest node number that is used or promised here';

-- add(J) of the join: from here on the group knows the node. Returns the frontier at this moment, and what all members have.
CREATE FUNCTION admit_node(group_id uuid, node_id integer, node_name text, dsn text, OUT frontier text, OUT stable text)
LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
	fenced_now integer[] := replication_plugin.fenced_nodes(); -- before the frontier is read
	l replication_plugin.local_node;
BEGIN
	SELECT * INTO l FROM replication_plugin.local_node;
	IF NOT FOUND OR l.group_id <> $1 OR l.state <> 'ready' OR NOT l.announced THEN
		RAISE EXCEPTION 'this is no ready member of group %', $1 USING ERRCODE = '55000';
	END IF;
	IF EXISTS (SELECT FROM replication_plugin.node n WHERE n.node_id = $2
		AND (n.state <> 'joining' OR n.node_name <> $3 OR n.source <> l.node_id)) THEN
		RAISE EXCEPTION 'node number % is taken', $2 USING ERRCODE = '42710',
			HINT = 'Call leave_group() on the new node and join again.';
	END IF;
	SELECT p.vector INTO stable FROM replication_plugin.stable_point p WHERE p.slot_made;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'node "%" has no group slot yet', l.node_name USING ERRCODE = '55000',
			HINT = 'It is made when the transactions that are open there have ended.';
	END IF;
	frontier := replication_plugin.frontier();
	INSERT INTO replication_plugin.member AS n (node_id, node_name, dsn, add_frontier, add_fenced, source)
		VALUES ($2, $3, $4, frontier, fenced_now, l.node_id)
		ON CONFLICT ON CONSTRAINT member_pkey DO UPDATE SET dsn = excluded.dsn, add_frontier = excluded.add_frontier,
			add_fenced = excluded.add_fenced, added_at = now();
END
$$;
COMMENT ON FUNCTION admit_node(uuid, integer, text, text) IS 'makes a joining node known to the group; returns this node''s frontier';

-- Removed nodes from which nothing is taken any more, also not what was received before.
CREATE FUNCTION fenced_nodes() RETURNS integer[] LANGUAGE plpgsql VOLATILE
AS $$
BEGIN
	RETURN (SELECT coalesce(array_agg(n.node_id ORDER BY n.node_id), '{}') FROM replication_plugin.node n
		WHERE n.state = 'removed' AND NOT EXISTS (SELECT FROM replication_plugin.link_states() s WHERE s.provider = n.node_id));
END
$$;
COMMENT ON FUNCTION fenced_nodes() IS 'removed nodes from which nothing is taken any more';

-- What links are worked out from, as this node knows it: which members are ready, the topology, and the protocol of streams.
CREATE FUNCTION group_view() RETURNS text LANGUAGE plpgsql STABLE
AS $$
BEGIN
	RETURN (SELECT coalesce((SELECT string_agg(node_id::text, ',' ORDER BY node_id) FROM replication_plugin.node WHERE state = 'ready'), '')
			|| coalesce((SELECT format(' %s/%s', serial, set_by) FROM replication_plugin.topology_setting ORDER BY serial DESC, set_by DESC LIMIT 1), '')
			|| ' protocol ' || replication_plugin.group_protocol());
END
$$;
COMMENT ON FUNCTION group_view() IS 'what links are worked out from, as this node knows it';

-- Whether all members see what this node sees. Until then links of an earlier view must stay: if nodes that know different
-- things each let go of them, the group could fall into parts that never hear of each other again.
CREATE FUNCTION view_is_common() RETURNS boolean LANGUAGE plpgsql STABLE
AS $$
BEGIN
	RETURN (SELECT NOT EXISTS (SELECT FROM replication_plugin.node n LEFT JOIN replication_plugin.frontier f USING (node_id), replication_plugin.group_view() g
			WHERE n.state = 'ready' AND n.node_id <> replication_plugin.my_id() AND f.view IS DISTINCT FROM g));
END
$$;
COMMENT ON FUNCTION view_is_common() IS 'whether all members know the same members and topology';

-- A node that has just become ready takes writes when all members know that it is: then nobody takes it for one that did not get
-- there. known_at: LSN of a transaction of it, after the one that made it ready. True if that is so.
CREATE FUNCTION announce(known_at pg_lsn) RETURNS boolean LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
	missing text;
BEGIN
	SELECT string_agg(n.node_name, ', ' ORDER BY n.node_id) INTO missing FROM replication_plugin.node n
		LEFT JOIN replication_plugin.frontier f USING (node_id), replication_plugin.local_node l
		WHERE n.state = 'ready' AND n.node_id <> l.node_id
			AND coalesce(replication_plugin.frontier_lsn(coalesce(f.vector, n.add_frontier), l.node_id) < $1, true);
	missing := 'waiting until all know that it is ready: ' || missing;
	UPDATE replication_plugin.local_node SET announced = missing IS NULL, progress = missing
		WHERE NOT announced AND (announced, progress) IS DISTINCT FROM (missing IS NULL, missing);
	RETURN missing IS NULL;
END
$$;
COMMENT ON FUNCTION announce(pg_lsn) IS 'lets a node that has become ready take writes when all members know';

-- PostgreSQL has places for the progress of so many replication origins, by a setting that is one of its own since version 18. And the members whose
-- origin has no place here.
CREATE FUNCTION origin_places(OUT setting text, OUT places integer, OUT used integer, OUT lacking integer, OUT names text) LANGUAGE sql STABLE
AS $$
	SELECT s.name, s.setting::integer, (SELECT count(*)::integer FROM pg_replication_origin_status), w.n, w.names
	FROM pg_settings s, (SELECT count(*)::integer AS n, string_agg(m.node_name, ', ' ORDER BY m.node_id) AS names FROM replication_plugin.node m
			WHERE m.state <> 'removed' AND m.node_id <> replication_plugin.my_id()
				AND NOT EXISTS (SELECT FROM pg_replication_origin_status o WHERE o.external_id = replication_plugin.origin_name(m.node_id::text))) w
	WHERE s.name IN ('max_replication_slots', 'max_active_replication_origins') ORDER BY s.name LIMIT 1
$$;
COMMENT ON FUNCTION origin_places() IS 'places for the progress of replication origins: by which setting, how many, how many in use; and how many members have none here, and which';

-- Asked by a node that waits for this one.
CREATE FUNCTION lacks_origin_places() RETURNS text LANGUAGE sql STABLE
AS $$
	SELECT format('%s of %s places are in use (%s), and there is none for: %s', p.used, p.places, p.setting, p.names)
	FROM replication_plugin.origin_places() p WHERE p.used >= p.places AND p.lacking > 0
$$;
COMMENT ON FUNCTION lacks_origin_places() IS 'why this node cannot apply what a member writes: PostgreSQL has no place for its origin; else null';

-- Called while a joining node waits for members: shows the first of them that has no place for an origin, or that none lacks one any more.
CREATE FUNCTION note_lacking_origin_places() RETURNS void LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
	me constant integer := replication_plugin.my_id();
	member record;
	answer text;
	lack text;
BEGIN
	FOR member IN SELECT n.node_id, n.node_name, n.dsn FROM replication_plugin.node n WHERE n.state = 'ready' OR n.node_id = me ORDER BY n.node_id LOOP
		BEGIN
			IF member.node_id = me THEN
				answer := replication_plugin.lacks_origin_places();
			ELSE
				SELECT q[1] INTO answer FROM replication_plugin.remote_query(member.dsn, 'SELECT replication_plugin.lacks_origin_places()') q;
			END IF;
		EXCEPTION WHEN others THEN
			CONTINUE; -- it cannot be reached, which others tell, or is of a version that does not know
		END;
		IF answer IS NOT NULL THEN
			lack := format('node "%s" cannot apply what other members write, as it lacks places for replication origins: %s HINT: On that node: ALTER SYSTEM SET %s = 20; restart. The join goes on by itself.',
				member.node_name, answer, substring(answer FROM '[(]([a-z_]+)[)]'));
			EXIT;
		END IF;
	END LOOP;
	UPDATE replication_plugin.local_node l SET last_error = lack, last_error_at = CASE WHEN lack IS NULL THEN l.last_error_at ELSE clock_timestamp() END
		WHERE l.last_error IS DISTINCT FROM lack AND (lack IS NOT NULL OR l.last_error LIKE 'node % lacks places for replication origins%');
END
$$;
COMMENT ON FUNCTION note_lacking_origin_places() IS 'shows which member has no place for a replication origin, while this node waits for members';
