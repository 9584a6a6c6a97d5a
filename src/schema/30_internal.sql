-- Functions that the extension's own processes call, here and from other nodes.

-- This node's number, null if the database is in no group.
CREATE FUNCTION my_id() RETURNS integer LANGUAGE sql STABLE
AS 'SELECT node_id FROM replication_plugin.local_node';
COMMENT ON FUNCTION my_id() IS 'number of this node; null if the database is in no group';

-- Names of slots and origins; see catalog/names.c.
CREATE FUNCTION slot_name(subscriber integer) RETURNS text LANGUAGE sql STABLE
AS $$ SELECT 'replication_plugin_' || oid || '_' || subscriber FROM pg_database WHERE datname = current_database() $$;
COMMENT ON FUNCTION slot_name(integer) IS 'name of the slot here that feeds a subscriber';
CREATE FUNCTION origin_name(node text) RETURNS text LANGUAGE sql STABLE
AS $$ SELECT 'replication_plugin_' || oid || '_' || node FROM pg_database WHERE datname = current_database() $$;
COMMENT ON FUNCTION origin_name(text) IS 'name of the replication origin here that marks a node''s transactions';

-- How far this node has everybody's transactions, itself included, as frontier text.
CREATE FUNCTION frontier() RETURNS text LANGUAGE sql VOLATILE
AS $$
	SELECT string_agg(node_id || ':' || lsn || ':-', ',' ORDER BY node_id)
	FROM (SELECT n.node_id,
		CASE WHEN n.node_id = replication_plugin.my_id() THEN pg_current_wal_insert_lsn()
			 ELSE pg_replication_origin_progress(o.roname, false) END AS lsn
		FROM replication_plugin.node n
		LEFT JOIN pg_replication_origin o ON o.roname = replication_plugin.origin_name(n.node_id::text)) f
	WHERE lsn IS NOT NULL
$$;
COMMENT ON FUNCTION frontier() IS 'how far this node has everybody''s transactions';

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

-- A subscriber introduces itself and learns its slot (null: not made yet).
CREATE FUNCTION handshake(caller_group uuid, caller_id integer, caller_protocol integer,
	OUT node_id integer, OUT node_name text, OUT slot_name text, OUT encoding text,
	OUT server_version_num integer, OUT layout text)
LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
	l replication_plugin.local_node;
	caller replication_plugin.node;
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
	IF $3 <> 1 THEN
		RAISE EXCEPTION 'node "%" speaks protocol 1, not %', l.node_name, $3 USING ERRCODE = '0A000',
			HINT = 'Install the same version of replication_plugin on all nodes.';
	END IF;
	IF l.state = 'removed' THEN
		RAISE EXCEPTION 'node "%" has been removed from its group', l.node_name USING ERRCODE = '55000';
	END IF;
	SELECT * INTO caller FROM replication_plugin.node n WHERE n.node_id = $2;
	IF NOT FOUND AND l.state LIKE 'joining%' THEN
		-- we are new ourselves and do not know the members yet: no slot so far
		node_id := l.node_id;
		encoding := getdatabaseencoding();
		RETURN;
	END IF;
	IF caller.node_id IS NULL THEN
		RAISE EXCEPTION 'node % is not known to node "%"', $2, l.node_name USING ERRCODE = '55000',
			HINT = 'It becomes known when the news of its joining arrives here.';
	END IF;
	IF caller.state = 'removed' THEN
		RAISE EXCEPTION 'node "%" (%) has been removed from the group', caller.node_name, $2 USING ERRCODE = '55000',
			HINT = 'It comes back only by leave_group() and joining anew.';
	END IF;
	node_id := l.node_id;
	node_name := l.node_name;
	encoding := getdatabaseencoding();
	server_version_num := current_setting('server_version_num')::integer;
	layout := replication_plugin.value_layout();
	SELECT s.slot_name INTO slot_name FROM pg_replication_slots s
		WHERE s.slot_name = replication_plugin.slot_name($2) AND s.confirmed_flush_lsn IS NOT NULL;
	IF slot_name IS NULL AND EXISTS (SELECT FROM replication_plugin.slot_history h WHERE h.subscriber = $2) THEN
		RAISE EXCEPTION 'the slot that node "%" kept for node "%" is gone', l.node_name, caller.node_name USING ERRCODE = '55000',
			HINT = 'What was written there meanwhile is missing here. Remove this node with remove_node() on another member, then forget_group() here, and join anew.';
	END IF;
END
$$;
COMMENT ON FUNCTION handshake(uuid, integer, integer) IS 'a subscriber introduces itself and learns its slot (null: not made yet)';

-- Promises a number and a name to a node that wants to join. An hour later they are free again.
CREATE FUNCTION reserve_node(group_id uuid, node_id integer, node_name text, dsn text) RETURNS void
LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
	l replication_plugin.local_node;
BEGIN
	SELECT * INTO l FROM replication_plugin.local_node;
	IF NOT FOUND OR l.group_id <> $1 OR l.state <> 'ready' THEN
		RAISE EXCEPTION 'this is no ready member of group %', $1 USING ERRCODE = '55000';
	END IF;
	LOCK TABLE replication_plugin.node_reservation IN EXCLUSIVE MODE;
	DELETE FROM replication_plugin.node_reservation r WHERE r.reserved_at < now() - interval '1 hour' OR r.dsn = $4
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
	INSERT INTO replication_plugin.node_reservation VALUES ($2, $3, $4);
END
$$;
COMMENT ON FUNCTION reserve_node(uuid, integer, text, text) IS 'promises a number and a name to a node that wants to join';

-- Greatest number that is used or promised here.
CREATE FUNCTION last_node_id() RETURNS integer LANGUAGE sql VOLATILE
AS $$
	SELECT max(i) FROM (SELECT node_id FROM replication_plugin.node
		UNION ALL SELECT node_id FROM replication_plugin.node_reservation) u(i)
$$;
COMMENT ON FUNCTION last_node_id() IS 'greatest node number that is used or promised here';

-- add(J) of the join: from here on the group knows the node. Returns the frontier at this moment.
CREATE FUNCTION admit_node(group_id uuid, node_id integer, node_name text, dsn text) RETURNS text
LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
	l replication_plugin.local_node;
	f text := replication_plugin.frontier();
BEGIN
	SELECT * INTO l FROM replication_plugin.local_node;
	IF NOT FOUND OR l.group_id <> $1 OR l.state <> 'ready' THEN
		RAISE EXCEPTION 'this is no ready member of group %', $1 USING ERRCODE = '55000';
	END IF;
	IF EXISTS (SELECT FROM replication_plugin.node n WHERE n.node_id = $2 AND (n.state <> 'joining' OR n.node_name <> $3)) THEN
		RAISE EXCEPTION 'node number % is taken', $2 USING ERRCODE = '42710',
			HINT = 'Call leave_group() on the new node and join again.';
	END IF;
	INSERT INTO replication_plugin.node AS n (node_id, node_name, dsn, state, add_frontier, source)
		VALUES ($2, $3, $4, 'joining', f, l.node_id)
		ON CONFLICT ON CONSTRAINT node_pkey DO UPDATE SET dsn = excluded.dsn, add_frontier = excluded.add_frontier,
			source = excluded.source, added_at = now();
	RETURN f;
END
$$;
COMMENT ON FUNCTION admit_node(uuid, integer, text, text) IS 'makes a joining node known to the group; returns this node''s frontier';

-- Members that lack a slot here.
CREATE FUNCTION missing_slots() RETURNS TABLE (subscriber integer) LANGUAGE sql VOLATILE
AS $$
	SELECT n.node_id FROM replication_plugin.node n, replication_plugin.local_node l
	WHERE l.state = 'ready' AND n.node_id <> l.node_id AND n.state <> 'removed'
		-- the slot on its source is made by the joining node itself
		AND NOT (n.state = 'joining' AND n.source = l.node_id)
		AND NOT EXISTS (SELECT FROM pg_replication_slots s WHERE s.slot_name = replication_plugin.slot_name(n.node_id))
		AND NOT EXISTS (SELECT FROM replication_plugin.slot_history h WHERE h.subscriber = n.node_id)
$$;
COMMENT ON FUNCTION missing_slots() IS 'members that lack a slot here';

CREATE FUNCTION make_slot(subscriber integer) RETURNS void LANGUAGE plpgsql VOLATILE
AS $$
BEGIN
	PERFORM pg_create_logical_replication_slot(replication_plugin.slot_name(subscriber), 'replication_plugin');
END
$$;
COMMENT ON FUNCTION make_slot(integer) IS 'makes the slot that a member reads from';

-- Joining nodes that have a slot here and have not been told so.
CREATE FUNCTION unannounced_slots() RETURNS TABLE (subscriber integer, slot_lsn pg_lsn) LANGUAGE sql VOLATILE
AS $$
	SELECT n.node_id, s.confirmed_flush_lsn
	FROM replication_plugin.node n
	JOIN pg_replication_slots s ON s.slot_name = replication_plugin.slot_name(n.node_id) AND s.confirmed_flush_lsn IS NOT NULL,
		replication_plugin.local_node l
	WHERE l.state = 'ready' AND n.state = 'joining' AND NOT EXISTS (SELECT FROM replication_plugin.slot_made m
		WHERE m.provider = l.node_id AND m.subscriber = n.node_id)
$$;
COMMENT ON FUNCTION unannounced_slots() IS 'slots for joining nodes of which the group has not been told';

CREATE FUNCTION announce_slots() RETURNS void LANGUAGE sql VOLATILE
AS $$
	INSERT INTO replication_plugin.slot_made
		SELECT replication_plugin.my_id(), u.subscriber, u.slot_lsn FROM replication_plugin.unannounced_slots() u
		ON CONFLICT DO NOTHING
$$;
COMMENT ON FUNCTION announce_slots() IS 'tells the group of slots for joining nodes';

-- Drops slots that nobody needs any more; true if slots are to be made or announced.
CREATE FUNCTION tend_slots() RETURNS boolean LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
	s record;
BEGIN
	FOR s IN
		SELECT r.slot_name, r.active_pid, n.xmin AS removed_by FROM replication_plugin.node n
		JOIN pg_replication_slots r ON r.slot_name = replication_plugin.slot_name(n.node_id),
			replication_plugin.local_node l
		WHERE n.state = 'removed' OR l.state = 'removed'
	LOOP
		IF s.active_pid IS NOT NULL THEN
			-- it may still be reading the news of its removal
			IF coalesce(pg_xact_commit_timestamp(s.removed_by), '-infinity') < clock_timestamp() - interval '5 seconds' THEN
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
	-- ready members depend on their slot from now on
	INSERT INTO replication_plugin.slot_history
		SELECT n.node_id FROM replication_plugin.node n
		JOIN pg_replication_slots r ON r.slot_name = replication_plugin.slot_name(n.node_id) AND r.confirmed_flush_lsn IS NOT NULL
		WHERE n.state = 'ready' AND NOT EXISTS (SELECT FROM replication_plugin.slot_history h WHERE h.subscriber = n.node_id)
		ON CONFLICT DO NOTHING;
	RETURN EXISTS (SELECT FROM replication_plugin.missing_slots())
		OR EXISTS (SELECT FROM replication_plugin.unannounced_slots());
END
$$;
COMMENT ON FUNCTION tend_slots() IS 'drops slots that nobody needs any more; true if slots are to be made or announced';

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
	mine text := '^' || left(replication_plugin.slot_name(0), -1) || '[0-9]+$';
BEGIN
	FOR attempt IN 1..20 LOOP
		FOR s IN SELECT slot_name, active_pid FROM pg_replication_slots WHERE slot_name ~ mine LOOP
			BEGIN
				PERFORM pg_terminate_backend(s.active_pid, 5000);
				PERFORM pg_drop_replication_slot(s.slot_name);
			EXCEPTION WHEN object_in_use OR undefined_object THEN
				NULL; -- looked at again
			END;
		END LOOP;
		EXIT WHEN NOT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name ~ mine);
		PERFORM pg_sleep(0.05);
	END LOOP;
	IF EXISTS (SELECT FROM pg_replication_slots WHERE slot_name ~ mine) THEN
		RAISE EXCEPTION 'slots of the group are in use' USING ERRCODE = '55006',
			HINT = 'See replication_plugin.slots; end the sessions that read from them, and try again.';
	END IF;
END
$$;
COMMENT ON FUNCTION drop_slots() IS 'drops all slots that this database has for members';

-- Takes everything of the group out of this database and server, but users' rows.
CREATE FUNCTION teardown() RETURNS void LANGUAGE plpgsql VOLATILE
AS $$
BEGIN
	PERFORM replication_plugin.suspend_workers();
	IF NOT replication_plugin.wait_for_workers_to_stop('60 seconds') THEN
		RAISE EXCEPTION 'workers of the group do not stop' USING ERRCODE = '55006',
			HINT = 'Look for processes "replication_plugin ..." in pg_stat_activity, end them, and try again.';
	END IF;
	PERFORM replication_plugin.drop_slots();
	PERFORM replication_plugin.drop_origins();
	DELETE FROM replication_plugin.local_node;
	DELETE FROM replication_plugin.node;
	DELETE FROM replication_plugin.slot_made;
	DELETE FROM replication_plugin.table_setting;
	DELETE FROM replication_plugin.link;
	DELETE FROM replication_plugin.join_script;
	DELETE FROM replication_plugin.node_reservation;
	DELETE FROM replication_plugin.slot_history;
	TRUNCATE replication_plugin.tombstone;
	PERFORM replication_plugin.capture_remove_all();
	PERFORM replication_plugin.request_manager(false);
END
$$;
COMMENT ON FUNCTION teardown() IS 'ends this database''s membership here, and nowhere else';
