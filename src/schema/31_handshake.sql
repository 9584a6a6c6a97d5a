-- What a provider does for a subscriber that connects: its slot, and the handshake.

-- True if the group slot is further than this node has moved it: then it does not have what members may lack.
CREATE FUNCTION group_slot_is_ahead() RETURNS boolean LANGUAGE plpgsql VOLATILE
AS $$
BEGIN
	RETURN (SELECT EXISTS (SELECT FROM replication_plugin.stable_point p JOIN pg_replication_slots r
			ON r.slot_name = replication_plugin.group_slot_name() AND r.confirmed_flush_lsn > p.slot_lsn));
END
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

-- The protocol of a stream: the one that the group has agreed on, as the provider knows it, whichever of the two was updated first. Each end must speak
-- that, and what the subscriber knows as agreed, which may have reached only one of them so far: else one of them is stale.
CREATE FUNCTION choose_protocol(caller_name text, caller_version text, caller_oldest integer, caller_newest integer, caller_agreed integer)
RETURNS integer LANGUAGE plpgsql STABLE
AS $$
DECLARE
	known integer := replication_plugin.group_protocol();
	agreed integer := greatest(known, caller_agreed);
	me text := (SELECT l.node_name FROM replication_plugin.local_node l);
	mine record;
BEGIN
	IF caller_oldest IS NULL OR caller_newest IS NULL THEN
		RAISE EXCEPTION 'the request does not say which protocols node "%" speaks', caller_name USING ERRCODE = '22023';
	END IF;
	SELECT * INTO mine FROM replication_plugin.this_library();
	IF known >= greatest(caller_oldest, mine.oldest_protocol) AND agreed <= least(caller_newest, mine.newest_protocol) THEN
		RETURN known;
	END IF;
	RAISE EXCEPTION 'the group has agreed on protocol %; node "%" (version % of replication_plugin) speaks % to %, and node "%" (version %) speaks % to %', agreed,
		me, mine.version, mine.oldest_protocol, mine.newest_protocol, caller_name, caller_version, caller_oldest, caller_newest USING ERRCODE = '0A000',
		HINT = CASE WHEN mine.newest_protocol < agreed THEN format('Install the version of the other members on node "%s".', me)
			WHEN caller_newest < agreed THEN format('Install the version of the other members on node "%s".', caller_name)
			WHEN known < agreed THEN format('This ends by itself when node "%s" has heard of finish_upgrade(): see replication_plugin.links there.', me)
			ELSE format('Install the version that follows that of the other members on node "%s"; a newer one is next, after finish_upgrade().',
				CASE WHEN mine.oldest_protocol > known THEN me ELSE caller_name END) END;
END
$$;
COMMENT ON FUNCTION choose_protocol(text, text, integer, integer, integer) IS 'the protocol of a stream to a subscriber; an error if there is none in common that the group has agreed on';

-- An error if this database is between two versions: the server has the library of one, and the database the SQL of another.
CREATE FUNCTION require_own_version() RETURNS void LANGUAGE plpgsql STABLE
AS $$
DECLARE
	sql_version text := (SELECT e.extversion FROM pg_extension e WHERE e.extname = 'replication_plugin');
	library_version text := (SELECT v.version FROM replication_plugin.this_library() v);
BEGIN
	IF sql_version <> library_version THEN
		RAISE EXCEPTION 'node "%" is being updated: its library is of version %, and the extension in its database of version %',
			(SELECT l.node_name FROM replication_plugin.local_node l), library_version, sql_version USING ERRCODE = '0A000',
			HINT = 'There: ALTER EXTENSION replication_plugin UPDATE.';
	END IF;
END
$$;
COMMENT ON FUNCTION require_own_version() IS 'an error if the extension in this database is of another version than the library of its server';

-- A subscriber introduces itself and learns its slot (null: not made yet), and the protocol of its stream. Request and answer are objects, so that a
-- later version can say more: names that a side does not know tell it nothing, and it needs none of them (docs/protocol.md, Versions).
CREATE FUNCTION handshake(request jsonb) RETURNS jsonb LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
	l replication_plugin.local_node;
	caller replication_plugin.node;
	caller_group uuid := request->>'group_id';
	caller_id integer := request->>'node_id';
	run jsonb := request->'run'; -- incarnation, token, start, first frontier row
	answer jsonb;
	slot record;
	lacks record;
BEGIN
	SELECT * INTO l FROM replication_plugin.local_node;
	IF NOT FOUND OR l.state = 'left' THEN
		RAISE EXCEPTION 'database "%" is in no replication group', current_database() USING ERRCODE = '55000',
			HINT = 'The node may have left its group; then remove it with replication_plugin.remove_node().';
	END IF;
	IF l.group_id IS DISTINCT FROM caller_group THEN
		RAISE EXCEPTION 'node "%" is in another group: "%" (%), not %', l.node_name, l.group_name, l.group_id, caller_group
			USING ERRCODE = '55000', HINT = 'Groups are told apart by their ids, not by their names. Check the dsn.';
	END IF;
	PERFORM replication_plugin.require_own_version();
	IF l.state IN ('removed', 'needs_rejoin') THEN
		RAISE EXCEPTION 'node "%" is out of its group: %', l.node_name, l.state USING ERRCODE = '55000',
			HINT = 'It takes part again after rejoin() on it.';
	END IF;
	SELECT * INTO caller FROM replication_plugin.node n WHERE n.node_id = caller_id;
	IF caller.state = 'removed' THEN
		PERFORM replication_plugin.flush_point(); -- what it is told must survive a crash here
		RAISE EXCEPTION 'node "%" (%) has been removed from the group', caller.node_name, caller_id USING
			ERRCODE = CASE caller.reason WHEN 'needs_rejoin' THEN 'RP002' ELSE 'RP001' END,
			DETAIL = CASE caller.reason WHEN 'needs_rejoin' THEN 'It was away for longer than WAL is kept for it.'
				ELSE format('Reason: %s.', caller.reason) END,
			HINT = 'SELECT replication_plugin.rejoin() on it takes it in again, with the rows of the others; forget_group() makes it a database of its own.';
	END IF;
	answer := jsonb_build_object('node_id', l.node_id, 'node_name', l.node_name, 'encoding', getdatabaseencoding(), 'incarnation', l.incarnation,
		'run_token', l.run_token, 'run_start', l.run_start, 'run_row', l.run_row, 'protocol',
		replication_plugin.choose_protocol(coalesce(caller.node_name, 'node ' || caller_id), request->>'version', (request->>'oldest_protocol')::integer,
			(request->>'newest_protocol')::integer, (request->>'agreed_protocol')::integer));
	IF caller.node_id IS NULL AND l.state LIKE 'joining%' THEN
		RETURN answer; -- we are new ourselves and do not know the members yet: no slot so far
	END IF;
	IF caller.node_id IS NULL THEN
		RAISE EXCEPTION 'node % is not known to node "%"', caller_id, l.node_name USING ERRCODE = '55000',
			HINT = 'It becomes known when the news of its joining arrives here.';
	END IF;
	IF l.state NOT IN ('ready', 'leaving') OR l.run_row IS NULL OR l.run_token IS DISTINCT FROM replication_plugin.instance_token()
		OR caller.state = 'ready' AND num_nulls(run->>0, run->>1, run->>2, run->>3) > 0 THEN
		SELECT u.problem, u.fix INTO lacks FROM replication_plugin.unmet_requirement() u;
		IF pg_is_in_recovery() THEN
			RAISE EXCEPTION 'the server of node "%" is in recovery: it is a standby, which sends nothing', l.node_name USING ERRCODE = '55000',
				HINT = 'If it is to take the node''s place: SELECT pg_promote() on it. Else give the node''s own dsn: SELECT replication_plugin.set_node_dsn(...).';
		END IF;
		IF lacks.problem IS NOT NULL AND l.run_row IS NULL THEN
			RAISE EXCEPTION 'node "%" is not ready: %', l.node_name, lacks.problem USING ERRCODE = '55000', HINT = lacks.fix;
		END IF;
		RETURN answer; -- soon: the first frontier row of a run comes first
	END IF;
	IF caller.state = 'ready' THEN
		PERFORM replication_plugin.check_run(caller_id, (run->>0)::bigint, (run->>1)::bigint, (run->>2)::pg_lsn, (run->>3)::pg_lsn);
		SELECT p.slot_name, p.base INTO slot FROM replication_plugin.provide_slot(caller_id) p;
		RETURN answer || jsonb_build_object('slot_name', slot.slot_name, 'base', slot.base);
	END IF;
	-- it is joining through us, from a slot that it has made itself: no other would do
	SELECT s.slot_name INTO slot FROM pg_replication_slots s
		WHERE s.slot_name = replication_plugin.slot_name(caller_id) AND s.confirmed_flush_lsn IS NOT NULL AND s.wal_status <> 'lost';
	IF slot.slot_name IS NULL AND caller.source = l.node_id THEN
		RAISE EXCEPTION 'the slot that node "%" kept for node "%" is gone', l.node_name, caller.node_name USING ERRCODE = '55000',
			HINT = 'What was written there meanwhile is missing here. Call leave_group() on the new node, and join anew.';
	END IF;
	RETURN answer || jsonb_build_object('slot_name', slot.slot_name);
END
$$;
COMMENT ON FUNCTION handshake(jsonb) IS 'a subscriber introduces itself and learns its slot (null: not made yet), and the protocol of its stream';

-- What a subscriber of version 1.0 calls.
CREATE FUNCTION handshake(caller_group uuid, caller_id integer, caller_protocol integer, caller_incarnation bigint,
	caller_token bigint, caller_start pg_lsn, caller_row pg_lsn, OUT node_id integer, OUT node_name text, OUT slot_name text, OUT encoding text,
	OUT base text, OUT incarnation bigint, OUT run_token bigint, OUT run_start pg_lsn, OUT run_row pg_lsn)
LANGUAGE plpgsql VOLATILE
AS $$
BEGIN
	RAISE EXCEPTION 'node "%" has version % of replication_plugin, which speaks with none of version 1.0', (SELECT l.node_name FROM replication_plugin.local_node l),
		(SELECT v.version FROM replication_plugin.this_library() v) USING ERRCODE = '0A000',
		HINT = 'From 1.0, all members are updated together: install the new version here too, restart the server, and call ALTER EXTENSION replication_plugin UPDATE.';
END
$$;
COMMENT ON FUNCTION handshake(uuid, integer, integer, bigint, bigint, pg_lsn, pg_lsn) IS 'tells a subscriber of version 1.0 that it must be updated';
