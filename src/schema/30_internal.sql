-- Functions that the extension's own processes call, here and from other nodes.

-- This node's number, null if the database is in no group.
CREATE FUNCTION my_id() RETURNS integer LANGUAGE sql STABLE
AS 'SELECT node_id FROM replication_plugin.local_node';
COMMENT ON FUNCTION my_id() IS 'number of this node; null if the database is in no group';

-- Names of slots and origins; see catalog/names.c.
CREATE FUNCTION slot_name(subscriber integer) RETURNS text LANGUAGE sql STABLE
AS $$ SELECT 'replication_plugin_' || oid || '_' || subscriber FROM pg_database WHERE datname = current_database() $$;
COMMENT ON FUNCTION slot_name(integer) IS 'name of the slot here that feeds a subscriber';
CREATE FUNCTION group_slot_name() RETURNS text LANGUAGE sql STABLE
AS $$ SELECT 'replication_plugin_' || oid || '_group' FROM pg_database WHERE datname = current_database() $$;
COMMENT ON FUNCTION group_slot_name() IS 'name of the inactive slot that keeps what any member may lack';
CREATE FUNCTION origin_name(node text) RETURNS text LANGUAGE sql STABLE
AS $$ SELECT 'replication_plugin_' || oid || '_' || node FROM pg_database WHERE datname = current_database() $$;
COMMENT ON FUNCTION origin_name(text) IS 'name of the replication origin here that marks a node''s transactions';

-- What another node is told before a statement that has a dsn in it. One of an older version has no function for it.
CREATE FUNCTION hiding() RETURNS text LANGUAGE sql IMMUTABLE
AS $hiding$
	SELECT 'DO $$ BEGIN IF pg_catalog.to_regprocedure(''replication_plugin.hide_secrets(boolean)'') IS NOT NULL THEN PERFORM replication_plugin.hide_secrets(false); END IF; END $$'
$hiding$;
COMMENT ON FUNCTION hiding() IS 'what another node is told before a statement that has a dsn in it';

-- Who answers here: for nodes that want to join or to check a dsn.
CREATE FUNCTION identity(OUT group_id uuid, OUT group_name text, OUT node_id integer, OUT node_name text,
	OUT state text, OUT encoding text, OUT server_version_num integer, OUT instance_token bigint,
	OUT system_identifier text, OUT layout text, OUT database_oid oid)
LANGUAGE sql VOLATILE
AS $$
	SELECT l.group_id, l.group_name, l.node_id, l.node_name, l.state, getdatabaseencoding(),
		current_setting('server_version_num')::integer, replication_plugin.instance_token(),
		c.system_identifier::text, replication_plugin.value_layout(), d.oid
	FROM pg_control_system() c, pg_database d
	LEFT JOIN replication_plugin.local_node l ON true
	WHERE d.datname = current_database()
$$;
COMMENT ON FUNCTION identity() IS 'who answers here: for nodes that want to join, or check a dsn';

-- The members and former members.
CREATE FUNCTION members(OUT node_id integer, OUT node_name text, OUT dsn text, OUT state text)
RETURNS SETOF record LANGUAGE sql STABLE
AS 'SELECT node_id, node_name, dsn, state FROM replication_plugin.node ORDER BY node_id';
COMMENT ON FUNCTION members() IS 'the members and former members';

-- Notes that this node learned from another that it is out, or must join anew. One that is joining stays so, as only leave_group() clears up after a join.
CREATE FUNCTION note_expulsion(new_state text, why text) RETURNS void LANGUAGE sql VOLATILE
AS $$
	UPDATE replication_plugin.local_node SET state = CASE WHEN state LIKE 'joining:%' THEN state ELSE $1 END,
		last_error = $2, last_error_at = clock_timestamp()
	WHERE state IN ('ready', 'leaving') OR state LIKE 'joining:%'
$$;
COMMENT ON FUNCTION note_expulsion(text, text) IS 'notes that this node is out (removed), or must join anew (needs_rejoin)';

-- Remembers that this node takes changes from a run of another node's server.
CREATE FUNCTION note_peer_run(peer integer, incarnation bigint, run_token bigint) RETURNS void LANGUAGE sql VOLATILE
AS $$
	INSERT INTO replication_plugin.peer_run AS p (node_id, incarnation, run_token) VALUES ($1, $2, $3)
	ON CONFLICT (node_id) DO UPDATE SET incarnation = $2, run_token = $3 WHERE (p.incarnation, p.run_token) IS DISTINCT FROM ($2, $3)
$$;
COMMENT ON FUNCTION note_peer_run(integer, bigint, bigint) IS 'remembers that this node takes changes from a run of another node''s server';

-- An error if a node has been set back (an old backup restored, a copy put in its place). What tells: we know of a later run, or
-- of the same run of another server; or we have of its transactions what comes after the first frontier row of
-- its present run, but not that row. What we have from between its start and that row says nothing, unless we have talked with this
-- very run before: then that came from it.
CREATE FUNCTION check_run(peer integer, incarnation bigint, run_token bigint, run_start pg_lsn, run_row pg_lsn) RETURNS void
LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
	have pg_lsn := replication_plugin.origin_progress(peer);
	known replication_plugin.frontier;
	name text := (SELECT n.node_name FROM replication_plugin.node n WHERE n.node_id = peer);
BEGIN
	SELECT * INTO known FROM replication_plugin.frontier f WHERE f.node_id = peer;
	IF NOT FOUND THEN
		RETURN; -- it has only just become a member
	END IF;
	IF known.incarnation > $2 OR known.incarnation = $2 AND known.run_token <> $3 OR known.incarnation < $2 AND have >= $5 THEN
		RAISE EXCEPTION 'node "%" was restored from an old backup', name USING ERRCODE = 'RP002',
			DETAIL = format('Other nodes have its transactions up to %s of run %s; it is in run %s, which began at %s.',
				have, known.incarnation, $2, $4),
			HINT = 'SELECT replication_plugin.rejoin() on it makes it equal to the others again.';
	END IF;
	IF known.incarnation < $2 AND have > $4 AND NOT EXISTS (SELECT FROM replication_plugin.peer_run p
			WHERE (p.node_id, p.incarnation, p.run_token) = (peer, $2, $3)) THEN
		RAISE EXCEPTION 'node "%" has been started again, or was restored from an old backup: which of the two is not known yet', name
			USING ERRCODE = '55000', DETAIL = format('Other nodes have its transactions up to %s; its present run began at %s.', have, $4),
			HINT = 'If this stays: SELECT replication_plugin.remove_node() of it, then replication_plugin.rejoin() on it.';
	END IF;
END
$$;
COMMENT ON FUNCTION check_run(integer, bigint, bigint, pg_lsn, pg_lsn) IS 'an error if a node has been set back to an earlier state';

-- True if the group slot is further than this node has moved it: then it does not have what members may lack.
CREATE FUNCTION group_slot_is_ahead() RETURNS boolean LANGUAGE sql VOLATILE
AS $$
	SELECT EXISTS (SELECT FROM replication_plugin.stable_point p JOIN pg_replication_slots r
		ON r.slot_name = replication_plugin.group_slot_name() AND r.confirmed_flush_lsn > p.slot_lsn)
$$;
COMMENT ON FUNCTION group_slot_is_ahead() IS 'whether somebody has moved the group slot';

-- A subscriber finds its slot beyond what it has confirmed: drops it, so that provide_slot() makes it anew.
CREATE FUNCTION renew_slot(subscriber integer, found pg_lsn, confirmed pg_lsn) RETURNS void LANGUAGE plpgsql VOLATILE
AS $$
BEGIN
	IF replication_plugin.group_slot_is_ahead() THEN
		RAISE EXCEPTION 'slot "%" of node "%" was moved from % to % by somebody, and so was the group slot "%", from which it could be made anew',
			replication_plugin.slot_name($1), (SELECT l.node_name FROM replication_plugin.local_node l), $3, $2, replication_plugin.group_slot_name()
			USING ERRCODE = '55000', DETAIL = 'What was written there between is not sent to this node any more.',
			HINT = 'If all members have what was written there, this ends by itself. Else take this node in anew: remove_node(..., lost => true) on another one, and rejoin() here.';
	END IF;
	PERFORM pg_drop_replication_slot(replication_plugin.slot_name($1));
END
$$;
COMMENT ON FUNCTION renew_slot(integer, pg_lsn, pg_lsn) IS 'drops a slot that somebody has moved, so that it is made anew';

-- The slot that feeds a subscriber. If there is none, it is made from the group slot, which has everything that any member
-- may lack. base: what all members had when it was copied, while nothing has been taken from it; the subscriber has it as well.
CREATE FUNCTION provide_slot(subscriber integer, OUT slot_name text, OUT base text) LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
	s record;
	copied_at pg_lsn;
BEGIN
	slot_name := replication_plugin.slot_name($1);
	SELECT r.confirmed_flush_lsn, r.wal_status, r.active, r.plugin IS NOT DISTINCT FROM 'replication_plugin'
		AND r.database = current_database() AS is_ours INTO s FROM pg_replication_slots r WHERE r.slot_name = provide_slot.slot_name;
	IF FOUND AND (s.active OR s.wal_status IS DISTINCT FROM 'lost' AND s.is_ours) THEN
		IF s.confirmed_flush_lsn IS NULL THEN
			slot_name := NULL;
		END IF;
		SELECT b.vector INTO base FROM replication_plugin.slot_base b
			WHERE b.subscriber = $1 AND s.confirmed_flush_lsn <= b.slot_lsn;
		RETURN;
	END IF;
	IF FOUND THEN
		PERFORM pg_drop_replication_slot(slot_name);
	END IF;
	IF NOT EXISTS (SELECT FROM replication_plugin.stable_point p JOIN pg_replication_slots r
		ON r.slot_name = replication_plugin.group_slot_name() AND r.wal_status <> 'lost' WHERE p.slot_made) THEN
		slot_name := NULL; -- not made yet, or lost: then the node itself says so
		RETURN;
	END IF;
	IF replication_plugin.group_slot_is_ahead() THEN
		RAISE EXCEPTION 'node "%" has no slot for this node, and the group slot "%", from which it would be made, was moved by somebody',
			(SELECT l.node_name FROM replication_plugin.local_node l), replication_plugin.group_slot_name() USING ERRCODE = '55000',
			HINT = 'If all members have what was written there, this ends by itself. Else take this node in anew: remove_node(..., lost => true) on another one, and rejoin() here.';
	END IF;
	SELECT c.lsn INTO copied_at FROM pg_copy_logical_replication_slot(replication_plugin.group_slot_name(), slot_name) c;
	-- read after the copy, as it is written before the group slot moves: so it covers all that is before the copy
	SELECT p.slot_vector INTO base FROM replication_plugin.stable_point p;
	INSERT INTO replication_plugin.slot_base AS o VALUES ($1, copied_at, base)
		ON CONFLICT ON CONSTRAINT slot_base_pkey DO UPDATE SET slot_lsn = excluded.slot_lsn, vector = excluded.vector;
END
$$;
COMMENT ON FUNCTION provide_slot(integer) IS 'the slot that feeds a subscriber, made from the group slot if there is none';

-- A subscriber introduces itself and learns its slot (null: not made yet).
CREATE FUNCTION handshake(caller_group uuid, caller_id integer, caller_protocol integer, caller_incarnation bigint,
	caller_token bigint, caller_start pg_lsn, caller_row pg_lsn, OUT node_id integer, OUT node_name text, OUT slot_name text, OUT encoding text,
	OUT base text, OUT incarnation bigint, OUT run_token bigint, OUT run_start pg_lsn, OUT run_row pg_lsn)
LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
	l replication_plugin.local_node;
	caller replication_plugin.node;
	lacks record;
BEGIN
	SELECT * INTO l FROM replication_plugin.local_node;
	IF NOT FOUND OR l.state = 'left' THEN
		RAISE EXCEPTION 'database "%" is in no replication group', current_database() USING ERRCODE = '55000',
			HINT = 'The node may have left its group; then remove it with replication_plugin.remove_node().';
	END IF;
	IF l.group_id <> $1 THEN
		RAISE EXCEPTION 'node "%" is in another group: "%" (%), not %', l.node_name, l.group_name, l.group_id, $1
			USING ERRCODE = '55000', HINT = 'Groups are told apart by their ids, not by their names. Check the dsn.';
	END IF;
	IF $3 <> 4 THEN
		RAISE EXCEPTION 'node "%" speaks protocol 4, not %', l.node_name, $3 USING ERRCODE = '0A000',
			HINT = 'Install the same version of replication_plugin on all nodes.';
	END IF;
	IF l.state IN ('removed', 'needs_rejoin') THEN
		RAISE EXCEPTION 'node "%" is out of its group: %', l.node_name, l.state USING ERRCODE = '55000',
			HINT = 'It takes part again after rejoin() on it.';
	END IF;
	SELECT * INTO caller FROM replication_plugin.node n WHERE n.node_id = $2;
	IF caller.state = 'removed' THEN
		PERFORM replication_plugin.flush_point(); -- what it is told must survive a crash here
		RAISE EXCEPTION 'node "%" (%) has been removed from the group', caller.node_name, $2 USING
			ERRCODE = CASE caller.reason WHEN 'needs_rejoin' THEN 'RP002' ELSE 'RP001' END,
			DETAIL = CASE caller.reason WHEN 'needs_rejoin' THEN 'It was away for longer than WAL is kept for it.'
				ELSE format('Reason: %s.', caller.reason) END,
			HINT = 'SELECT replication_plugin.rejoin() on it takes it in again, with the rows of the others; forget_group() makes it a database of its own.';
	END IF;
	node_id := l.node_id;
	node_name := l.node_name;
	encoding := getdatabaseencoding();
	incarnation := l.incarnation;
	run_token := l.run_token;
	run_start := l.run_start;
	run_row := l.run_row;
	IF caller.node_id IS NULL AND l.state LIKE 'joining%' THEN
		RETURN; -- we are new ourselves and do not know the members yet: no slot so far
	END IF;
	IF caller.node_id IS NULL THEN
		RAISE EXCEPTION 'node % is not known to node "%"', $2, l.node_name USING ERRCODE = '55000',
			HINT = 'It becomes known when the news of its joining arrives here.';
	END IF;
	IF l.state NOT IN ('ready', 'leaving') OR l.run_row IS NULL OR l.run_token IS DISTINCT FROM replication_plugin.instance_token()
		OR caller.state = 'ready' AND $7 IS NULL THEN
		SELECT u.problem, u.fix INTO lacks FROM replication_plugin.unmet_requirement() u;
		IF pg_is_in_recovery() THEN
			RAISE EXCEPTION 'the server of node "%" is in recovery: it is a standby, which sends nothing', l.node_name USING ERRCODE = '55000',
				HINT = 'If it is to take the node''s place: SELECT pg_promote() on it. Else give the node''s own dsn: SELECT replication_plugin.set_node_dsn(...).';
		END IF;
		IF lacks.problem IS NOT NULL AND l.run_row IS NULL THEN
			RAISE EXCEPTION 'node "%" is not ready: %', l.node_name, lacks.problem USING ERRCODE = '55000', HINT = lacks.fix;
		END IF;
		RETURN; -- soon: the first frontier row of a run comes first
	END IF;
	IF caller.state = 'ready' THEN
		PERFORM replication_plugin.check_run($2, $4, $5, $6, $7);
	END IF;
	IF caller.state = 'ready' THEN
		SELECT p.slot_name, p.base INTO slot_name, base FROM replication_plugin.provide_slot($2) p;
		RETURN;
	END IF;
	-- it is joining through us, from a slot that it has made itself: no other would do
	SELECT s.slot_name INTO slot_name FROM pg_replication_slots s
		WHERE s.slot_name = replication_plugin.slot_name($2) AND s.confirmed_flush_lsn IS NOT NULL AND s.wal_status <> 'lost';
	IF slot_name IS NULL AND caller.source = l.node_id THEN
		RAISE EXCEPTION 'the slot that node "%" kept for node "%" is gone', l.node_name, caller.node_name USING ERRCODE = '55000',
			HINT = 'What was written there meanwhile is missing here. Call leave_group() on the new node, and join anew.';
	END IF;
END
$$;
COMMENT ON FUNCTION handshake(uuid, integer, integer, bigint, bigint, pg_lsn, pg_lsn) IS 'a subscriber introduces itself and learns its slot (null: not made yet)';

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
CREATE FUNCTION fenced_nodes() RETURNS integer[] LANGUAGE sql VOLATILE
AS $$
	SELECT coalesce(array_agg(n.node_id ORDER BY n.node_id), '{}') FROM replication_plugin.node n
	WHERE n.state = 'removed' AND NOT EXISTS (SELECT FROM replication_plugin.link_states() s WHERE s.provider = n.node_id)
$$;
COMMENT ON FUNCTION fenced_nodes() IS 'removed nodes from which nothing is taken any more';

-- What links are worked out from, as this node knows it: which members are ready, and the topology.
CREATE FUNCTION group_view() RETURNS text LANGUAGE sql STABLE
AS $$
	SELECT coalesce((SELECT string_agg(node_id::text, ',' ORDER BY node_id) FROM replication_plugin.node WHERE state = 'ready'), '')
		|| coalesce((SELECT format(' %s/%s', serial, set_by) FROM replication_plugin.topology_setting ORDER BY serial DESC, set_by DESC LIMIT 1), '')
$$;
COMMENT ON FUNCTION group_view() IS 'what links are worked out from, as this node knows it';

-- Whether all members see what this node sees. Until then links of an earlier view must stay: if nodes that know different
-- things each let go of them, the group could fall into parts that never hear of each other again.
CREATE FUNCTION view_is_common() RETURNS boolean LANGUAGE sql STABLE
AS $$
	SELECT NOT EXISTS (SELECT FROM replication_plugin.node n LEFT JOIN replication_plugin.frontier f USING (node_id), replication_plugin.group_view() g
		WHERE n.state = 'ready' AND n.node_id <> replication_plugin.my_id() AND f.view IS DISTINCT FROM g)
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

-- Every new run of the server is noted before it takes part: see check_run().
CREATE FUNCTION note_run() RETURNS void LANGUAGE sql VOLATILE
AS $$
	UPDATE replication_plugin.local_node SET incarnation = incarnation + 1, run_token = replication_plugin.instance_token(),
		run_start = replication_plugin.run_start(), run_row = NULL WHERE run_token IS DISTINCT FROM replication_plugin.instance_token()
$$;
COMMENT ON FUNCTION note_run() IS 'notes that the server runs anew';

-- The topology that is in force. Without a row all nodes are linked with all.
CREATE FUNCTION current_topology(OUT shape text, OUT nodes integer[], OUT links integer[], OUT serial bigint) LANGUAGE sql STABLE
AS $$
	SELECT t.shape, t.nodes, t.links, t.serial FROM (
		SELECT shape, nodes, links, serial, set_by FROM replication_plugin.topology_setting
		UNION ALL SELECT 'all_to_all', '{}', '{}', 0, 0) t
	ORDER BY t.serial DESC, t.set_by DESC LIMIT 1
$$;
COMMENT ON FUNCTION current_topology() IS 'the topology that is in force';

-- The links of the whole group; to this node, those from providers that are down are replaced.
CREATE FUNCTION planned_links(down integer[], OUT provider integer, OUT subscriber integer, OUT reroute boolean, OUT full_origins integer[])
RETURNS SETOF record LANGUAGE sql STABLE
AS $$
	SELECT p.* FROM replication_plugin.current_topology() t,
		(SELECT coalesce(array_agg(node_id ORDER BY node_id), '{}') AS members, coalesce(array_agg(coalesce(source, 0) ORDER BY node_id), '{}') AS sources
		 FROM replication_plugin.node WHERE state = 'ready') m,
		replication_plugin.topology_plan(t.shape, t.nodes, t.links, m.members, m.sources, coalesce(replication_plugin.my_id(), 0), $1) p
$$;
COMMENT ON FUNCTION planned_links(integer[]) IS 'the links of the group; to this node, those from providers that are down are replaced';

-- The links that this node takes changes from. Those that are down stay wanted, beside what replaces them ("reroute"); what
-- replaces them may be down as well, and so on. From a node that joins through this one there is a link as well: by it the group
-- learns that it is ready.
CREATE FUNCTION wanted_links(down integer[], OUT provider integer, OUT full_origins text, OUT kind text)
RETURNS SETOF record LANGUAGE sql STABLE
AS $$
	WITH RECURSIVE s(replaced) AS (
		SELECT '{}'::integer[]
		UNION SELECT ARRAY(SELECT unnest(s.replaced) UNION SELECT p.provider FROM replication_plugin.planned_links(s.replaced) p
			WHERE p.subscriber = replication_plugin.my_id() AND p.provider = ANY ($1) ORDER BY 1)
		FROM s WHERE $1 <> '{}')
	SELECT p.provider, coalesce(string_agg(DISTINCT o::text, ',') FILTER (WHERE o <> p.provider), 'own'),
		CASE WHEN bool_and(p.reroute) THEN 'reroute' ELSE 'topology' END
	FROM (SELECT p.* FROM s, replication_plugin.planned_links(s.replaced) p) p,
		-- the first transaction of a new node comes the way of its source's
		LATERAL (SELECT unnest(p.full_origins) UNION SELECT n.node_id FROM replication_plugin.node n
			WHERE n.state = 'joining' AND n.source = ANY (p.full_origins)) f(o)
	WHERE p.subscriber = replication_plugin.my_id() AND o <> p.subscriber
	GROUP BY p.provider
	UNION ALL
	SELECT n.node_id, 'own', 'joining' FROM replication_plugin.node n WHERE n.state = 'joining' AND n.source = replication_plugin.my_id()
$$;
COMMENT ON FUNCTION wanted_links(integer[]) IS 'the links that this node takes changes from';

-- Sees to it that a link has its row, with what it carries.
CREATE FUNCTION set_link(link_provider integer, origins text) RETURNS void LANGUAGE sql VOLATILE
AS $$
	INSERT INTO replication_plugin.link AS l (provider, full_origins) VALUES ($1, $2)
		ON CONFLICT ON CONSTRAINT link_pkey DO UPDATE SET full_origins = excluded.full_origins
		WHERE l.full_origins <> excluded.full_origins
$$;
COMMENT ON FUNCTION set_link(integer, text) IS 'notes what a link carries in full besides its provider''s own';

-- Notes what each wanted link carries, and returns them all: "provider kind paused origins", with ";" between.
CREATE FUNCTION tend_wanted_links(down integer[]) RETURNS text LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
	w record;
	list text[] := '{}';
BEGIN
	FOR w IN SELECT x.*, l.full_origins AS noted, coalesce(l.paused, false) AS paused FROM replication_plugin.wanted_links(down) x
		LEFT JOIN replication_plugin.link l ON l.provider = x.provider
	LOOP
		IF w.noted IS DISTINCT FROM w.full_origins THEN
			PERFORM replication_plugin.set_link(w.provider, w.full_origins);
		END IF;
		list := list || format('%s %s %s %s', w.provider, left(w.kind, 1), w.paused::integer, w.full_origins);
	END LOOP;
	RETURN array_to_string(list, ';');
END
$$;
COMMENT ON FUNCTION tend_wanted_links(integer[]) IS 'notes what each wanted link carries in full, and returns them all';

-- Slots here for subscribers that have no link from this node, by the topology: for re-routing, of earlier topologies, or of nodes
-- that never came to be.
CREATE FUNCTION spare_slots() RETURNS TABLE (subscriber integer, active boolean) LANGUAGE sql VOLATILE
AS $$
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
		WHERE p.provider = replication_plugin.my_id() AND p.subscriber = n.node_id)
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
CREATE FUNCTION remove_orphans() RETURNS SETOF text LANGUAGE sql VOLATILE
AS $$
	WITH orphan AS (
		SELECT n.node_id, n.node_name FROM replication_plugin.node n JOIN replication_plugin.node s ON s.node_id = n.source
		WHERE n.state = 'joining' AND s.state = 'removed'),
	gone AS (
		INSERT INTO replication_plugin.removal (node_id, removed_by, reason)
			SELECT o.node_id, l.node_id, 'lost' FROM orphan o, replication_plugin.local_node l WHERE l.state = 'ready' AND l.announced
			ON CONFLICT DO NOTHING RETURNING node_id)
	SELECT o.node_name FROM orphan o JOIN gone USING (node_id)
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
CREATE FUNCTION remove_stragglers(limit_mb integer, wal_end pg_lsn) RETURNS SETOF text LANGUAGE sql VOLATILE
AS $$
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
	SELECT far.node_name FROM far JOIN gone USING (node_id)
$$;
COMMENT ON FUNCTION remove_stragglers(integer, pg_lsn) IS 'removes members for which more WAL is kept here, up to a position that they had time to reach';

-- Waits until all workers of this database but the manager have ended; false if they do not.
CREATE FUNCTION wait_for_workers_to_stop(patience interval) RETURNS boolean LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
	deadline timestamptz := clock_timestamp() + patience;
BEGIN
	LOOP
		PERFORM pg_stat_clear_snapshot(); -- else the list of processes stays as first seen
		EXIT WHEN NOT EXISTS (SELECT FROM replication_plugin.link_states() WHERE pid IS NOT NULL)
			AND NOT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database()
				AND backend_type LIKE 'replication_plugin %' AND backend_type <> 'replication_plugin manager');
		IF clock_timestamp() > deadline THEN
			RETURN false;
		END IF;
		PERFORM pg_sleep(0.05);
	END LOOP;
	RETURN true;
END
$$;
COMMENT ON FUNCTION wait_for_workers_to_stop(interval) IS 'waits until this database''s workers have ended';

-- Drops all slots that this database has for members. Who reads from one is cut off, and may be back at once.
CREATE FUNCTION drop_slots() RETURNS void LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
	s record;
	mine text := '^' || left(replication_plugin.slot_name(0), -1) || '([0-9]+|group)$';
BEGIN
	FOR attempt IN 1..20 LOOP
		-- the group slot last, and alone: as long as it is there, nothing is lost
		FOR s IN SELECT slot_name, active_pid FROM pg_replication_slots WHERE slot_name ~ mine AND (slot_name !~ '_group$'
			OR NOT EXISTS (SELECT FROM pg_replication_slots o WHERE o.slot_name ~ mine AND o.slot_name !~ '_group$'))
		LOOP
			BEGIN
				PERFORM pg_terminate_backend(s.active_pid, 5000);
				PERFORM pg_drop_replication_slot(s.slot_name);
			EXCEPTION WHEN object_in_use OR undefined_object THEN
				NULL; -- looked at again
			END;
		END LOOP;
		EXIT WHEN NOT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name ~ mine);
		CONTINUE WHEN NOT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name ~ mine AND slot_name !~ '_group$');
		PERFORM pg_sleep(0.05);
	END LOOP;
	IF EXISTS (SELECT FROM pg_replication_slots WHERE slot_name ~ mine) THEN
		RAISE EXCEPTION 'slots of the group are in use' USING ERRCODE = '55006',
			HINT = 'See replication_plugin.slots; end the sessions that read from them, and try again.';
	END IF;
END
$$;
COMMENT ON FUNCTION drop_slots() IS 'drops all slots that this database has for members';

-- Has all sessions of this database load the library, beside what they load already, or ends that: so that after a restart of the
-- server without it in shared_preload_libraries it is there to refuse writes. What is set for the database goes before what is
-- set for the server, whose value at this time is kept in it.
CREATE FUNCTION preload_in_sessions(wanted boolean) RETURNS void LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
	own text := (SELECT substr(c, length('session_preload_libraries=') + 1) FROM pg_db_role_setting s, unnest(s.setconfig) c
		WHERE s.setdatabase = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database()) AND s.setrole = 0
			AND c LIKE 'session\_preload\_libraries=%');
	server text := (SELECT f.setting FROM pg_file_settings f WHERE f.name = 'session_preload_libraries' AND f.applied
		ORDER BY f.seqno DESC LIMIT 1);
	of_server text[] := ARRAY(SELECT trim(both '" ' FROM x) FROM regexp_split_to_table(server, ',') x WHERE trim(both '" ' FROM x) <> '');
	list text[] := ARRAY(SELECT trim(both '" ' FROM x) FROM regexp_split_to_table(coalesce(own, server), ',') x WHERE trim(both '" ' FROM x) <> '');
BEGIN
	IF wanted THEN
		LOCK TABLE replication_plugin.local_node IN ROW SHARE MODE; -- whoever takes the node out has it alone
		IF 'replication_plugin' = ANY (list) OR NOT EXISTS (SELECT FROM replication_plugin.local_node) THEN
			RETURN;
		END IF;
		list := list || 'replication_plugin'::text;
	ELSIF own IS NULL OR 'replication_plugin' <> ALL (list) THEN
		RETURN;
	ELSE
		list := array_remove(list, 'replication_plugin');
	END IF;
	IF list = of_server OR list = '{}' THEN
		EXECUTE format('ALTER DATABASE %I RESET session_preload_libraries', current_database());
	ELSE
		EXECUTE format('ALTER DATABASE %I SET session_preload_libraries = %s', current_database(),
			(SELECT string_agg(quote_literal(x), ', ' ORDER BY place) FROM unnest(list) WITH ORDINALITY u(x, place)));
	END IF;
END
$$;
COMMENT ON FUNCTION preload_in_sessions(boolean) IS 'has all sessions of this database load the library, or ends that';

-- Takes everything of the group out of this database and server, but users' rows. What can fail comes first; what is not
-- undone by a rollback comes last: the slots, of these the group slot, from which all others can be made again; then the progress
-- of origins. expected: the number that the caller has seen here, as another session may have taken the node out, and in again, meanwhile.
CREATE FUNCTION teardown(expected integer) RETURNS void LANGUAGE plpgsql VOLATILE
AS $$
BEGIN
	LOCK TABLE replication_plugin.local_node IN SHARE UPDATE EXCLUSIVE MODE; -- one at a time; workers can still write it
	IF NOT EXISTS (SELECT FROM replication_plugin.local_node l WHERE l.node_id = expected) THEN
		RAISE EXCEPTION 'another session has taken this node out of its group meanwhile' USING ERRCODE = '55000',
			HINT = 'See replication_plugin.nodes: it may have joined anew.';
	END IF;
	PERFORM replication_plugin.suspend_workers();
	IF NOT replication_plugin.wait_for_workers_to_stop('60 seconds') THEN
		RAISE EXCEPTION 'workers of the group do not stop' USING ERRCODE = '55006',
			HINT = 'Look for processes "replication_plugin ..." in pg_stat_activity, end them, and try again.';
	END IF;
	IF EXISTS (SELECT FROM replication_plugin.parked_row) THEN
		RAISE WARNING 'this node forgets % parked rows (they are still in the view parked_rows of the other members, if there are any)',
			(SELECT count(*) FROM replication_plugin.parked_row);
	END IF;
	IF EXISTS (SELECT FROM replication_plugin.waiting_change) THEN
		RAISE WARNING 'this node forgets % changes of other nodes, of tables that wait: %', (SELECT count(*) FROM replication_plugin.waiting_change),
			(SELECT string_agg(format('%I.%I', w.schema_name, w.table_name), ', ') FROM replication_plugin.waiting_table w WHERE w.kept);
	END IF;
	LOCK TABLE replication_plugin.local_node IN EXCLUSIVE MODE; -- the manager makes an origin under a weaker one
	DELETE FROM replication_plugin.local_node;
	DELETE FROM replication_plugin.member;
	DELETE FROM replication_plugin.member_ready;
	DELETE FROM replication_plugin.removal;
	DELETE FROM replication_plugin.topology_setting;
	DELETE FROM replication_plugin.stable_point;
	DELETE FROM replication_plugin.frontier;
	DELETE FROM replication_plugin.slot_base;
	DELETE FROM replication_plugin.table_setting;
	DELETE FROM replication_plugin.mergeable_table;
	DELETE FROM replication_plugin.column_merge;
	DELETE FROM replication_plugin.node_priority;
	DELETE FROM replication_plugin.group_setting;
	DELETE FROM replication_plugin.awaited_state;
	DELETE FROM replication_plugin.out_of_step;
	DELETE FROM replication_plugin.waiting_change;
	DELETE FROM replication_plugin.waiting_table;
	DELETE FROM replication_plugin.exclusion;
	DELETE FROM replication_plugin.merge_settled;
	DELETE FROM replication_plugin.link;
	DELETE FROM replication_plugin.peer_run;
	DELETE FROM replication_plugin.join_script;
	DELETE FROM replication_plugin.join_state;
	DELETE FROM replication_plugin.node_reservation;
	TRUNCATE replication_plugin.tombstone, replication_plugin.row_state, replication_plugin.parked_row, replication_plugin.row_pin, replication_plugin.table_rewrite;
	PERFORM replication_plugin.capture_remove_all();
	PERFORM replication_plugin.preload_in_sessions(false);
	PERFORM replication_plugin.request_manager(false);
	PERFORM replication_plugin.drop_slots();
	PERFORM replication_plugin.drop_origins();
END
$$;
COMMENT ON FUNCTION teardown(integer) IS 'ends this database''s membership under a number here, and nowhere else';
